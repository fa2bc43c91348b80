"""The machine we really run on: the adapters of `linux`, as the daemon of one tunnel needs them."""

import logging
import socket
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

from multiwanbond.config.notations import InterfaceAddress, IpAddress
from multiwanbond.core.datagram import Address
from multiwanbond.core.settings import Prefix
from multiwanbond.errors import PlatformError
from multiwanbond.linux.gateway import Gateway, GatewayWish
from multiwanbond.linux.kernel import Kernel
from multiwanbond.linux.lans import LanFinder
from multiwanbond.linux.lock import TunnelLock
from multiwanbond.linux.multicast import MulticastHost, open_routers
from multiwanbond.linux.name_servers import NameServers
from multiwanbond.linux.names import resolve
from multiwanbond.linux.netlink import Netlink
from multiwanbond.linux.privileges import check_privileges
from multiwanbond.linux.routing import TunnelRouting
from multiwanbond.linux.run_directory import run_directory
from multiwanbond.linux.tun import TunDevice
from multiwanbond.linux.udp import UdpSocket
from multiwanbond.linux.undo import Undo
from multiwanbond.linux.wans import FoundWan, Uplinks
from multiwanbond.linux.watch import LinkWatch

from .machine import MulticastWish, WanWish
from .report import say


class LinuxMachine:
    """The `Machine` of the network namespace we are in."""

    def __init__(
        self, tunnel: str, *, kernel: Kernel | None = None, directory: Path | None = None
    ) -> None:
        """Change nothing yet.

        Args:
            tunnel: name of the interface; all else is found by it.
            kernel: only tests bring another than the real one.
            directory: where the lock and what else outlives a crash is kept; only tests bring
                another than that of our network namespace.
        """
        self._tunnel = tunnel
        self._kernel = kernel or Netlink()
        self._directory = directory or run_directory()
        self._routing = TunnelRouting(tunnel, self._kernel, self._directory)
        self._gateway = Gateway(tunnel, self._kernel, self._directory)
        self._names = NameServers(tunnel, self._directory)

    # The whole

    def check(self) -> None:
        """Raise PrivilegeError or PlatformError if we could not do our work; change nothing."""
        check_privileges()

    def lock(self, undo: Undo) -> None:
        """Keep other daemons off this tunnel; PlatformError names the one that has it."""
        lock = TunnelLock(self._tunnel, self._directory)
        undo.push("lock", lock.release)

    def clean_up(self, *, keeps_block: bool = False) -> list[str]:
        """Remove what an earlier daemon left of this tunnel; return what that was, in words."""
        return [
            *self._names.clean_up(),
            *self._gateway.clean_up(),
            *self._routing.clean_up(keeps_block=keeps_block),
        ]

    def block(self, undo: Undo) -> None:
        """Refuse what would go by a default route and does not go by the tunnel."""
        self._routing.block(undo)

    def set_name_servers(self, servers: Sequence[IpAddress], undo: Undo) -> None:
        """Let names be asked of these servers only."""
        self._names.set(servers, undo)

    # The TUN device

    def open_tun(self, *, wants_offload: bool) -> TunDevice:
        """Create the TUN device."""
        return TunDevice(self._tunnel, wants_offload=wants_offload)

    def configure_tun(self, addresses: Sequence[InterfaceAddress], mtu: int, undo: Undo) -> None:
        """Give the device its addresses and MTU, and set it up."""
        _say_skipped(self._routing.configure_tun(addresses, mtu, undo))

    def set_mtu(self, mtu: int) -> None:
        """Change the device's MTU."""
        self._kernel.set_link(self._tunnel, mtu=mtu)

    def route_tunnel(self, prefixes: Sequence[Prefix], undo: Undo) -> None:
        """Send these destinations into the tunnel; our own sockets stay out of it."""
        _say_skipped(self._routing.route_tunnel(prefixes, undo))

    def networks_behind(self, interface: str) -> tuple[Prefix, ...]:
        """Return the networks an interface is connected to; none while there is none."""
        return tuple(
            there.address.network
            for there in self._kernel.addresses()
            if there.interface == interface and not there.address.is_link_local
        )

    def bypass(self, target: Prefix | str, undo: Undo) -> None:
        """Keep packets out of the tunnel that go to a network, or come in by an interface."""
        self._routing.bypass(target, undo)

    def forward(self, wish: GatewayWish, wans: Sequence[str], undo: Undo) -> None:
        """Do for other hosts what is wished for, and nothing else any more."""
        self._gateway.apply(wish, wans, undo)

    def open_multicast(self, wish: MulticastWish, undo: Undo) -> MulticastHost:
        """Become this host's multicast router, with groups routed into the tunnel."""
        routers = open_routers()
        for router in routers:
            undo.push(f"multicast routing of IPv{router.version}", router.close)
        self._routing.route_multicast(undo)
        lans = LanFinder(self._kernel, tunnel=self._tunnel, names=wish.interfaces, wans=wish.wans)
        return MulticastHost(routers, lans)

    # WANs

    def interface_mtu(self, name: str) -> int:
        """Return an interface's MTU; PlatformError if there is none of that name."""
        for link in self._kernel.links():
            if link.name == name:
                return link.mtu
        raise PlatformError(f"There is no interface {name!r}.", "See 'ip link show'.")

    def discover(self) -> list[FoundWan]:
        """Return the interfaces that have a default route."""
        return Uplinks(self._kernel, tunnel=self._tunnel).discover()

    def locate(self, wish: WanWish, version: int) -> FoundWan:
        """Return where a WAN is for this IP version; PlatformError says what is missing."""
        found = Uplinks(self._kernel, tunnel=self._tunnel).locate(
            interface=wish.interface, local_host=wish.local_host, version=version
        )
        return replace(found, warning=self._routing.warning_of(found.interface))

    def route_wan(self, wan_id: int, found: FoundWan, undo: Undo) -> None:
        """Let datagrams from the WAN's address leave by the WAN."""
        self._routing.route_wan(wan_id, found, undo)

    def open_udp(
        self,
        *,
        family: socket.AddressFamily,
        local: Address,
        device: str | None = None,
        wants_gso: bool = True,
    ) -> UdpSocket:
        """Open a socket whose datagrams stay out of the tunnel."""
        return UdpSocket(
            family=family,
            local=local,
            device=device,
            mark=self._routing.mark,
            wants_gso=wants_gso,
        )

    def watch(self) -> AbstractAsyncContextManager[LinkWatch]:
        """Start to listen for changes."""
        return LinkWatch()

    # Names

    async def resolve(self, host: str, port: int) -> list[Address]:
        """Return the addresses of a name, in the order the resolver prefers them; maybe none."""
        return await resolve(host, port)


def _say_skipped(skipped: Sequence[str]) -> None:
    for what in skipped:
        say(logging.WARNING, f"Left out {what}.")
