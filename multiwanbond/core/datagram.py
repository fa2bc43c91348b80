"""What crosses the border between the core and the sockets."""

from dataclasses import dataclass
from typing import NamedTuple

from multiwanbond.core.burst import Bytes


class Address(NamedTuple):
    """Where a datagram comes from or goes to; the core compares and stores it, nothing more."""

    host: str
    """A numeric IPv4 or IPv6 address."""
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Received:
    """One socket read: a datagram, or a run of them from one sender that the kernel joined (GRO).

    The core does not keep `data`: the buffer may be reused when `handle_datagrams` returns.
    """

    __slots__ = ("data", "local_host", "segment_size", "source")

    def __init__(
        self, data: Bytes, source: Address, *, segment_size: int = 0, local_host: str | None = None
    ) -> None:
        self.data = data
        self.source = source
        self.segment_size = segment_size
        """Bytes of each datagram but perhaps the last; 0 for a single one."""
        self.local_host = local_host
        """The address of ours it was sent to, where the socket can tell; answers leave from it."""


class Transmit:
    """One socket write: a datagram or a run of equal-size ones to one address.

    `data` belongs to the core and is overwritten by the next call into it: send or copy it first.
    """

    __slots__ = ("data", "destination", "local_host", "segment_size", "wan_id")

    def __init__(
        self,
        data: Bytes,
        destination: Address,
        *,
        wan_id: int,
        segment_size: int = 0,
        local_host: str | None = None,
    ) -> None:
        self.data = data
        self.destination = destination
        self.wan_id = wan_id
        """The WAN (on a server: the socket) it leaves by."""
        self.segment_size = segment_size
        """Bytes of each datagram but perhaps the last; 0 for a single one."""
        self.local_host = local_host
        """The address of ours it must leave from; None leaves the choice to the kernel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkUp:
    """A WAN has an address and a route; its path to `remote` may be tried."""

    remote: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkDown:
    """A WAN lost its carrier, address or route; nothing can be sent on it."""

    reason: str
    """In plain words, for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLeaving:
    """A WAN is about to be taken away; what is under way on it may still arrive.

    `Endpoint.has_left` says when nothing more is lost by it; then comes `LinkDown`.
    """


LinkChange = LinkUp | LinkDown | LinkLeaving
