"""A machine in memory for the daemon: it remembers what was changed, and can fail at any step."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from ipaddress import ip_address
from socket import AddressFamily

import trio

from multiwanbond.config.gateway import Forward
from multiwanbond.config.notations import InterfaceAddress, IpAddress
from multiwanbond.core.datagram import Address
from multiwanbond.core.settings import Prefix
from multiwanbond.daemon.machine import MulticastWish, WanWish
from multiwanbond.errors import PlatformError
from multiwanbond.linux.fake import FakeHost, FakeTun, FakeUdpSocket
from multiwanbond.linux.gateway import GatewayWish
from multiwanbond.linux.multicast import MulticastHost
from multiwanbond.linux.undo import Undo
from multiwanbond.linux.wans import FoundWan


class FakeWatch:
    """Hears what `FakeMachine.announce` says."""

    def __init__(self) -> None:
        self.changed = trio.Event()

    async def wait_changed(self) -> None:
        await self.changed.wait()
        self.changed = trio.Event()


class FakeMachine:
    """One host of a `FakeNetwork`, and a kernel that is only a list of what was done to it."""

    def __init__(self, host: FakeHost, *, names: dict[str, list[Address]] | None = None) -> None:
        self.host = host
        self.names = names or {}
        self.networks: dict[str, tuple[Prefix, ...]] = {}
        self.log: list[str] = []
        """Everything asked and changed, in order; reversals begin with "undo"."""
        self.standing: list[str] = []
        """Changes in force."""
        self.leftovers: list[str] = []
        self.fails_at: str | None = None
        """The step that fails, by the beginning of its text."""
        self.mtus: dict[str, int] = {}
        self.tun: FakeTun | None = None
        self._watches: list[FakeWatch] = []

    def announce(self) -> None:
        """Tell the daemon that something about links or addresses changed."""
        for watch in self._watches:
            watch.changed.set()

    def _step(self, what: str) -> None:
        self.log.append(what)
        if self.fails_at is not None and what.startswith(self.fails_at):
            raise PlatformError(f"{what} failed.", "It was told to.")

    def _change(self, what: str, undo: Undo) -> None:
        def reverse() -> None:
            self.log.append(f"undo {what}")
            if what in self.standing:
                self.standing.remove(what)

        undo.push(what, reverse)
        if what not in self.standing:
            self._step(what)
            self.standing.append(what)

    def check(self) -> None:
        self._step("check")

    def lock(self, undo: Undo) -> None:
        self._change("lock mwb0", undo)

    def block(self, undo: Undo) -> None:
        self._change("block", undo)

    def set_name_servers(self, servers: Sequence[IpAddress], undo: Undo) -> None:
        self._change(f"names from {', '.join(map(str, servers))}", undo)

    def clean_up(self, *, keeps_block: bool = False) -> list[str]:
        self._step("clean up")
        found, self.leftovers = self.leftovers, []
        return found

    def interface_mtu(self, name: str) -> int:
        self._step(f"mtu of {name}")
        return self.mtus.get(name, 1500)

    def open_tun(self, *, wants_offload: bool) -> FakeTun:
        self._step("tun mwb0")
        self.tun = FakeTun("mwb0")
        return self.tun

    def configure_tun(self, addresses: Sequence[InterfaceAddress], mtu: int, undo: Undo) -> None:
        for address in addresses:
            self._change(f"address {address}", undo)
        self._change(f"up mwb0 mtu {mtu}", undo)

    def open_multicast(self, wish: MulticastWish, undo: Undo) -> MulticastHost:
        raise PlatformError("This machine is no multicast router.", "Take a real one.")

    def set_mtu(self, mtu: int) -> None:
        self._step(f"mtu {mtu} of mwb0")

    def route_tunnel(self, prefixes: Sequence[Prefix], undo: Undo) -> None:
        for prefix in prefixes:
            self._change(f"route {prefix}", undo)

    def networks_behind(self, interface: str) -> tuple[Prefix, ...]:
        return self.networks.get(interface, ())

    def bypass(self, target: Prefix | str, undo: Undo) -> None:
        self._change(f"bypass {target}", undo)

    def forward(self, wish: GatewayWish, wans: Sequence[str], undo: Undo) -> None:
        if wish.is_server or wish.forward is Forward.ON:
            self._change(f"forward for {','.join(wans) or 'clients'}", undo)

    def discover(self) -> list[FoundWan]:
        self._step("discover")
        present = [name for name in self.host.interfaces if name not in self.host.down]
        return [self._found(name, 4) for name in present]

    def locate(self, wish: WanWish, version: int) -> FoundWan:
        self._step(f"locate {wish.name}")
        for name, addresses in self.host.interfaces.items():
            is_meant = wish.interface in {None, name} and (
                wish.local_host is None or wish.local_host in addresses
            )
            if is_meant and name not in self.host.down:
                return self._found(name, version)
        raise PlatformError(f"No interface {wish.interface!r}.", "Plug it in.")

    def _found(self, name: str, version: int) -> FoundWan:
        for address in self.host.interfaces[name]:
            if ip_address(address).version == version:
                return FoundWan(interface=name, gateway=None, local_host=address)
        raise PlatformError(f"{name} has no IPv{version} address.", "")

    def route_wan(self, wan_id: int, found: FoundWan, undo: Undo) -> None:
        self._change(f"table of {found.interface}", undo)

    def open_udp(
        self,
        *,
        family: AddressFamily,
        local: Address,
        device: str | None = None,
        wants_gso: bool = True,
    ) -> FakeUdpSocket:
        self._step(f"socket {device or local}")
        return self.host.open_socket(family=family, local=local, device=device, wants_gso=wants_gso)

    def watch(self) -> AbstractAsyncContextManager[FakeWatch]:
        return self._watch()

    @asynccontextmanager
    async def _watch(self) -> AsyncIterator[FakeWatch]:
        watch = FakeWatch()
        self._watches.append(watch)
        yield watch
        self._watches.remove(watch)

    async def resolve(self, host: str, port: int) -> list[Address]:
        await trio.lowlevel.checkpoint()
        self.log.append(f"resolve {host}")
        return [Address(address.host, port) for address in self.names.get(host, [])]
