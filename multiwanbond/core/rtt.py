"""Round-trip time of one path: smoothed, its variation, and the line's own without our queue."""

from typing import Final

from multiwanbond.core.minimum import WindowedMinimum
from multiwanbond.core.wire import TIME_UNIT, TIMESTAMP_MASK, PathAck

_HALF_CLOCK: Final = (TIMESTAMP_MASK + 1) // 2


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

    @property
    def base(self) -> float | None:
        """Least sample of the last seconds in which there were any."""
        return self._least.value

    def timeout(self, least: float, most: float) -> float:
        """Return how long to wait for an answer before calling it missing (RFC 6298, section 2)."""
        if self.smoothed is None:
            return most
        return min(max(self.smoothed + 4 * self.deviation, least), most)


class QueueDelay:
    """How long packets now queue on the way to the peer, whatever way its acks take.

    One-way delay is only known up to the offset of two unrelated clocks, but its own minimum has
    the same offset: the difference is exact (bonding study, pitfall 10).
    """

    __slots__ = ("_least", "_reference", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        """One-way delay of the newest sample above the least of the last seconds."""
        self._reference: int | None = None
        self._least = WindowedMinimum()

    def on_ack(self, ack: PathAck, now: float) -> None:
        """Fold in the newest datagram that an ack reports."""
        delay = ack.received_at - ack.echo
        if self._reference is None:
            self._reference = delay
        # 24-bit clocks wrap, and the reference keeps the difference far from the edges.
        relative = (delay - self._reference + _HALF_CLOCK & TIMESTAMP_MASK) - _HALF_CLOCK
        sample = relative * TIME_UNIT
        self._least.add(sample, now)
        self.seconds = sample - (self._least.value or 0.0)
