"""How the peer sees a path: what each end tells the other now and then, for both to show.

An end measures what it sends: the round trip, what the peer received of it, what the line takes.
The other direction only the peer can measure, and it says so beside a probe.
"""

from typing import Final

from multiwanbond.core.frames import Seen, View
from multiwanbond.core.path_state import PathState
from multiwanbond.core.seen import address_of
from multiwanbond.core.statistics import PeerViewStatistics

INTERVAL: Final = 1.0
"""Seconds between two views of a path that carries packets: as often as rates are shown."""
IDLE_INTERVAL: Final = 16.0
"""The same while the bond is idle, and nothing changes but the state, which is told at once."""
STALE_AFTER: Final = 3 * IDLE_INTERVAL
_STATES: Final = tuple(PathState)
"""On the wire a state is its place in here: Down, Starting, Up, Degraded, Recovering."""
_LOSS_SCALE: Final = 0xFFFF
_MOST: Final = 0xFFFFFFFF


class PeerView:
    """One path as the peer sees it, and when it was last told how we do."""

    __slots__ = ("_heard", "_heard_at", "_seen", "_told_at", "_told_state")

    def __init__(self) -> None:
        self._heard: View | None = None
        self._heard_at = 0.0
        self._seen: Seen | None = None
        self._told_at: float | None = None
        self._told_state: PathState | None = None

    def is_due(self, state: PathState, now: float, *, is_idle: bool) -> bool:
        """Say whether the peer should be told how the path does."""
        if self._told_at is None or state is not self._told_state:
            return True
        return now - self._told_at >= (IDLE_INTERVAL if is_idle else INTERVAL)

    def tell(
        self,
        state: PathState,
        *,
        rtt: float | None,
        jitter: float,
        loss: float,
        capacity: float,
        now: float,
    ) -> View:
        """Return what to tell, and note that it is told now."""
        self._told_at = now
        self._told_state = state
        return View(
            state=_STATES.index(state),
            loss=round(loss * _LOSS_SCALE),
            rtt_us=min(round((rtt or 0.0) * 1e6), _MOST),
            jitter_us=min(round(jitter * 1e6), _MOST),
            capacity=round(capacity),
        )

    def on_view(self, view: View, now: float) -> None:
        """The peer told; a state that a later release added is none of ours."""
        if view.state < len(_STATES):
            self._heard = view
            self._heard_at = now

    def on_seen(self, seen: Seen) -> None:
        """The peer told where it sees us on this path."""
        self._seen = seen

    def statistics(self, now: float) -> PeerViewStatistics | None:
        """Return what the peer told last; None if that is long ago."""
        view = self._heard
        if view is None or now - self._heard_at > STALE_AFTER:
            return None
        return PeerViewStatistics(
            state=_STATES[view.state],
            rtt=view.rtt_us / 1e6 or None,
            jitter=view.jitter_us / 1e6 if view.rtt_us else None,
            loss=view.loss / _LOSS_SCALE,
            capacity=float(view.capacity),
            seen=None if self._seen is None else address_of(self._seen),
        )
