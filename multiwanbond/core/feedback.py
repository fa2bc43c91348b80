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
MOST_PATHS: Final = 12
"""Paths in one ack: with all their ranges and the reports beside them it fits any datagram."""
LARGE: Final = 4
"""Paths in an ack from which on it counts what the ack takes of a way back: with twenty lines of a
megabit and acks every 10 ms, their way back carried nothing else and the lines seemed dead."""
MOST_SHARE: Final = 0.1
"""Of a way back that such acks may take."""
LEAST_RATE: Final = 10e3
MOST_SPAN: Final = 0.1
"""Seconds for which one ack keeps a way from carrying others at most."""
PATH_BYTES: Final = 60
"""Bytes of one path in an ack, about; that of three recent gaps."""
_ROUNDING: Final = 1e-6


class Feedback:
    """The arrivals that the peer has not been told of."""

    __slots__ = ("_busy_until", "_due_at", "_has_gap", "_sent_at", "unreported")

    def __init__(self) -> None:
        self.unreported: dict[Path, None] = {}  # a set whose order chance does not decide
        """Paths on which something arrived."""
        self._due_at: float | None = None
        self._has_gap = False
        self._sent_at: dict[int, float] = {}  # path id -> when an ack last left by it
        self._busy_until: dict[int, float] = {}  # path id -> until when a large one takes its share

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

    def take(self, paths: Sequence[Path], now: float) -> list[tuple[Path, list[Frame]]]:
        """Return what to send now by which of `paths`, if it is due.

        What only thin ways could carry, and has just been told of by them, waits for its turn. Of
        very many paths each ack tells some, and the next ways carry the next.
        """
        if self._due_at is None or self._due_at > now:
            return []
        ways = [path for path in by_quickness(paths) if self._has_room(path, now)]
        if not ways and paths:
            self._due_at = now + INTERVAL
            return []
        sent: list[tuple[Path, list[Frame]]] = []
        left = list(self.unreported) if paths else []
        while left and ways:
            chunk, left = left[:MOST_PATHS], left[MOST_PATHS:]
            carriers, ways = ways[:WAYS], ways[WAYS:]
            frames = _frames_of(chunk, now)
            for way in carriers:
                self._note_sent(way, len(chunk), now)
                sent.append((way, frames))
        self.unreported = dict.fromkeys(left)
        self._due_at = now + INTERVAL if left else None
        self._has_gap = False
        return sent

    def _note_sent(self, way: Path, count: int, now: float) -> None:
        self._sent_at[way.path_id] = now
        if count > LARGE:
            span = count * PATH_BYTES / (MOST_SHARE * max(way.rate, LEAST_RATE))
            self._busy_until[way.path_id] = now + min(span, MOST_SPAN)

    def _has_room(self, path: Path, now: float) -> bool:
        if now < self._busy_until.get(path.path_id, 0.0) - _ROUNDING:
            return False
        if self._has_gap or not 0 < path.rate < THIN_RATE:
            return True
        sent_at = self._sent_at.get(path.path_id)
        return sent_at is None or now - sent_at > THIN_INTERVAL - _ROUNDING


def _frames_of(paths: Sequence[Path], now: float) -> list[Frame]:
    """Return the ack of these paths, and how far trains by them have spread."""
    reports = [path.arriving_train.take_report(path.path_id) for path in paths]
    return [ack_of(paths, now), *(report for report in reports if report is not None)]


def by_quickness(paths: Iterable[Path]) -> list[Path]:
    """Return the paths, that by which the peer hears soonest first."""
    return sorted(paths, key=lambda path: path.rtt.smoothed or 0.0)


def quickest(paths: Sequence[Path]) -> list[Path]:
    """Return the paths by which what the peer must know gets there soonest."""
    return by_quickness(paths)[:WAYS]


def ack_of(paths: Iterable[Path], now: float) -> Ack:
    """Return the ack that tells what arrived by these paths."""
    return Ack(tuple(path.arrivals.report(path.path_id, now) for path in paths))
