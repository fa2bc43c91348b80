"""All paths of one bond: who they are, and which of them may carry packets now."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from multiwanbond.core.datagram import Address, LinkUp, Received
from multiwanbond.core.events import (
    Event,
    MtuChanged,
    PathAddressChanged,
    PathRemoved,
    PathStateChanged,
)
from multiwanbond.core.inner_mtu import InnerMtu
from multiwanbond.core.path import Path
from multiwanbond.core.path_state import PathState
from multiwanbond.core.settings import EndpointSettings, HealthSettings, PeerSettings

LINGER: Final = 0.5
"""Seconds, beside two round trips, for which a path that leaves may still bring something: its last
probe, and the peer's packets that are under way and in the line's queue."""
MOST_LINGER: Final = 5.0
"""The same while it is the only one: what takes its place may have to be tried first."""
_BEST_FIRST: Final = (
    (PathState.UP, PathState.DEGRADED),
    (PathState.RECOVERING,),
    (PathState.STARTING,),
)


class PathSet:
    """Keeps the paths of a bond; after whatever may have changed one, `settle` draws the sum."""

    __slots__ = ("_peer", "by_id", "events", "inner_mtu", "sendable")

    def __init__(self, peer: PeerSettings, inner_mtu: InnerMtu) -> None:
        self.inner_mtu = inner_mtu
        """The largest packet that all of them carry."""
        self.by_id: dict[int, Path] = {}
        self.sendable: Sequence[Path] = []
        """Those that may carry packets, as of the last `settle`."""
        self.events: list[Event] = []
        """What became of them, for the owner to take away."""
        self._peer = peer

    def __iter__(self) -> Iterator[Path]:
        return iter(self.by_id.values())

    @property
    def is_usable(self) -> bool:
        """True if a path is known to work."""
        return any(path.is_usable for path in self)

    def add(self, path_id: int, wan_id: int, health: HealthSettings, now: float) -> Path:
        """Return a new path, which begins to be tried."""
        path = self.by_id[path_id] = Path(
            path_id,
            wan_id=wan_id,
            is_ours=self._peer.is_initiator,
            health=health,
            now=now,
            full_datagram=self.inner_mtu.full,
        )
        return path

    def link_up(self, wan_id: int, link: LinkUp, health: HealthSettings, now: float) -> None:
        """A WAN of ours came: its path leads where the link says."""
        path = self.by_id.get(wan_id)
        if path is None:
            path = self.add(wan_id, wan_id, health, now)
        elif path.is_leaving:
            path.reconfigure(health, now)
        path.on_link_up(link.remote, now)

    def reconfigure(self, peer: PeerSettings, settings: EndpointSettings, now: float) -> list[Path]:
        """Go by other limits; return the paths whose WANs are wanted no more."""
        self._peer = peer
        unwanted = []
        for path in self:
            limits = settings.wan(path.path_id) if path.is_ours else settings.health
            if limits is None:
                unwanted.append(path)
            elif limits != path.health and path.leaving_since is None:
                path.reconfigure(limits, now)
        return unwanted

    def has_left(self, path_id: int, now: float) -> bool:
        """Say whether by a path of ours that leaves nothing more is to be expected."""
        path = self.by_id.get(path_id)
        if path is None or not path.has_link or path.leaving_since is None:
            return True
        lingers = now - path.leaving_since
        if any(other.is_usable and not other.is_leaving for other in self):
            return lingers >= LINGER + 2 * (path.smoothed_rtt or 0.0)
        return lingers >= MOST_LINGER

    def follow(self, path: Path, received: Received, wan_id: int, now: float) -> bool:
        """Send where the newest authentic datagram of the path came from, from where it went to.

        Returns:
            True if that is somewhere else than before.
        """
        if not path.has_link and (path.is_ours or path.is_leaving):
            return False  # the WAN is gone; this one was still in the socket, or on its way
        path.local_host = received.local_host
        if path.has_link and path.remote == received.source and path.wan_id == wan_id:
            return False
        if path.remote is not None and path.remote != received.source:
            self.events.append(
                PathAddressChanged(
                    peer=self._peer.name,
                    path_id=path.path_id,
                    address_from=path.remote,
                    address_to=received.source,
                )
            )
        path.wan_id = wan_id
        path.on_link_up(received.source, now)
        return True

    def on_refused(self, wan_id: int, remote: Address, octets: int, now: float) -> bool:
        """Note that our own kernel took no datagram of so many bytes; return True if it is ours."""
        refusing = [path for path in self if path.wan_id == wan_id and path.remote == remote]
        for path in refusing:
            path.mtu.on_refused(octets, now)
        return bool(refusing)

    def follow_mtu(self, now: float) -> None:
        """Let the inner MTU be what the paths carry now; call `settle` afterwards."""
        if self.inner_mtu.follow(self.by_id.values(), now):
            changed = MtuChanged(peer=self._peer.name, inner_mtu=self.inner_mtu.in_force)
            self.events.append(changed)

    @property
    def largest(self) -> int | None:
        """Bytes of the largest packet that those in use carry; None: they carry all that comes."""
        return self.inner_mtu.most_of(self.sendable)

    def settle(self) -> bool:
        """Report transitions, and see anew which paths may carry packets.

        Returns:
            True if something is different from the last time.
        """
        has_changed = False
        for path in self:
            if path.is_leaving:
                self._settle_leaving(path)
            has_changed |= bool(path.changes)
            for change in path.changes:
                self.events.append(
                    PathStateChanged(
                        peer=self._peer.name,
                        path_id=path.path_id,
                        state_from=change.state_from,
                        state_to=change.state_to,
                        trigger=change.trigger,
                    )
                )
            path.changes.clear()
        before, self.sendable = self.sendable, sendable(self)
        for path in self:
            # Also if the same ones carry packets: what has become a reserve may be none of them.
            path.is_resting = path.terms.is_reserve and path not in self.sendable
        if self.sendable == before:
            return has_changed
        if any(path not in self.sendable for path in before):
            for path in self.sendable:
                path.capacity.on_way_back_changed()
        return True

    def _settle_leaving(self, path: Path) -> None:
        """See whether a path that leaves is gone; how it does until then concerns nobody."""
        path.changes.clear()
        if path.state is PathState.DOWN and not path.has_gone:
            path.has_link = False
            path.has_gone = True
            path.remote = (
                None  # its next datagram, wherever it comes from, is looked at by `follow`
            )
            self.events.append(PathRemoved(peer=self._peer.name, path_id=path.path_id))


def sendable(paths: Iterable[Path]) -> list[Path]:
    """Return the paths that may carry packets now, the best kind there is.

    A suspect path, one on probation, one that leaves, one kept in reserve, one too narrow for what
    comes, or even one believed dead, counts when there is nothing better: the last path is never
    gated.
    """
    linked = [path for path in paths if path.has_link]
    staying = [path for path in linked if not path.is_leaving]
    if any(path.is_usable for path in staying):
        linked = staying
    active = [path for path in linked if not path.terms.is_reserve]
    if any(path.is_usable for path in active):
        linked = active
    fit = [path for path in linked if path.is_fit]
    if any(path.is_usable for path in fit):
        linked = fit
    trusted = [path for path in linked if not path.is_suspect]
    for candidates in (trusted, linked):
        for states in _BEST_FIRST:
            chosen = [path for path in candidates if path.state in states]
            if chosen:
                return chosen
    return linked
