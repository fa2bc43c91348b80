"""Routing mode `adaptive`: each flow on the path that delivers it soonest."""

from collections.abc import Sequence
from typing import Final

from multiwanbond.core.flow import Flow

from .base import P, SchedulablePath, find_path

LOSS_WEIGHT: Final = 20.0
"""One per cent of loss counts like a fifth more delay (bonding study, section 4.2)."""
UNMEASURED_RTT: Final = 1.0
"""Seconds assumed of a path without a measurement: the last choice, but a choice."""
FREE_BYTES: Final = 16384
"""Bytes in flight that never count as backlog: ten full packets, what TCP sends into any line at
once (RFC 6928). An idle path's rate is that of its probes; one packet must not look like seconds.
"""
STAY: Final = 0.25
"""Seconds a flow stays before another path may win it."""
MOVE_BELOW: Final = 0.7
"""A flow moves to a path that delivers in less than this share of the current one's time: moving
costs it disorder, so "slightly better" is not enough."""
MOVE_GAIN: Final = 0.005
"""... and in this many seconds less: on short lines a share alone is noise."""


class Adaptive:
    """Puts a flow on the path that would deliver its packet soonest, and keeps it there.

    The delay of a path is half its round trip plus the time its backlog takes at the rate it lately
    delivered, with a penalty for loss. The flow moves when its path is no longer usable, or another
    has become clearly better. Its own path's queue is not held against that path, because it is the
    flow's own doing and would follow it: with it, a download over 100 + 50 + 10 Mbit/s wandered to
    the slowest line whenever it had filled the fastest (a third of the goodput). What counts is the
    line's own delay and its loss.

    One flow uses one path at a time. To stripe it over all lines, as the design wants, one must
    know what each line can take before its queue shows it; that is the business of a rate
    controller per path, which does not exist yet. Until then several flows add up, one does not.
    """

    __slots__ = ()

    def choose(self, flow: Flow, size: int, paths: Sequence[P], now: float) -> P:
        """Return the flow's path (see `Scheduler`)."""
        current = find_path(flow.path_id, paths)
        if current is not None and (now < flow.reconsider_at or len(paths) == 1):
            return current
        best = min(paths, key=lambda path: delivery_delay(path, now))
        flow.reconsider_at = now + STAY
        if current is not None and best is not current:
            least, delay = delivery_delay(best, now), own_delay(current, now)
            if least >= delay * MOVE_BELOW or least >= delay - MOVE_GAIN:
                return current
        flow.path_id = best.path_id
        return best


def own_delay(path: SchedulablePath, now: float) -> float:
    """Return the seconds a packet takes on the line itself, weighted by its loss."""
    return (path.base_rtt or UNMEASURED_RTT) / 2 * (1 + LOSS_WEIGHT * path.loss(now))


def delivery_delay(path: SchedulablePath, now: float) -> float:
    """Return the seconds a packet would take from now to its arrival, weighted by the loss."""
    rtt = path.smoothed_rtt
    if rtt is None:
        rtt = UNMEASURED_RTT
    delay = rtt / 2
    rate = path.delivery_rate
    if rate:
        # A path that keeps up has one round trip's worth in flight; what goes beyond is backlog.
        delay += max(path.in_flight_bytes - max(rate * rtt, FREE_BYTES), 0.0) / rate
    return delay * (1 + LOSS_WEIGHT * path.loss(now))
