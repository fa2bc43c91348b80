"""Whether a path keeps the operator's limits; a crossing counts once it has lasted."""

from typing import Final

from multiwanbond.core.path_state import PathState, Trigger
from multiwanbond.core.settings import HealthSettings

EXCESS_PATIENCE: Final = 1.0
"""Seconds a limit must be exceeded before the path is Degraded: one burst is not a bad line."""
EASE_PATIENCE: Final = 3.0
"""Seconds all limits must be kept before it is Up again: longer, so that it does not flap."""


class LimitWatch:
    """Remembers since when a path is on the other side of its limits than its state says."""

    __slots__ = ("_crossed_at",)

    def __init__(self) -> None:
        self._crossed_at: float | None = None

    def forget(self) -> None:
        """Begin anew: the state, or the limits, are others."""
        self._crossed_at = None

    def judge(self, state: PathState, now: float, *, is_exceeding: bool) -> Trigger | None:
        """Return what has become of the path if that is news."""
        is_degraded = state is PathState.DEGRADED
        if is_exceeding == is_degraded:
            self._crossed_at = None
            return None
        if self._crossed_at is None:
            self._crossed_at = now
        patience = EASE_PATIENCE if is_degraded else EXCESS_PATIENCE
        if now - self._crossed_at < patience:
            return None
        return Trigger.LIMITS_KEPT if is_degraded else Trigger.LIMITS_EXCEEDED


def exceeds(health: HealthSettings, base: float | None, jitter: float, loss: float) -> bool:
    """Say whether a path is worse than the operator wants it.

    Args:
        health: the limits.
        base: seconds of a round trip without queues; None: not known yet.
        jitter: seconds.
        loss: share of datagrams, 0 to 1.
    """
    return (
        (base is not None and base > health.max_latency)
        or jitter > health.max_jitter
        or loss * 100 > health.max_packet_loss
    )
