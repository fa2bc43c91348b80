"""When to probe a path, and what its answers and silences mean."""

from typing import Final

from multiwanbond.core.path_state import PathState
from multiwanbond.core.rtt import RttEstimator
from multiwanbond.core.settings import HealthSettings

LEAST_PATIENCE: Final = 0.1
"""Seconds an answer is waited for at least: below it, a busy peer or a jittery radio looks dead."""
MOST_PATIENCE: Final = 1.0
"""... and at most; a satellite's 600 ms and its jitter fit in."""
PROOF_ANSWERS: Final = 3
"""Answers in a row that end the probation of a returned path: it is used again within 2 s."""
IDLE_FACTOR: Final = 3.5
"""An idle bond probes this many times more rarely: metered lines pay for chatter. With 4, a line of
40 ms would be Down only 1.06 s after it went silent; with 3 it would carry more than 2 kbit/s."""
FOREIGN_IDLE_FACTOR: Final = 3 * IDLE_FACTOR
"""The same for paths that begin at the peer, which asks by its own time and tells what it finds:
with hundreds of idle clients, answers to its own probes would be half a server's work."""
DOWN_INTERVAL: Final = 0.5
"""Seconds between probes of a path of ours that is Down, if it is not probed more rarely anyway."""
FOREIGN_DOWN_INTERVAL: Final = 5.0
"""The same for a path that begins at the peer: whose WAN it is knocks, the other end listens."""

REST_INTERVAL: Final = 20.0
"""Seconds between probes of a path that is kept in reserve: the address translation of mobile
providers forgets after 30."""


class Prober:
    """Keeps one path's probes: which are outstanding, which failed, when the next is due.

    A probe fails when its answer is overdue. Failures count in a row; any answer, and any ack that
    shows later datagrams arrived, ends the row.
    """

    __slots__ = (
        "_last_at",
        "_next_at",
        "_next_id",
        "_outstanding",
        "answers_in_row",
        "failures_in_row",
    )

    def __init__(self, now: float) -> None:
        self._next_at = now
        self._last_at = now
        self._next_id = 0
        self._outstanding: dict[int, float] = {}
        self.answers_in_row = 0
        self.failures_in_row = 0

    def probe_now(self, now: float) -> None:
        """Make the next probe due at once: the path changed and what was known of it is stale."""
        self._next_at = now
        self._outstanding.clear()

    def hurry(self, now: float) -> None:
        """Make a probe due: the path seemed dead and something came by it."""
        self._next_at = min(self._next_at, now)

    def is_due(self, now: float) -> bool:
        """Say whether `start_probe` should be called."""
        return now >= self._next_at

    def start_probe(self, now: float, patience: float, interval: float) -> int:
        """Note that a probe leaves now; return its id, 15 bits (see `pmtu` for the others)."""
        self._next_id = (self._next_id + 1) & 0x7FFF
        self._outstanding[self._next_id] = now + patience
        self._last_at = now
        self._next_at = now + interval
        return self._next_id

    def on_reply(self, probe_id: int) -> bool:
        """Count an answer; return False if no such probe is outstanding."""
        if self._outstanding.pop(probe_id, None) is None:
            return False
        self.answers_in_row += 1
        self.failures_in_row = 0
        return True

    def on_progress(self) -> None:
        """Note that the peer received something new on this path: as good as an answer."""
        self.failures_in_row = 0

    def on_timeout(self, now: float, interval: float) -> bool:
        """Count the probes whose answers are overdue; return True if there were any.

        The next probe then follows the last one by `interval`, whatever pace was kept before.
        """
        overdue = [probe for probe, deadline in self._outstanding.items() if deadline <= now]
        for probe in overdue:
            del self._outstanding[probe]
        self.failures_in_row += len(overdue)
        if overdue:
            self.answers_in_row = 0
            self._next_at = min(self._next_at, max(self._last_at + interval, now))
        return bool(overdue)

    def deadline(self) -> float:
        """When something is to be done next: send a probe or count a failure."""
        return min(self._next_at, min(self._outstanding.values(), default=self._next_at))


def patience(rtt: RttEstimator) -> float:
    """Return how long a probe's answer is waited for on a path with this round-trip time."""
    return rtt.timeout(LEAST_PATIENCE, MOST_PATIENCE)


def interval(
    health: HealthSettings, state: PathState, *, is_ours: bool, is_idle: bool = False
) -> float:
    """Return the time between two probes of a path in this state.

    Args:
        health: the operator's limits for the path.
        state: how the path is now.
        is_ours: True if the path begins at a WAN of ours.
        is_idle: True if the bond carried no packets lately and the last probe was answered.
    """
    usual = health.health_check_interval
    if state is PathState.DOWN:
        return max(usual, DOWN_INTERVAL if is_ours else FOREIGN_DOWN_INTERVAL)
    if is_idle and state in (PathState.UP, PathState.DEGRADED):
        return usual * (IDLE_FACTOR if is_ours else FOREIGN_IDLE_FACTOR)
    return usual


def resting(usual: float) -> float:
    """Return the time between two probes of a path that is kept in reserve."""
    return max(usual, REST_INTERVAL)
