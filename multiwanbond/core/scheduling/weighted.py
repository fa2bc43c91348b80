"""Routing mode `weighted`: every path its share of the bytes, by what the line is worth."""

from collections.abc import Sequence
from typing import Final

from multiwanbond.core.flow import Flow

from .base import LOSS_WEIGHT, UNMEASURED, P, SchedulablePath, unhurried
from .shares import SentMeter

LEAST_RATE: Final = 10e3
"""Bytes a second assumed of a path at least: one that is not measured yet must get its chance."""
LEAST_RTT: Final = 0.01
"""Seconds; of two very short lines neither is worth more for being shorter still."""
MOST_LAG: Final = 256 * 1024
"""Bytes by which a path that was full or gone may be behind its share and still make up for it."""


class Weighted:
    """Shares bytes in proportion to what each path is worth (see `worth`).

    A path that is full gives its turn away and makes up for it later, so that a download still
    gets everything the lines can carry together; the shares show where there is a choice.
    """

    __slots__ = ("_clock", "_meter", "_served")

    def __init__(self) -> None:
        self._meter = SentMeter()
        self._served: dict[int, float] = {}  # path id -> bytes sent, over its worth
        self._clock = 0.0  # what the path chosen last had been served

    def choose(self, flow: Flow, paths: Sequence[P], now: float) -> P | None:
        """Return the path furthest behind its share that has credit (see `Scheduler`)."""
        ready = [path for path in paths if path.has_credit]
        return self._least_served(ready, now) if ready else None

    def choose_at_once(self, flow: Flow, paths: Sequence[P], now: float) -> P:
        """Return the path furthest behind its share (see `Scheduler`)."""
        return self._least_served(unhurried(paths, now), now)

    def _least_served(self, paths: Sequence[P], now: float) -> P:
        chosen = min(paths, key=lambda path: self._serve(path, now))
        self._clock = max(self._clock, self._served[chosen.path_id])
        return chosen

    def _serve(self, path: SchedulablePath, now: float) -> float:
        """Count what has left since the last look; return what the path has been served."""
        value = worth(path, now)
        served = self._served.get(path.path_id, self._clock) + self._meter.take(path) / value
        served = max(served, self._clock - MOST_LAG / value)
        self._served[path.path_id] = served
        return served


def worth(path: SchedulablePath, now: float) -> float:
    """Return weight times rate, half of it for twice the round trip, and for 5 % of loss."""
    rtt = max(path.base_rtt or UNMEASURED, LEAST_RTT)
    value = path.weight * max(path.rate, LEAST_RATE)
    return value / rtt / (1 + LOSS_WEIGHT * path.loss(now))
