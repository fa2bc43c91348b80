"""What the daemon needs of the machine it runs on: `linux_machine` is real, tests bring theirs.

Methods that are not async may block for milliseconds (netlink): call them in a thread.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from socket import AddressFamily
from typing import Protocol

from multiwanbond.config.notations import InterfaceAddress, IpAddress
from multiwanbond.core.datagram import Address
from multiwanbond.core.settings import Prefix
from multiwanbond.linux.gateway import GatewayWish
from multiwanbond.linux.multicast import MulticastHost
from multiwanbond.linux.tun import Offload
from multiwanbond.linux.undo import Undo
from multiwanbond.linux.wans import FoundWan

from .dataplane import Tun, Udp


@dataclass(frozen=True, slots=True, kw_only=True)
class WanWish:
    """Which uplink the operator means."""

    id: int
    name: str
    interface: str | None = None
    local_host: str | None = None
    """An address of ours on it; with it the interface may be left open."""
    wants_gso: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MulticastWish:
    """Between which interfaces and the tunnel multicast is carried."""

    interfaces: tuple[str, ...] | None
    """None: all that have hosts, and are none of `wans`."""
    wans: tuple[str, ...]
    """Interfaces, or addresses on them, that are WANs by the operator's word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceWish:
    """Names, and interfaces with hosts behind them."""

    domains: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.domains or self.devices)


class TunDevice(Tun, Protocol):
    """The dataplane's view of a TUN device, and its name and abilities."""

    @property
    def name(self) -> str: ...
    @property
    def offload(self) -> Offload: ...
    def close(self) -> None: ...


class Watch(Protocol):
    """Hears of changes of links, addresses and routes."""

    async def wait_changed(self) -> None: ...


class Network(Protocol):
    """What surrounds the machine, as far as a bond needs it: uplinks, sockets, names."""

    def interface_mtu(self, name: str) -> int:
        """Return an interface's MTU; PlatformError if there is none of that name."""

    def discover(self) -> list[FoundWan]:
        """Return the interfaces that have a default route."""

    def locate(self, wish: WanWish, version: int) -> FoundWan:
        """Return where a WAN is for this IP version; PlatformError says what is missing."""

    def route_wan(self, wan_id: int, found: FoundWan, undo: Undo) -> None:
        """Let datagrams from the WAN's address leave by the WAN."""

    def open_udp(
        self,
        *,
        family: AddressFamily,
        local: Address,
        device: str | None = None,
        wants_gso: bool = True,
    ) -> Udp:
        """Open a socket whose datagrams stay out of the tunnel."""

    def watch(self) -> AbstractAsyncContextManager[Watch]:
        """Start to listen for changes."""

    async def resolve(self, host: str, port: int) -> list[Address]:
        """Return the addresses of a name; none if it has none, or nobody answers."""


class Machine(Network, Protocol):
    """The kernel, as far as the daemon of one tunnel reads and changes it.

    What changes something puts its reversal on `undo` first.
    """

    def check(self) -> None:
        """Raise PrivilegeError or PlatformError if we could not do our work; change nothing."""

    def lock(self, undo: Undo) -> None:
        """Keep other daemons off this tunnel; PlatformError names the one that has it."""

    def clean_up(self, *, keeps_block: bool = False) -> list[str]:
        """Remove what an earlier daemon left of this tunnel; return what that was, in words.

        Args:
            keeps_block: leave what `block` did.
        """

    def block(self, undo: Undo) -> None:
        """Refuse what would go by a default route and does not go by the tunnel."""

    def set_name_servers(self, servers: Sequence[IpAddress], undo: Undo) -> None:
        """Let names be asked of these servers only."""

    def open_tun(self, *, wants_offload: bool) -> TunDevice:
        """Create the TUN device."""

    def configure_tun(self, addresses: Sequence[InterfaceAddress], mtu: int, undo: Undo) -> None:
        """Give the device its addresses and MTU, and set it up."""

    def open_multicast(self, wish: MulticastWish, undo: Undo) -> MulticastHost:
        """Become this host's multicast router, with groups routed into the tunnel.

        Raises:
            PrivilegeError, PlatformError: it cannot be; the message names what is in the way.
        """

    def set_mtu(self, mtu: int) -> None:
        """Change the device's MTU."""

    def route_tunnel(self, prefixes: Sequence[Prefix], undo: Undo) -> None:
        """Send these destinations into the tunnel; our own sockets stay out of it."""

    def networks_behind(self, interface: str) -> tuple[Prefix, ...]:
        """Return the networks an interface is connected to; none while there is none."""

    def bypass(self, target: Prefix | str, undo: Undo) -> None:
        """Keep packets out of the tunnel that go to a network, or come in by an interface."""

    def forward(self, wish: GatewayWish, wans: Sequence[str], undo: Undo) -> None:
        """Do for other hosts what is wished for, and nothing else any more.

        Args:
            wish: replaces any earlier one.
            wans: interfaces that are WANs now.
            undo: gets the reversals, once.
        """
