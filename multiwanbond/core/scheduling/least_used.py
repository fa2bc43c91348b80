"""Routing mode `least_used`: the path that has most room left."""

from collections.abc import Sequence
from math import exp
from typing import Final

from multiwanbond.core.flow import Flow

from .base import P, SchedulablePath, unhurried
from .shares import SentMeter

LEAST_RATE: Final = 10e3
"""Bytes a second assumed of a path at least: one that is not measured yet must get its chance."""
MEMORY: Final = 1.0
"""Seconds over which use is averaged."""


class LeastUsed:
    """Levels how far the paths are used: the bytes that left lately over what the lines deliver."""

    __slots__ = ("_meter", "_used")

    def __init__(self) -> None:
        self._meter = SentMeter()
        self._used: dict[int, tuple[float, float]] = {}  # path id -> bytes, fading; when

    def choose(self, flow: Flow, paths: Sequence[P], now: float) -> P | None:
        """Return the least used path that has credit (see `Scheduler`)."""
        ready = [path for path in paths if path.has_credit]
        return min(ready, key=lambda path: self._use(path, now)) if ready else None

    def choose_at_once(self, flow: Flow, paths: Sequence[P], now: float) -> P:
        """Return the least used path (see `Scheduler`)."""
        return min(unhurried(paths, now), key=lambda path: self._use(path, now))

    def _use(self, path: SchedulablePath, now: float) -> float:
        """Return the share of the path's rate that was used lately."""
        used, noted_at = self._used.get(path.path_id, (0.0, now))
        used = used * exp((noted_at - now) / MEMORY) + self._meter.take(path)
        self._used[path.path_id] = used, now
        return used / MEMORY / max(path.rate, LEAST_RATE)
