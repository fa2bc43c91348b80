"""What a machine does for hosts beside itself: forwarding, address translation, open ports."""

from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address
from typing import Final, NamedTuple

from multiwanbond.options import Reload, option
from multiwanbond.units import NotationError

from .notations import IpAddress, Text
from .traffic_notations import PORTS, PortRange


class Forward(Enum):
    """Whether the machine passes packets between the tunnel and its other interfaces."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class Transport(Enum):
    """Protocols that have ports to open."""

    TCP = "tcp"
    UDP = "udp"
    BOTH = "both"


class Target(NamedTuple):
    """Where an open port leads to."""

    host: IpAddress
    port: int | None = None
    """None: the port that was spoken to."""

    def __str__(self) -> str:
        if self.port is None:
            return str(self.host)
        return (
            f"[{self.host}]:{self.port}" if self.host.version == 6 else f"{self.host}:{self.port}"
        )


_MOST_PORT: Final = 65535


def _read_target(text: str) -> Target:
    try:
        return Target(ip_address(text.strip("[]") if text.endswith("]") else text))
    except ValueError:
        host, _, port = text.rpartition(":")
        if ":" in host and not (host.startswith("[") and host.endswith("]")):
            raise
        if not port.isdigit() or not 1 <= int(port) <= _MOST_PORT:
            raise NotationError(
                f"{text!r} is no address, with or without a port",
                "Write it like 10.77.0.2, 10.77.0.2:443 or '[fd77::2]:443'",
            ) from None
        return Target(ip_address(host.strip("[]")), int(port))


TARGET: Final = Text(
    name="an address, with or without a port", example="10.77.0.2:443", read=_read_target
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortForward:
    """A port through which the Internet reaches a host behind the tunnel."""

    protocol: Transport = option(
        Transport.TCP, reload=Reload.LIVE, doc="The protocol: tcp, udp, or both."
    )
    port: PortRange = option(
        notation=PORTS, reload=Reload.LIVE, doc="The port of this machine, or a range of them."
    )
    to: Target = option(
        notation=TARGET,
        reload=Reload.LIVE,
        doc="Who gets what comes to that port: on a server a client's address in the tunnel, on a "
        "client a host behind it. Without a port, and for ranges, the port stays the same.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """What this machine does for the hosts behind it."""

    forward: Forward = option(
        Forward.AUTO,
        reload=Reload.LIVE,
        doc="Whether packets are passed between the tunnel and other interfaces: on turns the "
        "kernel's forwarding on while the tunnel stands, and also lets hosts behind a client out "
        "by its WANs directly where they bypass the tunnel; off leaves forwarding and firewall "
        "alone; auto is on for a server, and for a client that forwards already it adds what the "
        "tunnel needs.",
    )
    masquerade: bool = option(
        True,
        reload=Reload.LIVE,
        doc="True gives what is forwarded the address of this machine: on a server that of its "
        "line to the Internet, on a client its address in the tunnel. IPv4 and IPv6. False is for "
        "networks that are routed: then allowed_ips at the server names them, and the Internet "
        "knows the way back.",
    )
    client_to_client: bool = option(
        False,
        reload=Reload.LIVE,
        doc="True lets the clients of a server reach each other.",
    )
    port_forwards: tuple[PortForward, ...] = option(
        tuple,
        reload=Reload.LIVE,
        default_doc="none",
        doc="Ports opened towards hosts behind the tunnel: first on the server, to the client's "
        "address, and from there, if the host is behind it, on the client.",
    )
