"""How traffic is described: protocols, ports, and code points of differentiated services."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from multiwanbond.units import NotationError

from .notations import Text


class PortRange(NamedTuple):
    """Ports that follow each other; often only one."""

    first: int
    last: int


# --- from a specification: IANA's registries ---------------------------------------------------

_PROTOCOLS: Final[Mapping[str, int]] = MappingProxyType(
    {"icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "icmpv6": 58, "sctp": 132}
)
_CODE_POINTS: Final[Mapping[str, int]] = MappingProxyType(
    {
        **{f"cs{number}": 8 * number for number in range(8)},
        **{f"af{n}{drop}": 8 * n + 2 * drop for n in range(1, 5) for drop in range(1, 4)},
        "ef": 46,
        "va": 44,
        "le": 1,
    }
)
_MOST_CODE_POINT: Final = 63
_MOST_PORT: Final = 65535


def _read_number(text: str, names: Mapping[str, int], most: int) -> int:
    known = names.get(text.lower())
    if known is not None:
        return known
    if not re.fullmatch(r"[0-9]{1,3}", text) or int(text) > most:
        raise NotationError(
            f"{text!r} is none", f"Write a number from 0 to {most}, or one of {', '.join(names)}"
        )
    return int(text)


def _name(value: int, names: Mapping[str, int]) -> str:
    return next((name for name, number in names.items() if number == value), str(value))


def _read_protocol(text: str) -> int:
    return _read_number(text, _PROTOCOLS, 255)


def _read_code_point(text: str) -> int:
    return _read_number(text, _CODE_POINTS, _MOST_CODE_POINT)


def _read_ports(text: str) -> PortRange:
    found = re.fullmatch(r"([0-9]{1,5})(?:\s*-\s*([0-9]{1,5}))?", text)
    if found is None:
        raise ValueError(text)
    low, high = int(found[1]), int(found[2] or found[1])
    if not 1 <= low <= high <= _MOST_PORT:
        raise NotationError(f"{text!r} are no ports", "Ports go from 1 to 65535, such as 5060-5080")
    return PortRange(low, high)


def _show_ports(ports: PortRange) -> str:
    return str(ports.first) if ports.first == ports.last else f"{ports.first}-{ports.last}"


PROTOCOL: Final = Text(
    name="a protocol",
    example="udp",
    read=_read_protocol,
    write=lambda value: _name(value, _PROTOCOLS),
)
PORTS: Final = Text(name="a port or a range of ports", example="5060-5080", read=_read_ports,
                    write=_show_ports)  # fmt: skip
CODE_POINT: Final = Text(
    name="a code point",
    example="EF",
    read=_read_code_point,
    write=lambda value: _name(value, _CODE_POINTS).upper(),
)
"""Differentiated services (RFC 2474), by number or name: EF, AF41, CS5."""
