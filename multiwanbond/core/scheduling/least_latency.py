"""Routing mode `least_latency`: everything on the path with the shortest round trip."""

from collections.abc import Sequence
from math import inf
from typing import Final

from multiwanbond.core.flow import Flow

from .base import P

SWITCH_BELOW: Final = 0.8
"""The traffic moves to a path whose round trip is shorter than this share of the current one's."""
SWITCH_GAIN: Final = 0.002
"""... and shorter by this many seconds. Smoothed round trips of equal lines differ by a few per
cent, and on short lines by up to a millisecond or two of noise; following that would move every
flow to and fro and gain nothing."""


class LeastLatency:
    """Keeps all traffic on the quickest path, and moves it only to a clearly quicker one.

    The round trip includes the queue our traffic builds, so a path that is overloaded loses to the
    next one in the end. The others serve as reserve: the rates are not added up.
    """

    __slots__ = ("_current",)

    def __init__(self) -> None:
        self._current: int | None = None

    def choose(self, flow: Flow, paths: Sequence[P], now: float) -> P | None:
        """Return the quickest path once it has credit (see `Scheduler`)."""
        path = self.choose_at_once(flow, paths, now)
        return path if path.has_credit else None

    def choose_at_once(self, flow: Flow, paths: Sequence[P], now: float) -> P:
        """Return the quickest path (see `Scheduler`)."""
        quickest = paths[0]
        least = current_rtt = inf
        current = None
        for path in paths:
            measured = path.smoothed_rtt
            rtt = inf if measured is None else measured
            if rtt < least:
                quickest, least = path, rtt
            if path.path_id == self._current:
                current, current_rtt = path, rtt
        if current is not None and not is_clearly_less(least, current_rtt):
            return current
        self._current = quickest.path_id
        return quickest


def is_clearly_less(rtt: float, than: float) -> bool:
    """Say whether a change of path is worth its disorder."""
    return rtt < than * SWITCH_BELOW and rtt < than - SWITCH_GAIN
