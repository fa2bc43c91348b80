"""Urgent packets leave by two paths at once where one may be late or lose them.

The first to arrive counts, the other is dropped by its global sequence. A call beside a download
waits in the queue of a radio line whose rate has just fallen; that of another line has hardly ever
grown at the same moment. Sparse flows are small, so this costs next to nothing, and a flood of them
gets no more than a share.
"""

from collections.abc import Sequence
from math import inf
from typing import Final

from multiwanbond.core.path import Path
from multiwanbond.core.scheduling.base import soonest

UNSURE: Final = 0.005
"""Seconds of queue and jitter on a path from which on a copy is worth its bytes (two_lte, a call's
95th percentile: 86 ms without, 72 with copies from here on, 76 from 10 ms on)."""
LOSSY: Final = 0.005
"""Share of its datagrams that a path must lose, for the same."""
SHARE: Final = 0.05
"""Of a path's rate that copies may take."""
BURST: Final = 0.2
"""Seconds for which that share may be saved up."""
MOST_WAIT: Final = 0.01
"""Seconds that a path may be ahead of its rate and still take a copy."""


class Copies:
    """Says which urgent packets are to leave twice."""

    __slots__ = ("_credit", "_credited_at", "count")

    def __init__(self) -> None:
        self.count = 0
        """Copies asked for so far."""
        self._credit = inf
        self._credited_at = 0.0

    def way(self, path: Path, paths: Sequence[Path], size: int, now: float) -> Path | None:
        """Return the path for a copy of what leaves by `path`; None if one is enough.

        Args:
            path: where the packet leaves by.
            paths: all that may carry it.
            size: bytes of the packet.
            now: the caller's clock.
        """
        if len(paths) < 2 or not _may_fail(path, now):
            return None
        other = soonest([each for each in paths if each is not path], now)
        share = SHARE * other.rate
        self._credit = min(self._credit + (now - self._credited_at) * share, BURST * share)
        self._credited_at = now
        if self._credit < size or other.wait(now) > MOST_WAIT:
            return None
        self._credit -= size
        self.count += 1
        return other


def _may_fail(path: Path, now: float) -> bool:
    delay = path.one_way
    return delay.queue + delay.jitter > UNSURE or path.loss(now) > LOSSY
