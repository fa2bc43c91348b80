"""How the settings that are neither numbers nor words are written: addresses, keys, files."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
    ip_network,
)
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, TypeVar

from multiwanbond.core.datagram import Address
from multiwanbond.core.settings import Prefix
from multiwanbond.units import NotationError

from .keys import decode_key, encode_key

_T = TypeVar("_T")

IpAddress = IPv4Address | IPv6Address
InterfaceAddress = IPv4Interface | IPv6Interface

# --- from a specification --------------------------------------------------------------------

_LONGEST_INTERFACE: Final = 15
"""IFNAMSIZ less its final zero byte, <linux/if.h>."""
_LONGEST_HOST: Final = 253
_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
"""RFC 1123, section 2.1, and the underscore that some resolvers' names have."""
_LONGEST_SOCKET_PATH: Final = 107
"""sun_path less its final zero byte, unix(7)."""

_BEYOND_NAMES: Final = {
    "mac:": re.compile(r"[0-9a-f:*?]{1,17}"),
    "driver:": re.compile(r"[a-z0-9_*?-]{1,64}"),
}
"""What else than its name an interface can be known by, and how a pattern of that looks."""

# --- chosen by us ----------------------------------------------------------------------------

_LONGEST_NAME: Final = 64
"""Fits a table in a terminal."""


class HostPort(NamedTuple):
    """Where a far end listens; unlike an `Address`, the host may still have to be looked up."""

    host: str
    """A numeric address without brackets, or a name."""
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Generic[_T]):
    """A notation made of two functions."""

    name: str
    example: str
    read: Callable[[str], _T]
    """Raises NotationError where it can say more than that the text is no `name`; else
    ValueError."""
    write: Callable[[Any], str] = str

    def parse(self, text: str) -> _T:
        """Return the value of `text`; raises NotationError."""
        try:
            return self.read(text)
        except NotationError:
            raise
        except ValueError as exc:
            raise NotationError(
                f"expected {self.name}, found {text!r}", f"Write it like {self.example}"
            ) from exc

    def show(self, value: Any) -> str:
        """Return `value` as an operator would write it."""
        return self.write(value)


def is_numeric(host: str) -> bool:
    """Tell an address from a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _split_port(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        raise NotationError(
            f"expected a host and a port, found {text!r}",
            f"Add the port, such as {text + ':9000'!r}",
        )
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise NotationError(
            f"cannot tell address and port apart in {text!r}",
            "Put the IPv6 address in brackets, such as '[2001:db8::1]:9000'",
        )
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise NotationError(f"{port!r} in {text!r} is no port", "Ports go from 1 to 65535")
    if host.startswith("["):
        return str(IPv6Address(_without_scope(host[1:-1]))), int(port)
    return host, int(port)


def _without_scope(text: str) -> str:
    """Return `text` unless it is an IPv6 address with a scope, which no setting of ours needs."""
    if "%" in text:
        raise NotationError(f"{text!r} has a scope", "Leave out the '%' and what follows it")
    return text


def _read_host_port(text: str) -> HostPort:
    host, port = _split_port(text)
    try:
        address = ip_address(host)
    except ValueError:
        _check_name(host)
    else:
        if address.is_unspecified or address.is_multicast:
            raise NotationError(
                f"nothing can be sent to {host!r}", "Give the address or name of the far end"
            )
    return HostPort(host, port)


def _read_domain(text: str) -> str:
    _check_name(text)
    return text.removesuffix(".").lower()


def _check_name(host: str) -> None:
    labels = host.removesuffix(".").split(".")
    is_name = (
        0 < len(host) <= _LONGEST_HOST
        and all(_LABEL.fullmatch(label) for label in labels)
        and not labels[-1].isdigit()  # "10.0.0.300" is a mistyped address, not a name
    )
    if not is_name:
        raise NotationError(
            f"{host!r} is neither an address nor a host name", "Write it like vps.example.net:9000"
        )


def _read_local(text: str) -> Address:
    host, port = _split_port(text)
    try:
        return Address(str(ip_address(_without_scope(host))), port)
    except NotationError:
        raise
    except ValueError as exc:
        raise NotationError(
            f"{host!r} is no numeric address",
            "Write one of this machine's, 0.0.0.0 for all of IPv4, or [::] for IPv6 as well",
        ) from exc


def _read_address(text: str) -> IpAddress:
    return ip_address(_without_scope(text))


def _read_interface_address(text: str) -> InterfaceAddress:
    address = ip_interface(_without_scope(text))
    if address.ip.is_unspecified or address.ip.is_multicast:
        raise NotationError(
            f"{text!r} cannot be an interface's address", "Write it like 10.77.0.2/24"
        )
    return address


def _read_prefix(text: str) -> Prefix:
    try:
        return ip_network(_without_scope(text))
    except NotationError:
        raise
    except ValueError:
        # Raises ValueError again unless it was only the host part that is not zero.
        network = ip_network(text, strict=False)
        raise NotationError(
            f"{text!r} is an address within a prefix, not a prefix", f"Write {network}"
        ) from None


def _read_interface(text: str) -> str:
    is_valid = (
        re.fullmatch(rf"[!-~]{{1,{_LONGEST_INTERFACE}}}", text)
        and not set(text) & set("/:%")
        and text not in (".", "..", "all", "default")
    )
    if not is_valid:
        raise NotationError(
            f"{text!r} cannot be an interface's name",
            f"Use 1 to {_LONGEST_INTERFACE} letters, digits, '-', '_' or '.', such as mwb0",
        )
    return text


def _read_wan_interface(text: str) -> str:
    for beginning, pattern in _BEYOND_NAMES.items():
        if text.startswith(beginning):
            if not pattern.fullmatch(text.removeprefix(beginning).lower()):
                raise NotationError(
                    f"{text!r} is no pattern of what it names",
                    "Write it like mac:0c:5b:8f:* or driver:cdc_ether",
                )
            return text.lower()
    wildcards = str.maketrans("*?[]", "abcd")
    _read_interface(text.translate(wildcards))
    return text


def _read_name(text: str) -> str:
    if not text.isprintable() or len(text) > _LONGEST_NAME:
        raise NotationError(
            f"{text[:_LONGEST_NAME]!r} is too long or has characters that cannot be shown",
            f"Use up to {_LONGEST_NAME} printable characters",
        )
    return text


def _read_path(text: str) -> Path:
    if not text or not text.isprintable():
        raise NotationError(f"{text!r} is no file name", "Write it like /etc/multiwanbond/peer.key")
    return Path(text)


def _read_socket(text: str) -> Path:
    path = _read_path(text)
    if len(text.encode()) > _LONGEST_SOCKET_PATH:
        raise NotationError(
            f"{text!r} is longer than a socket's path can be",
            f"Use at most {_LONGEST_SOCKET_PATH} bytes",
        )
    return path


def _read_mtu(text: str) -> int | None:
    if text == "auto":
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError(text)
    return int(text)


HOST_PORT: Final = Text(
    name="a host and port", example="vps.example.net:9000", read=_read_host_port
)
LISTEN_ADDRESS: Final = Text(name="an address and port", example="[::]:9000", read=_read_local)
IP_ADDRESS: Final = Text(name="an IP address", example="192.168.1.100", read=_read_address)
INTERFACE_ADDRESS: Final = Text(
    name="an address with prefix length", example="10.77.0.2/24", read=_read_interface_address
)
PREFIX: Final = Text(name="a prefix", example="10.77.0.0/24", read=_read_prefix)
INTERFACE_NAME: Final = Text(name="an interface name", example="eth0", read=_read_interface)
WAN_INTERFACE: Final = Text(
    name="an interface name or a pattern", example="wwan0", read=_read_wan_interface
)
NAME: Final = Text(name="a name", example="Fibre", read=_read_name)
KEY: Final = Text(
    name="a key",
    example="the output of mwb keygen",
    read=decode_key,
    write=encode_key,
)
FILE: Final = Text(name="a file", example="/etc/multiwanbond/private.key", read=_read_path)
SOCKET: Final = Text(
    name="a socket's path", example="/run/multiwanbond/office.sock", read=_read_socket
)
DOMAIN: Final = Text(name="a domain name", example="example.net", read=_read_domain)
MTU: Final = Text(
    name="a number of bytes or auto",
    example="1400",
    read=_read_mtu,
    write=lambda value: "auto" if value is None else str(value),
)
