"""Routing mode `round_robin`: every path in turn."""

from collections.abc import Sequence

from multiwanbond.core.flow import Flow

from .base import P


class RoundRobin:
    """Gives each path the next packet or run in turn, whatever it can carry.

    Right for equal lines. With unequal ones the slowest sets the pace of every flow: its queue
    fills while the others idle.
    """

    __slots__ = ("_turn",)

    def __init__(self) -> None:
        self._turn = -1

    def choose(self, flow: Flow, size: int, paths: Sequence[P], now: float) -> P:
        """Return the next path (see `Scheduler`)."""
        self._turn += 1
        return paths[self._turn % len(paths)]
