"""Routing mode `adaptive`: a flow that proves to be bulk gets all paths, others the best one."""

from collections.abc import Sequence
from typing import Any, Final

from multiwanbond.core.flow import Flow

from .base import UNMEASURED, P, SchedulablePath, find_path, quickest_with_credit, soonest

FIRST_BYTES: Final = 15_000
"""Bytes expected of any flow that is not known better: ten packets, a server's first flight."""
LEAST_RATE: Final = 10e3
LEAST_TRIP: Final = 1e-4
MARGIN: Final = 0.005
"""Seconds by which another path must be sooner to help out."""
MOST_WINDOW: Final = 3e6
"""Bytes that a usual host lets be under way of one connection: what is left of the 4 MB of Linux'
`net.ipv4.tcp_wmem`, and of the 6 MB of `tcp_rmem`, after bookkeeping."""
BULK_PERIOD: Final = 0.25
"""Seconds within which bulk flows count as flows of the same time."""
MOST_SKEW: Final = 0.15
"""Seconds by which a line may be longer than the quickest to carry a flow whose sender sizes its
window by the least round trip (BBR): in order behind a satellite's packets it gets half of what
the other line carries alone (study, section 4.2). CUBIC's window grows to what both need."""
STAY: Final = 0.001
"""Seconds by which another path must be sooner for a young flow to move."""


class Adaptive:
    """Gives bulk flows the quickest path that has credit, and keeps young ones together.

    Per-path pacing does the scheduling: the quickest path is always full first, and every other
    gets what it can carry (bonding study, section 5.3: cleverer rules gain nothing or lose). A
    young flow that did the same would wait for its last packets on the slowest path; it stays on
    the path that finishes it soonest, counting what it has sent as what it will send, and takes
    another only for what that one would deliver before its own path has got rid of the backlog.
    """

    __slots__ = ("_bulk", "_bulk_before", "_bulk_since", "_chosen", "_chosen_for")

    def __init__(self) -> None:
        self._bulk: set[Flow] = set()
        self._bulk_before = 0
        self._bulk_since = 0.0
        self._chosen: Any = None
        self._chosen_for: tuple[object, ...] = ()

    def choose(self, flow: Flow, paths: Sequence[P], now: float) -> P | None:
        """Return the path for the next packets (see `Scheduler`)."""
        if not flow.is_young:
            return self._quickest(flow, paths, now)
        path = home(flow, paths)
        if flow.path_id != path.path_id:
            flow.has_moved |= flow.path_id is not None
            flow.path_id = path.path_id
        if path.has_credit:
            return path
        other = relief(flow, path, paths)
        flow.has_moved |= other is not None
        return other

    def choose_at_once(self, flow: Flow, paths: Sequence[P], now: float) -> P:
        """Return the path that delivers a packet soonest (see `Scheduler`)."""
        return soonest(paths, now)

    def _quickest(self, flow: Flow, paths: Sequence[P], now: float) -> P | None:
        """Return the path for a bulk flow: of a moment the same as long as it has credit."""
        if self._chosen_for == (now, flow, paths) and self._chosen.has_credit:
            path: P = self._chosen
            return path
        paying = worthwhile(paths, MOST_WINDOW * self._count_bulk(flow, now))
        found = quickest_with_credit(near(paying) if flow.is_content else paying)
        if found is not None:
            self._chosen, self._chosen_for = found, (now, flow, paths)
        return found

    def _count_bulk(self, flow: Flow, now: float) -> int:
        """Return how many bulk flows there are, this one included."""
        if now - self._bulk_since > BULK_PERIOD:
            self._bulk_before = len(self._bulk)
            self._bulk.clear()
            self._bulk_since = now
        self._bulk.add(flow)
        return max(self._bulk_before, len(self._bulk))


def worthwhile(paths: Sequence[P], window: float) -> Sequence[P]:
    """Return the paths that together carry most of flows that let `window` bytes be under way.

    In order, everything takes as long as the longest of the lines that are used: beside 500 Mbit/s
    at 10 ms, 20 Mbit/s at 100 ms would bring not 20 more but 260 less.
    """
    if len(paths) == 1:
        return paths
    by_trip = sorted(paths, key=_trip)
    rate = most = 0.0
    count = 0
    for number, path in enumerate(by_trip, start=1):
        rate += path.rate
        carried = min(rate, window / _trip(path))
        if carried >= most:
            most, count = carried, number
    return by_trip[:count]


def _trip(path: SchedulablePath) -> float:
    return max(path.base_rtt or UNMEASURED, LEAST_TRIP)


def near(paths: Sequence[P]) -> Sequence[P]:
    """Return the paths that are not very much longer than the quickest."""
    known = [path.delay for path in paths if path.delay is not None]
    if not known:
        return paths
    most = min(known) + MOST_SKEW
    return [path for path in paths if path.delay is not None and path.delay <= most]


def home(flow: Flow, paths: Sequence[P]) -> P:
    """Return the path on which a young flow would be finished soonest."""
    if len(paths) == 1:
        return paths[0]
    current = find_path(flow.path_id, paths)
    size = max(flow.octets, FIRST_BYTES) + flow.backlog
    return min(paths, key=lambda path: _finish(path, size) + (0.0 if path is current else STAY))


def relief(flow: Flow, home: P, paths: Sequence[P]) -> P | None:
    """Return a path with credit that delivers before what waits could have left by `home`."""
    if home.delay is None:
        return None
    deadline = home.delay + flow.backlog / max(home.rate, LEAST_RATE) - MARGIN
    return quickest_with_credit(
        [path for path in paths if path.delay is not None and path.delay < deadline]
    )


def _finish(path: SchedulablePath, size: int) -> float:
    """Return the seconds that a flow of `size` bytes would take; the clocks' offset is in it."""
    delay = UNMEASURED if path.delay is None else path.delay
    return 2 * delay + size / max(path.rate, LEAST_RATE)
