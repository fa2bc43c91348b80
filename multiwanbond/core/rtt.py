"""Round-trip time of one path: smoothed, its variation, and the line's own without our queue."""

from typing import Final

BASE_WINDOW: Final = 10.0
"""Seconds a minimum counts. A queue that our own traffic builds is drained at least this often by
the inner senders' own control; what stays for longer is the line's."""
_BUCKETS: Final = 5
_BUCKET: Final = BASE_WINDOW / _BUCKETS


class RttEstimator:
    """Folds round-trip samples into the estimates the health limits and schedulers read."""

    __slots__ = ("_minima", "_started", "deviation", "jitter", "latest", "smoothed")

    def __init__(self) -> None:
        self.smoothed: float | None = None
        """Seconds; None before the first sample."""
        self.deviation = 0.0
        """Mean deviation from `smoothed` (RFC 6298's RTTVAR), for time-outs."""
        self.jitter = 0.0
        """Mean difference of consecutive samples (RFC 3550, section 6.4.1). It stays small while a
        queue fills slowly, which `deviation` does not."""
        self.latest = 0.0
        self._minima: list[float] = []
        self._started = 0.0

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
        self._fold_minimum(rtt, now)

    def _fold_minimum(self, rtt: float, now: float) -> None:
        if not self._minima or now - self._started >= _BUCKET:
            self._minima = [*self._minima[1 - _BUCKETS :], rtt]
            self._started = now
        elif rtt < self._minima[-1]:
            self._minima[-1] = rtt

    @property
    def base(self) -> float | None:
        """Least sample of the last `BASE_WINDOW` seconds in which there were any."""
        return min(self._minima) if self._minima else None

    def timeout(self, least: float, most: float) -> float:
        """Return how long to wait for an answer before calling it missing (RFC 6298, section 2)."""
        if self.smoothed is None:
            return most
        return min(max(self.smoothed + 4 * self.deviation, least), most)
