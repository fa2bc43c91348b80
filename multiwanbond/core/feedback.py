"""What the peer is to hear about its datagrams: when, and by which ways back."""

from collections.abc import Iterable, Sequence
from typing import Final

from multiwanbond.core.frames import Ack, Frame
from multiwanbond.core.path import Path

INTERVAL: Final = 0.01
"""Seconds from the first unreported arrival to the ack (bonding study, section 5.9: 20 ms ramps
half as fast, 5 ms costs twice the bytes and gains nothing)."""
GAP_DELAY: Final = 0.002
"""Seconds from a gap to its report: one report for all of a burst that was lost."""
WAYS: Final = 2
"""Every ack leaves on so many paths that one dead way back does not make all paths look dead."""
THIN_RATE: Final = 250e3
"""Bytes a second below which acks every 10 ms take several per cent of a way back."""
THIN_INTERVAL: Final = 0.02
"""Seconds between two acks on such a way, unless something is missing."""
_ROUNDING: Final = 1e-6


class Feedback:
    """The arrivals that the peer has not been told of."""

    __slots__ = ("_due_at", "_has_gap", "_sent_at", "unreported")

    def __init__(self) -> None:
        self.unreported: dict[Path, None] = {}  # a set whose order chance does not decide
        """Paths on which something arrived."""
        self._due_at: float | None = None
        self._has_gap = False
        self._sent_at: dict[int, float] = {}  # path id -> when an ack last left by it

    def want(self, path: Path, now: float) -> None:
        """Something arrived by `path`."""
        self.unreported[path] = None
        if self._due_at is None:
            self._due_at = now + INTERVAL

    def want_soon(self, path: Path, now: float) -> None:
        """Something is missing of what should have come by `path`, and may be sent again."""
        self.unreported[path] = None
        self._has_gap = True
        due_at = now + GAP_DELAY
        if self._due_at is None or self._due_at > due_at:
            self._due_at = due_at

    def deadline(self) -> float | None:
        """When `take` has something to say; None: nothing arrived."""
        return self._due_at

    def take(self, paths: Sequence[Path], now: float) -> tuple[list[Path], list[Frame]]:
        """Return by which of `paths` to send what, if it is due.

        What only thin ways could carry, and has just been told of by them, waits for its turn.
        """
        if self._due_at is None or self._due_at > now:
            return [], []
        ways = [path for path in quickest(paths) if self._has_room(path, now)]
        if not ways and paths:
            self._due_at = now + INTERVAL
            return [], []
        frames: list[Frame] = [ack_of(self.unreported, now)]
        for path in self.unreported:
            spread = path.arriving_train.take_report(path.path_id)
            if spread is not None:
                frames.append(spread)
        self._sent_at.update((path.path_id, now) for path in ways)
        self.unreported.clear()
        self._due_at = None
        self._has_gap = False
        return ways, frames

    def _has_room(self, path: Path, now: float) -> bool:
        if self._has_gap or not 0 < path.rate < THIN_RATE:
            return True
        sent_at = self._sent_at.get(path.path_id)
        return sent_at is None or now - sent_at > THIN_INTERVAL - _ROUNDING


def quickest(paths: Sequence[Path]) -> list[Path]:
    """Return the paths by which what the peer must know gets there soonest."""
    return sorted(paths, key=lambda path: path.rtt.smoothed or 0.0)[:WAYS]


def ack_of(paths: Iterable[Path], now: float) -> Ack:
    """Return the ack that tells what arrived by these paths."""
    return Ack(tuple(path.arrivals.report(path.path_id, now) for path in paths))
