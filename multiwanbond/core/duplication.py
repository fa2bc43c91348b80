"""Packets that leave by more than one path at once; the first to arrive counts.

The receiver drops the others by their global sequence. Packets are duplicated for two reasons:

- the operator asks for it. Whatever leaves then does so by several paths; a download's packets only
  by those that have credit left, so that it gets about what one line carries, and no less.
- they are urgent, and the path they leave by may be late or lose them. A call beside a download
  waits in the queue of a radio line whose rate has just fallen; that of another line has hardly
  ever grown at the same moment. Sparse flows are small, so this costs next to nothing, and a flood
  of them gets no more than a share.
"""

from collections.abc import Sequence
from math import inf
from typing import Final

from multiwanbond.core.path import Path
from multiwanbond.core.scheduling.base import soonest
from multiwanbond.core.settings import DuplicateMode, DuplicationSettings

UNSURE: Final = 0.005
"""Seconds of queue and jitter on a path from which on a copy is worth its bytes (two_lte, a call's
95th percentile: 86 ms without, 72 with copies from here on, 76 from 10 ms on)."""
LOSSY: Final = 0.005
"""Share of its datagrams that a path must lose, for the same."""
SHARE: Final = 0.05
"""Of a path's rate that copies may take which nobody asked for."""
BURST: Final = 0.2
"""Seconds for which that share may be saved up."""
MOST_WAIT: Final = 0.01
"""Seconds that a path may be ahead of its rate and still take the copy of an urgent packet."""


class Duplication:
    """Says by which other paths packets leave as well."""

    __slots__ = ("_credit", "_credited_at", "_settings", "count")

    def __init__(self, settings: DuplicationSettings) -> None:
        self.count = 0
        """Copies asked for so far; of a run, one for each segment."""
        self._settings = settings
        self._credit = inf
        self._credited_at = 0.0

    def reconfigure(self, settings: DuplicationSettings) -> None:
        """Do as the operator wants from now on."""
        self._settings = settings

    def is_wanted(self, wish: bool | None) -> bool:
        """Say whether the operator wants packets of a class with this wish to be duplicated."""
        return self._settings.packets if wish is None else wish

    def ways_of_urgent(
        self,
        path: Path,
        paths: Sequence[Path],
        size: int,
        now: float,
        *,
        wish: bool | None,
        is_single: bool,
    ) -> Sequence[Path]:
        """Return the paths for copies of what leaves by `path` and did not wait for its turn.

        Args:
            path: where it leaves by.
            paths: all that may carry it.
            size: bytes of the packet.
            now: the caller's clock.
            wish: whether the operator wants packets of this class to be duplicated; None: as all.
            is_single: False for acks, the next of which says the same, and for runs: they are not
                copied unless the operator wants it.
        """
        is_wanted = self.is_wanted(wish)
        if not is_wanted and (wish is not None or not is_single or not _may_fail(path, now)):
            return ()
        others = [each for each in paths if each is not path]
        if not others:
            return ()
        if is_wanted:
            found = [each for each in self._choose(others, now) if each.wait(now) <= MOST_WAIT]
        else:
            other = soonest(others, now)
            found = [other] if self._may_copy(other, size, now) else []
        self.count += len(found)
        return found

    def ways_of_bulk(
        self,
        path: Path,
        paths: Sequence[Path],
        segments: int,
        now: float,
    ) -> Sequence[Path]:
        """Return the paths for copies of what has waited for its turn: those that have credit.

        Args:
            path: where it leaves by.
            paths: all that may carry it.
            segments: how many packets it is.
            now: the caller's clock.
        """
        others = [each for each in paths if each is not path and each.has_credit]
        if not others:
            return ()
        found = self._choose(others, now)
        self.count += len(found) * segments
        return found

    def _choose(self, others: Sequence[Path], now: float) -> Sequence[Path]:
        match self._settings.mode:
            case DuplicateMode.FIRST:
                return others
            case DuplicateMode.FASTEST:
                return [soonest(others, now)]
            case DuplicateMode.BEST:
                least = min(path.loss(now) for path in others)
                return [soonest([path for path in others if path.loss(now) == least], now)]

    def _may_copy(self, other: Path, size: int, now: float) -> bool:
        """Take the share that copies have which nobody asked for."""
        share = SHARE * other.rate
        self._credit = min(self._credit + (now - self._credited_at) * share, BURST * share)
        self._credited_at = now
        if self._credit < size or other.wait(now) > MOST_WAIT:
            return False
        self._credit -= size
        return True


def _may_fail(path: Path, now: float) -> bool:
    delay = path.one_way
    return delay.queue + delay.jitter > UNSURE or path.loss(now) > LOSSY
