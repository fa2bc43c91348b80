"""Keeps a client's WANs, their sockets and the kernel's routes in step with what the machine has.

Each WAN has a task that compares what is wanted with what is there, again after every change the
kernel tells of, and after a while where something failed. A WAN that cannot be used now is no
error: it says what it waits for, and the others carry on.
"""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from socket import AF_INET, AF_INET6
from typing import Final, TypeVar, TypeVarTuple

import trio

from multiwanbond.config.notations import HostPort, is_numeric
from multiwanbond.control.status import WanDocument
from multiwanbond.core.datagram import Address, LinkDown, LinkLeaving, LinkUp
from multiwanbond.core.path_state import PathState
from multiwanbond.errors import PlatformError
from multiwanbond.linux.undo import Undo
from multiwanbond.linux.wans import FoundWan

from .dataplane import Dataplane
from .machine import Network, WanWish
from .plan import MOST_DISCOVERED, ClientPlan
from .report import WanLabel, say

_Result = TypeVar("_Result")
_Arguments = TypeVarTuple("_Arguments")

SETTLE: Final = 0.1
"""Seconds to wait after a change: the kernel tells of one in several messages."""

LOOK_AGAIN: Final = 60.0
"""Seconds after which a WAN is looked at without being told to: a name may have moved."""

TRY_OTHER: Final = 10.0
"""Seconds without an answer after which another address of the server's name is tried: one that
has an IPv6 address is not always reached by it."""

LONGEST_PAUSE: Final = 30.0
"""Seconds between two tries, at most; they start at one second and double."""

LOOKUP_LIMIT: Final = 10.0
"""Seconds a name lookup may take: the resolver's own limit for one server is five."""

LOOK_WHETHER_LEFT: Final = 0.05
"""Seconds between two looks whether a WAN that is to go has brought its last packet."""

_ANSWERED: Final = frozenset({PathState.UP, PathState.DEGRADED, PathState.RECOVERING})


class Wan:
    """One uplink: what is wanted of it, what is there, and what it waits for."""

    def __init__(self, wish: WanWish, remote: HostPort, predecessor: "Wan | None" = None) -> None:
        self.wish = wish
        self.remote: Final = remote
        self.predecessor = predecessor
        """What has the same number and must be gone first."""
        self.keeping = trio.CancelScope()
        """Cancelled when the WAN is wanted no more."""
        self.gone = trio.Event()
        self.candidates: list[Address] = []
        """Addresses of the server's name, as last looked up."""
        self.looked_up_at = -math.inf
        self.found: FoundWan | None = None
        self.address: Address | None = None
        """Where it sends to; None while it is down."""
        self.sends_since = -math.inf
        self.waiting_for: str | None = "its first look at the machine"
        self.changed = trio.Event()
        self.failures = 0
        """Tries in a row that failed; sets the pause before the next."""
        self.undo = Undo()
        """What this WAN changed in the kernel."""

    def is_meant_by(self, wish: WanWish, remote: HostPort) -> bool:
        """True if it would do all the same with this wish, whatever its name."""
        return replace(self.wish, name=wish.name) == wish and self.remote == remote

    @property
    def pause(self) -> float:
        """Seconds to wait after a failure."""
        return min(LONGEST_PAUSE, 2.0 ** min(self.failures - 1, 10))

    def candidates_in_order(self, *, is_answered: bool, now: float) -> list[Address]:
        """Return the server's addresses, the one to use first."""
        if self.address not in self.candidates:
            return self.candidates
        place = self.candidates.index(self.address)
        if is_answered or now < self.sends_since + TRY_OTHER:
            # The one in use: a name with several must not make the WAN jump among them.
            return [self.address, *self.candidates[:place], *self.candidates[place + 1 :]]
        return [*self.candidates[place + 1 :], *self.candidates[: place + 1]]


class Wans:
    """All WANs of a client; `run` keeps them, `close` takes back what they changed."""

    def __init__(
        self,
        plan: ClientPlan,
        *,
        network: Network,
        dataplane: Dataplane,
        say: Callable[..., None] = say,
    ) -> None:
        """Look at nothing yet.

        Args:
            plan: which WANs, and where they lead.
            network: the machine's.
            dataplane: gets the sockets, and its endpoint hears of the links.
            say: logs.
        """
        self._say: Final = say
        self._wans = {wish.id: Wan(wish, remote) for wish, remote in plan.wans}
        self._leaving: list[Wan] = []
        """Wanted no more, and not gone yet; the last to be told is the last."""
        self._discovery = plan.discovery
        self._network = network
        self._dataplane = dataplane
        self._nursery: trio.Nursery | None = None
        # One at a time: the adapters' netlink socket belongs to one thread at a time.
        self._limiter = trio.CapacityLimiter(1)
        self._has_address = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep all WANs until cancelled."""
        async with self._network.watch() as watch, trio.open_nursery() as nursery:
            self._nursery = nursery
            for wan in self._wans.values():
                nursery.start_soon(self._keep, wan)
            await self._discover()
            task_status.started()
            while True:
                await watch.wait_changed()
                await trio.sleep(SETTLE)
                await self._discover()
                for wan in self._wans.values():
                    wan.changed.set()

    @property
    def is_trying(self) -> bool:
        """True while a server is called by some WAN, or would be if its name had an address."""
        return any(
            wan.address is not None or (not wan.candidates and wan.looked_up_at > -math.inf)
            for wan in self._wans.values()
        )

    async def wait_address(self) -> None:
        """Return when the address of a server is known."""
        await self._has_address.wait()

    def close(self) -> None:
        """Take back what all WANs changed in the kernel.

        Raises:
            PlatformError: some of it could not be.
        """
        wans = (*self._wans.values(), *self._leaving)
        failures = [failure for wan in wans for failure in wan.undo.run()]
        if failures:
            raise PlatformError("; ".join(failures), "")

    # Other wishes

    def reconfigure(self, plan: ClientPlan) -> None:
        """Follow another plan while running: add, take out, exchange and rename WANs.

        One that is taken out is used until nothing more comes by it, unless it is wanted again
        before; one that is exchanged under the same number waits for that.
        """
        assert self._nursery is not None
        self._discovery = plan.discovery
        kept = set()
        for wan_id, wish, remote in self._wishes(plan):
            wan = self._wans[wan_id]
            if wan.is_meant_by(wish, remote):
                wan.wish = wish
                kept.add(wan_id)
        for wan_id in self._wans.keys() - kept:
            wan = self._wans.pop(wan_id)
            self._leaving.append(wan)
            wan.keeping.cancel()
        for wish, remote in plan.wans:
            if wish.id not in kept:
                self._add_or_take_back(wish, remote)
        self._nursery.start_soon(self._discover)

    def _wishes(self, plan: ClientPlan) -> Iterator[tuple[int, WanWish, HostPort]]:
        """Yield what the plan wants of the WANs there are."""
        for wish, remote in plan.wans:
            if wish.id in self._wans:
                yield wish.id, wish, remote
        if plan.discovery is not None:
            for wan_id, wan in self._wans.items():
                if wan.wish.interface is not None and wan_id <= MOST_DISCOVERED:
                    yield wan_id, _discovered(wan_id, wan.wish.interface), plan.discovery

    def _add_or_take_back(self, wish: WanWish, remote: HostPort) -> None:
        before = self._last_leaving(wish.id)
        if before is not None and before.is_meant_by(wish, remote):
            self._leaving.remove(before)
            before.wish = wish
            before.keeping = trio.CancelScope()
            self._wans[wish.id] = before
        else:
            self._add(wish, remote)

    def _add(self, wish: WanWish, remote: HostPort) -> None:
        assert self._nursery is not None
        wan = self._wans[wish.id] = Wan(wish, remote, self._last_leaving(wish.id))
        self._nursery.start_soon(self._keep, wan)

    def _last_leaving(self, wan_id: int) -> Wan | None:
        leaving = (wan for wan in reversed(self._leaving) if wan.wish.id == wan_id)
        return next(leaving, None)

    # What others want to know

    def label(self, path_id: int) -> WanLabel:
        """Return the names of the WAN behind a path."""
        wan = self._wans.get(path_id) or self._last_leaving(path_id)
        if wan is None:
            return WanLabel(name=str(path_id), title=f"Path {path_id}")
        interface = wan.found.interface if wan.found else wan.wish.interface
        return WanLabel(name=wan.wish.name, title=f"WAN {wan.wish.name}", interface=interface)

    def interfaces(self) -> list[str]:
        """Return the interfaces that are used as WANs now."""
        return [wan.found.interface for wan in self._wans.values() if wan.found is not None]

    def describe(self) -> list[WanDocument]:
        """Return every WAN as the status document shows it."""
        return [
            {
                "id": wan.wish.id,
                "name": wan.wish.name,
                "interface": self.label(wan.wish.id).interface,
                "local": wan.found.local_host if wan.found else None,
                "remote": str(wan.address) if wan.address else None,
                "waiting_for": wan.waiting_for,
                "warning": wan.found.warning if wan.found else None,
            }
            for wan in self._wans.values()
        ]

    def on_socket_broken(self, wan_id: int, exc: OSError) -> None:
        """Let the WAN open another socket, the later the more often this happens."""
        wan = self._wans.get(wan_id)
        if wan is not None:
            wan.failures += 1
            wan.changed.set()
        name = self.label(wan_id).name
        self._say(logging.WARNING, f"The socket of WAN {name} failed: {exc}.", wan=name)

    # Discovery

    async def _discover(self) -> None:
        """Add a WAN for every default route by an interface that has none yet."""
        if self._discovery is None:
            return
        there = await self._in_thread(self._network.discover)
        known = {wan.wish.interface for wan in self._wans.values()}
        free = (number for number in range(1, MOST_DISCOVERED + 1) if number not in self._wans)
        for found in there:
            if found.interface in known or self._discovery is None:
                continue
            wan_id = next(free, None)
            if wan_id is None:
                return
            known.add(found.interface)
            self._add(_discovered(wan_id, found.interface), self._discovery)

    # One WAN

    async def _keep(self, wan: Wan) -> None:
        """Use the WAN for as long as it is wanted, then take it out of the bond."""
        if wan.predecessor is not None:
            await wan.predecessor.gone.wait()
            wan.predecessor = None
        while True:
            with wan.keeping:
                await self._follow(wan)
            await self._take_out(wan)
            if wan in self._leaving:
                break
        self._leaving.remove(wan)
        wan.gone.set()
        self._say(
            logging.INFO, f"WAN {wan.wish.name} is gone: its socket is closed.", wan=wan.wish.name
        )

    async def _take_out(self, wan: Wan) -> None:
        """Stop using a WAN as soon as nothing more comes by it; not if it is wanted again."""
        endpoint, wan_id = self._dataplane.endpoint, wan.wish.id
        if wan.address is not None:
            endpoint.handle_link_change(wan_id, LinkLeaving(), trio.current_time())
            self._dataplane.flush()
            while not endpoint.has_left(wan_id, trio.current_time()):
                await trio.sleep(LOOK_WHETHER_LEFT)
                if wan not in self._leaving:
                    change = LinkUp(remote=wan.address)
                    endpoint.handle_link_change(wan_id, change, trio.current_time())
                    self._dataplane.flush()
                    return
        await self._switch_off(wan, "the WAN was taken out of the configuration")

    async def _follow(self, wan: Wan) -> None:
        """Keep the WAN in step with the machine."""
        while True:
            wan.changed = trio.Event()
            try:
                await self._converge(wan)
            except PlatformError as exc:
                wan.failures += 1
                await self._wait_for(wan, exc.problem)
            with trio.move_on_after(self._patience(wan)):
                await wan.changed.wait()
            if wan.address is not None and wan.wish.id not in self._dataplane.sockets:
                # Its socket broke. What broke once may break at once again.
                await trio.sleep(wan.pause)

    def _patience(self, wan: Wan) -> float:
        """Return after how many seconds to look again without being told to."""
        if wan.failures:
            return wan.pause
        return LOOK_AGAIN if self._is_answered(wan) else TRY_OTHER

    async def _converge(self, wan: Wan) -> None:
        """Make the WAN use what is there.

        Raises:
            PlatformError: it cannot be used now; the message says why.
        """
        await self._look_up(wan)
        found, address = await self._match(wan)
        is_same = (found, address) == (wan.found, wan.address)
        if found.warning and (wan.found is None or wan.found.warning != found.warning):
            self._say(logging.WARNING, f"WAN {wan.wish.name}: {found.warning}", wan=wan.wish.name)
        if is_same and wan.wish.id in self._dataplane.sockets:
            await self._restore_routes(wan, found)
            wan.found = found
            wan.failures = 0
            return
        await self._switch_off(wan, "the WAN changed")
        await self._switch_on(wan, found, address)

    async def _match(self, wan: Wan) -> tuple[FoundWan, Address]:
        """Return the first address of the server that this WAN has a way to, and that way."""
        refusal: PlatformError | None = None
        is_answered, now = self._is_answered(wan), trio.current_time()
        for address in wan.candidates_in_order(is_answered=is_answered, now=now):
            version = ip_address(address.host).version
            try:
                return await self._in_thread(self._network.locate, wan.wish, version), address
            except PlatformError as exc:
                refusal = refusal or exc
        assert refusal is not None, "a lookup without an address is an error"
        raise refusal

    async def _switch_on(self, wan: Wan, found: FoundWan, address: Address) -> None:
        wan_id = wan.wish.id
        await self._in_thread(self._network.route_wan, wan_id, found, wan.undo)
        socket = self._network.open_udp(
            family=AF_INET6 if ":" in address.host else AF_INET,
            local=Address(found.local_host, 0),
            device=found.interface,
            wants_gso=wan.wish.wants_gso,
        )
        self._dataplane.attach(wan_id, socket)
        wan.found, wan.address, wan.waiting_for = found, address, None
        wan.sends_since = trio.current_time()
        self._say(
            logging.INFO,
            f"WAN {wan.wish.name} is ready: {found.interface}, {found.local_host} to {address}.",
            wan=wan.wish.name,
        )
        self._dataplane.endpoint.handle_link_change(
            wan_id, LinkUp(remote=address), trio.current_time()
        )
        self._dataplane.flush()

    async def _restore_routes(self, wan: Wan, found: FoundWan) -> None:
        """Add what somebody removed: a DHCP client that renews an address loses its routes."""
        # What is added again is on `wan.undo` since the first time.
        again = Undo()
        try:
            await self._in_thread(self._network.route_wan, wan.wish.id, found, again)
        finally:
            again.commit()

    async def _wait_for(self, wan: Wan, what: str) -> None:
        """Stop using the WAN until what is missing is there."""
        if wan.waiting_for != what:
            self._say(logging.WARNING, f"WAN {wan.wish.name} waits: {what}", wan=wan.wish.name)
        wan.waiting_for = what
        await self._switch_off(wan, what)

    async def _switch_off(self, wan: Wan, why: str) -> None:
        if wan.address is not None:
            wan_id = wan.wish.id
            self._dataplane.endpoint.handle_link_change(
                wan_id, LinkDown(reason=why), trio.current_time()
            )
            self._dataplane.flush()
            self._dataplane.detach(wan_id)
        wan.found = wan.address = None
        if len(wan.undo):
            for failure in await self._in_thread(wan.undo.run):
                self._say(logging.WARNING, f"Could not undo {failure}.", wan=wan.wish.name)

    # Names

    async def _look_up(self, wan: Wan) -> None:
        """Fill in the server's addresses, if that is due.

        Raises:
            PlatformError: nothing is known, and the name does not resolve.
        """
        remote = wan.remote
        if is_numeric(remote.host):
            wan.candidates = [Address(remote.host, remote.port)]
        elif self._is_lookup_due(wan):
            addresses: list[Address] = []
            with trio.move_on_after(LOOKUP_LIMIT):
                addresses = await self._network.resolve(remote.host, remote.port)
            wan.looked_up_at = trio.current_time()
            if not addresses and not wan.candidates:
                raise PlatformError(
                    f"The name {remote.host!r} does not resolve (yet).",
                    "Check the name, and that DNS works without the tunnel.",
                )
            wan.candidates = addresses or wan.candidates
        self._has_address.set()

    def _is_lookup_due(self, wan: Wan) -> bool:
        if not wan.candidates:
            return True
        is_old = trio.current_time() >= wan.looked_up_at + LOOK_AGAIN
        return is_old and not self._is_answered(wan)

    def _is_answered(self, wan: Wan) -> bool:
        """True while the server answers where we believe it to be."""
        return any(
            path.path_id == wan.wish.id and path.state in _ANSWERED
            for peer in self._dataplane.endpoint.statistics().peers
            for path in peer.paths
        )

    async def _in_thread(
        self, work: Callable[[*_Arguments], _Result], *args: *_Arguments
    ) -> _Result:
        return await trio.to_thread.run_sync(work, *args, limiter=self._limiter)


def _discovered(wan_id: int, interface: str) -> WanWish:
    return WanWish(id=wan_id, name=interface, interface=interface)
