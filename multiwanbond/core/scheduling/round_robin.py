"""Routing mode `round_robin`: every path in turn."""

from collections.abc import Sequence

from multiwanbond.core.flow import Flow

from .base import P


class RoundRobin:
    """Gives each path that has credit the next packets in turn.

    Right for equal lines. With unequal ones it adds disorder and nothing else: what a path can
    carry is decided by its credit.
    """

    __slots__ = ("_turn",)

    def __init__(self) -> None:
        self._turn = -1

    def choose(self, flow: Flow, paths: Sequence[P], now: float) -> P | None:
        """Return the next path that has credit (see `Scheduler`)."""
        for step in range(1, len(paths) + 1):
            path = paths[(self._turn + step) % len(paths)]
            if path.has_credit:
                self._turn += step
                return path
        return None

    def choose_at_once(self, flow: Flow, paths: Sequence[P], now: float) -> P:
        """Return the next path (see `Scheduler`)."""
        self._turn += 1
        return paths[self._turn % len(paths)]
