"""The networks around a program without privileges: sockets are bound, nothing is changed.

What the daemon achieves by routing rules, a socket that is bound to an interface has by itself: the
kernel looks only at that interface's routes. Linux allows it without root since 5.7.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from ipaddress import ip_address
from socket import AddressFamily

from multiwanbond.core.datagram import Address
from multiwanbond.daemon.machine import WanWish
from multiwanbond.errors import PlatformError, PrivilegeError
from multiwanbond.linux.kernel import Kernel
from multiwanbond.linux.names import resolve
from multiwanbond.linux.netlink import Netlink
from multiwanbond.linux.udp import UdpSocket
from multiwanbond.linux.undo import Undo
from multiwanbond.linux.wans import FoundWan, Uplinks
from multiwanbond.linux.watch import LinkWatch


class UnprivilegedNetwork:
    """The `Network` of a process that may not change routes."""

    def __init__(
        self,
        *,
        tunnel: str,
        kernel: Kernel | None = None,
        open_socket: Callable[..., UdpSocket] = UdpSocket,
    ) -> None:
        """Look at nothing yet.

        Args:
            tunnel: an interface of this name is never a WAN: a daemon of ours may have it.
            kernel: only tests bring another than the real one; so the next.
            open_socket: opens UDP sockets.
        """
        self._tunnel = tunnel
        self._kernel = kernel or Netlink()
        self._open_socket = open_socket

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
        host = wish.local_host
        if host is not None and _is_loopback(host) and ip_address(host).version == version:
            # All of 127.0.0.0/8 is ours, though the kernel lists one address of it.
            return FoundWan(interface="lo", gateway=None, local_host=host)
        return Uplinks(self._kernel, tunnel=self._tunnel).locate(
            interface=wish.interface, local_host=host, version=version
        )

    def route_wan(self, wan_id: int, found: FoundWan, undo: Undo) -> None:
        """Do nothing: the socket is bound to the interface, and takes its routes."""

    def open_udp(
        self,
        *,
        family: AddressFamily,
        local: Address,
        device: str | None = None,
        wants_gso: bool = True,
    ) -> UdpSocket:
        """Open a socket bound to its address, and to its interface where the kernel lets us."""
        if device is not None and not _is_loopback(local.host):
            try:
                return self._open_socket(
                    family=family, local=local, device=device, wants_gso=wants_gso
                )
            except PrivilegeError:
                # Before Linux 5.7. The address alone decides by which route nothing, but the path
                # works where the machine routes by source address, as routers of many lines do.
                pass
        return self._open_socket(family=family, local=local, wants_gso=wants_gso)

    def watch(self) -> AbstractAsyncContextManager[LinkWatch]:
        """Start to listen for changes."""
        return LinkWatch()

    async def resolve(self, host: str, port: int) -> list[Address]:
        """Return the addresses of a name; none if it has none, or nobody answers."""
        return await resolve(host, port)


def _is_loopback(host: str) -> bool:
    return ip_address(host).is_loopback
