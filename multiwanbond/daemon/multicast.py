"""Multicast between the LANs of this machine and the bond: the kernel copies, we tell it what.

    a host joins a group      --> its report --> the peer is asked for the group
    a host sends to a group   --> the kernel asks --> into the tunnel, if a peer wants it
    the peer sends to a group --> TUN device --> the kernel asks --> LANs whose hosts want it

Everything is on demand and forgotten when it is silent, so a network that changes heals by itself.
"""

import logging
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Final

import trio

from multiwanbond.control.status import MulticastDocument
from multiwanbond.core.endpoint import Endpoint
from multiwanbond.core.groups import is_carried
from multiwanbond.core.membership import (
    Membership,
    Query,
    decode_igmp_untrusted,
    decode_mld_untrusted,
)
from multiwanbond.core.statistics import MulticastStatistics
from multiwanbond.errors import DatagramError, PlatformError
from multiwanbond.linux.lans import Lan
from multiwanbond.linux.multicast import (
    Heard,
    MulticastHost,
    MulticastRouter,
    Unresolved,
    own_groups,
)

from .machine import Watch
from .report import say

TICK: Final = 1.0
"""Seconds between two looks at what programs of this host have joined, and at what is due."""
AGEING: Final = 10
"""Ticks after which an entry is forgotten by which nothing came. The next packet asks again, so a
source that has moved to another side is heard again after so long."""
SETTLE: Final = 0.5
"""Seconds to wait after a change of the interfaces: there are several."""
MOST_ENTRIES: Final = 4096
"""Sources and groups the kernel is told of at a time."""
_SHOWN: Final = 20
"""Groups named in the status document, of each side."""
_LINK_LOCAL6: Final = b"\xfe\x80"


class _Entry:
    """One source and group the kernel was told of."""

    __slots__ = ("asked", "count", "router", "targets")

    def __init__(self, router: MulticastRouter, asked: Unresolved) -> None:
        self.router = router
        self.asked = asked
        self.targets: frozenset[int] | None = None
        self.count = 0


class MulticastRouting:
    """Keeps the kernel's multicast routing, and both ends' wishes, in step with the hosts'."""

    def __init__(
        self, host: MulticastHost, *, endpoint: Endpoint, flush: Callable[[], None]
    ) -> None:
        """Prepare; nothing is carried before `run`.

        Args:
            host: the machine's routers, for us to use and not to close.
            endpoint: carries packets to groups its peers want.
            flush: does what the endpoint wants done; to be called after every call into it.
        """
        self._host: Final = host
        self._endpoint: Final = endpoint
        self._flush: Final = flush
        self._tunnel: int | None = None
        self._lans: dict[int, Lan] = {}
        self._members: dict[tuple[int, int], Membership] = {}  # (IP version, interface)
        self._own: dict[int, set[bytes]] = {}
        self._entries: dict[tuple[bytes, bytes], _Entry] = {}  # (source, group), oldest first
        self._wanted_here: frozenset[bytes] = frozenset()
        self._wanted_there: frozenset[bytes] = frozenset()
        self.malformed = 0
        """Reports and queries that could not be read."""

    async def run(self, watch: Watch) -> None:
        """Carry on until cancelled; `watch` tells of changed interfaces."""
        await self._look_for_lans()
        async with trio.open_nursery() as nursery:
            for router in self._host.routers:
                nursery.start_soon(self._listen, router)
            nursery.start_soon(self._keep_time)
            while True:
                await watch.wait_changed()
                await trio.sleep(SETTLE)
                await self._look_for_lans()

    def on_groups_changed(self, groups: frozenset[bytes]) -> None:
        """Let the peers have these groups, and no others."""
        self._wanted_there = groups
        self._renew_entries()

    # Interfaces

    async def _look_for_lans(self) -> None:
        finder = self._host.lans
        tunnel = await trio.to_thread.run_sync(finder.tunnel_index)
        lans = {lan.index: lan for lan in await trio.to_thread.run_sync(finder.find)}
        for name in await trio.to_thread.run_sync(finder.missing):
            say(logging.WARNING, f"Multicast: there is no interface {name!r} (yet).")
        self._tunnel = tunnel
        wanted = {*lans, *(() if tunnel is None else (tunnel,))}
        for router in self._host.routers:
            for index in router.interfaces - wanted:
                router.remove_interface(index)
                self._members.pop((router.version, index), None)
            for index in sorted(wanted - router.interfaces):
                self._add_interface(router, index, lans.get(index))
        self._lans = lans
        self._tend()

    def _add_interface(self, router: MulticastRouter, index: int, lan: Lan | None) -> None:
        try:
            router.add_interface(index, has_hosts=lan is not None)
        except PlatformError as exc:
            say(logging.WARNING, f"Left out: {exc}")
            return
        if lan is not None:
            self._members[router.version, index] = Membership(trio.current_time())

    # What hosts and the kernel say

    async def _listen(self, router: MulticastRouter) -> None:
        while True:
            await router.wait_readable()
            for said in router.receive_nowait():
                if isinstance(said, Heard):
                    self._on_heard(router, said)
                else:
                    self._on_unresolved(router, said)
            self._tend()

    def _on_heard(self, router: MulticastRouter, heard: Heard) -> None:
        members = self._members.get((router.version, heard.interface))
        lan = self._lans.get(heard.interface)
        if members is None or lan is None:
            return
        decode = decode_igmp_untrusted if router.version == 4 else decode_mld_untrusted
        now = trio.current_time()
        try:
            message = decode(heard.data)
        except DatagramError:
            self.malformed += 1
            return
        if isinstance(message, Query):
            own = lan.address(router.version)
            is_preferred = any(heard.source) and (own is None or heard.source < own)
            members.on_query(message, now, is_preferred=is_preferred)
        else:
            members.on_report(message, now)

    def _on_unresolved(self, router: MulticastRouter, asked: Unresolved) -> None:
        key = asked.source, asked.group
        before = self._entries.pop(key, None)
        if before is not None and before.asked.interface != asked.interface:
            router.forget(before.asked)
        while len(self._entries) >= MOST_ENTRIES:
            self._forget(next(iter(self._entries)))
        entry = self._entries[key] = _Entry(router, asked)
        self._renew(entry)

    # Entries

    def _targets(self, asked: Unresolved) -> frozenset[int]:
        """Return where packets of this source and group are to be copied."""
        if not is_carried(asked.group) or asked.source[:2] == _LINK_LOCAL6 or not any(asked.source):
            return frozenset()
        if asked.interface != self._tunnel:
            is_wanted = asked.group in self._wanted_there and self._tunnel is not None
            return frozenset({self._tunnel} if is_wanted and self._tunnel is not None else ())
        return frozenset(index for index in self._lans if asked.group in self._groups_on(index))

    def _groups_on(self, index: int) -> set[bytes]:
        """Return what hosts of an interface want, this one included."""
        wanted = set(self._own.get(index, ()))
        for router in self._host.routers:
            members = self._members.get((router.version, index))
            if members is not None:
                wanted |= members.groups
        return wanted

    def _renew(self, entry: _Entry) -> None:
        targets = self._targets(entry.asked)
        if targets != entry.targets:
            entry.targets = targets
            try:
                entry.router.forward(entry.asked, targets)
            except OSError as exc:
                say(logging.DEBUG, f"The kernel refuses a multicast entry: {exc.strerror}.")

    def _renew_entries(self) -> None:
        for entry in self._entries.values():
            self._renew(entry)

    def _forget(self, key: tuple[bytes, bytes]) -> None:
        entry = self._entries.pop(key)
        entry.router.forget(entry.asked)

    def _age(self) -> None:
        """Forget the entries by which nothing came since the last time."""
        for key, entry in list(self._entries.items()):
            count = entry.router.count(entry.asked)
            if count == entry.count:
                self._forget(key)
            entry.count = count

    # Time

    async def _keep_time(self) -> None:
        ticks = 0
        while True:
            self._own = own_groups()
            self._tend()
            ticks += 1
            if ticks % AGEING == 0:
                self._age()
            await trio.sleep(TICK)

    def _tend(self) -> None:
        """Ask whom it is time to ask, forget who is silent, and tell the peers what is wanted."""
        now = trio.current_time()
        for router in self._host.routers:
            for (version, index), members in self._members.items():
                if version == router.version:
                    members.expire(now)
                    for group in members.take_queries(now):
                        router.query(index, group)
        self._tell(self._wanted(), now)

    def _wanted(self) -> frozenset[bytes]:
        interfaces = [*self._lans, *(() if self._tunnel is None else (self._tunnel,))]
        found = (self._groups_on(index) for index in interfaces)
        return frozenset(filter(is_carried, set().union(*found)))

    def _tell(self, wanted: frozenset[bytes], now: float) -> None:
        if wanted == self._wanted_here:
            return
        self._wanted_here = wanted
        self._endpoint.handle_wishes(wanted, now)
        self._flush()
        self._renew_entries()

    def describe(self, counted: MulticastStatistics) -> MulticastDocument:
        """Return what `mwb status` says about multicast."""
        return {
            "interfaces": sorted(lan.name for lan in self._lans.values()),
            "wanted_here": _named(self._wanted_here),
            "wanted_there": _named(self._wanted_there),
            "sent_packets": counted.sent_packets,
            "received_packets": counted.received_packets,
            "relayed_packets": counted.relayed_packets,
            "unwanted_packets": counted.unwanted_packets,
            "looped_packets": counted.looped_packets,
        }


def _named(groups: Iterable[bytes]) -> list[str]:
    return [str(ip_address(group)) for group in sorted(groups)[:_SHOWN]]
