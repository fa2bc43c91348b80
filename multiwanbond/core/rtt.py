"""Round-trip time of one path: smoothed, its variation, and the line's own without our queue."""

from collections import deque
from typing import Final

from multiwanbond.core.minimum import WindowedMinimum
from multiwanbond.core.wire import TIME_UNIT, TIMESTAMP_MASK

_HALF_CLOCK: Final = (TIMESTAMP_MASK + 1) // 2

LEAST_SPREAD: Final = 0.02
"""Seconds of jitter granted to every line."""
ACK_GUARD: Final = 0.04
"""Seconds: two feedback intervals of 10 ms, and as much for a busy peer. A 10 ms line is suspected
after 70 ms; with 100 ms more, a call beside the transfer stutters (study, section 5.8)."""
MOST_ACK_PATIENCE: Final = 1.0


class RttEstimator:
    """Folds round-trip samples into the estimates the health limits and schedulers read."""

    __slots__ = ("_least", "deviation", "jitter", "latest", "smoothed")

    def __init__(self) -> None:
        self.smoothed: float | None = None
        """Seconds; None before the first sample."""
        self.deviation = 0.0
        """Mean deviation from `smoothed` (RFC 6298's RTTVAR), for time-outs."""
        self.jitter = 0.0
        """Mean difference of consecutive samples (RFC 3550, section 6.4.1). It stays small while a
        queue fills slowly, which `deviation` does not."""
        self.latest = 0.0
        self._least = WindowedMinimum()

    def on_sample(self, rtt: float, now: float) -> None:
        """Fold in one measurement.

        Args:
            rtt: seconds from a datagram's transmission to its ack, without the time it was held.
            now: the caller's clock.
        """
        if self.smoothed is None:
            self.smoothed = self.latest = rtt
            self.deviation = rtt / 2
        else:
            self.jitter += (abs(rtt - self.latest) - self.jitter) / 16
            self.deviation += (abs(self.smoothed - rtt) - self.deviation) / 4
            self.smoothed += (rtt - self.smoothed) / 8
            self.latest = rtt
        self._least.add(rtt, now)

    def forget_least(self) -> None:
        """Begin anew with the least sample: answers take another way from now on."""
        self._least = WindowedMinimum()

    @property
    def base(self) -> float | None:
        """Least sample of the last seconds in which there were any."""
        return self._least.value

    def timeout(self, least: float, most: float) -> float:
        """Return how long to wait for an answer before calling it missing (RFC 6298, section 2)."""
        if self.smoothed is None:
            return most
        return min(max(self.smoothed + 4 * self.deviation, least), most)


def ack_patience(rtt: RttEstimator) -> float:
    """Return how long an ack may take on a line that works (bonding study, section 4.7)."""
    if rtt.smoothed is None:
        return MOST_ACK_PATIENCE
    spread = max(4 * rtt.deviation, LEAST_SPREAD)
    return min(rtt.smoothed + spread + ACK_GUARD, MOST_ACK_PATIENCE)


class DelayClock:
    """Makes one-way delays of all paths of a bond comparable.

    Their clocks differ by an unknown offset, but all paths share the same two clocks: differences
    between paths, and to a path's own minimum, are exact (bonding study, pitfall 10). The wire
    carries 24 bits; each reading is unwrapped to be near the one before it, so slow drift of the
    clocks never makes it jump.
    """

    __slots__ = ("_raw", "_seconds")

    def __init__(self) -> None:
        self._raw: int | None = None
        self._seconds = 0.0

    def unwrap(self, raw: int) -> float:
        """Return a difference of arrival and timestamp in seconds, from an unknown zero."""
        if self._raw is not None:
            step = (raw - self._raw + _HALF_CLOCK & TIMESTAMP_MASK) - _HALF_CLOCK
            self._seconds += step * TIME_UNIT
        self._raw = raw
        return self._seconds


class OneWayDelay:
    """How long packets take to the peer on one path, whatever way the acks take.

    Seconds from the zero of the bond's `DelayClock`: compare them, do not read them.
    """

    __slots__ = ("_base", "_recent", "jitter", "queue", "smoothed")

    def __init__(self) -> None:
        self.smoothed: float | None = None
        """None before the first sample."""
        self.jitter = 0.0
        """Mean distance of a sample from `smoothed`."""
        self.queue = 0.0
        """Seconds of standing queue: the least of the last samples above the least of the last
        seconds. Jitter of a radio hardly shows in it (Copa's RTTstanding)."""
        self._base = WindowedMinimum()
        self._recent: deque[tuple[float, float]] = deque()  # (when, delay), delays ascending

    def on_sample(self, delay: float, span: float, now: float) -> None:
        """Fold in the least delay of one feedback interval.

        Args:
            delay: from `DelayClock.unwrap`.
            span: seconds that the standing queue is the least of.
            now: the caller's clock.
        """
        if self.smoothed is None:
            self.smoothed = delay
        self.jitter += (abs(delay - self.smoothed) - self.jitter) / 16
        self.smoothed += (delay - self.smoothed) * 0.3
        self._base.add(delay, now)
        recent = self._recent
        while recent and recent[-1][1] >= delay:
            recent.pop()
        recent.append((now, delay))
        while recent[0][0] < now - span:
            recent.popleft()
        self.queue = recent[0][1] - (self._base.value or 0.0)
