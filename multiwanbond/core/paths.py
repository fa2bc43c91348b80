"""All paths of one bond: who they are, and which of them may carry packets now."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from multiwanbond.core.datagram import LinkUp, Received
from multiwanbond.core.events import Event, PathAddressChanged, PathStateChanged
from multiwanbond.core.path import Path
from multiwanbond.core.path_state import PathState
from multiwanbond.core.settings import HealthSettings, PeerSettings

_BEST_FIRST: Final = (
    (PathState.UP, PathState.DEGRADED),
    (PathState.RECOVERING,),
    (PathState.STARTING,),
)


class PathSet:
    """Keeps the paths of a bond; after whatever may have changed one, `settle` draws the sum."""

    __slots__ = ("_peer", "by_id", "events", "sendable")

    def __init__(self, peer: PeerSettings) -> None:
        self.by_id: dict[int, Path] = {}
        self.sendable: Sequence[Path] = ()
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
            path_id, wan_id=wan_id, is_ours=self._peer.is_initiator, health=health, now=now
        )
        return path

    def link_up(self, wan_id: int, link: LinkUp, health: HealthSettings, now: float) -> None:
        """A WAN of ours came: its path leads where the link says."""
        path = self.by_id.get(wan_id)
        if path is None:
            path = self.add(wan_id, wan_id, health, now)
        path.on_link_up(link.remote, now)

    def follow(self, path: Path, received: Received, wan_id: int, now: float) -> bool:
        """Send where the newest authentic datagram of the path came from, from where it went to.

        Returns:
            True if that is somewhere else than before.
        """
        if self._peer.is_initiator and not path.has_link:
            return False  # our own WAN is gone; this one was still in the socket
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

    def settle(self) -> None:
        """Report transitions, and see anew which paths may carry packets."""
        for path in self:
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
        if any(path not in self.sendable for path in before):
            for path in self.sendable:
                path.capacity.on_way_back_changed()


def sendable(paths: Iterable[Path]) -> list[Path]:
    """Return the paths that may carry packets now, the best kind there is.

    A suspect path, one on probation, or even one believed dead, counts when there is nothing
    better: the last path is never gated.
    """
    linked = [path for path in paths if path.has_link]
    trusted = [path for path in linked if not path.is_suspect]
    for candidates in (trusted, linked):
        for states in _BEST_FIRST:
            chosen = [path for path in candidates if path.state in states]
            if chosen:
                return chosen
    return linked
