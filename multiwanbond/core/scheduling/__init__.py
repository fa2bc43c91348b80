"""Routing modes, one file each. Which paths may be used is decided before; a mode only ranks them.

A new mode is a class with `choose` (see `base.Scheduler`), a `RoutingMode`, and an entry here.
"""

from collections.abc import Callable, Mapping
from typing import Final

from multiwanbond.core.settings import RoutingMode

from .adaptive import Adaptive
from .base import SchedulablePath, Scheduler
from .least_latency import LeastLatency
from .least_used import LeastUsed
from .per_flow import PerFlow
from .round_robin import RoundRobin
from .weighted import Weighted

__all__ = ["SchedulablePath", "Scheduler", "make_scheduler"]

_SCHEDULERS: Final[Mapping[RoutingMode, Callable[[], Scheduler]]] = {
    RoutingMode.ADAPTIVE: Adaptive,
    RoutingMode.ROUND_ROBIN: RoundRobin,
    RoutingMode.WEIGHTED: Weighted,
    RoutingMode.LEAST_USED: LeastUsed,
    RoutingMode.LEAST_LATENCY: LeastLatency,
    RoutingMode.PER_FLOW: PerFlow,
}


def make_scheduler(mode: RoutingMode) -> Scheduler:
    """Return a fresh scheduler for one bond."""
    return _SCHEDULERS[mode]()
