"""What a TCP sender asks its congestion controller, and Linux's CUBIC as an answer.

CUBIC after RFC 9438 with what Linux adds (net/ipv4/tcp_cubic.c): HyStart by delay and by ack
train, and at least 5 % growth per round trip while no loss has ever happened.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

INITIAL_WINDOW: Final = 10.0
"""Segments (RFC 6928)."""

# From RFC 9438.
_C: Final = 0.4
_BETA: Final = 0.7
_FRIENDLY: Final = 3 * (1 - _BETA) / (1 + _BETA)

# From tcp_cubic.c.
_HYSTART_LOW_WINDOW: Final = 16
_HYSTART_SAMPLES: Final = 8
_HYSTART_ACK_SPACING: Final = 0.002
_HYSTART_DELAY_MIN: Final = 0.004
_HYSTART_DELAY_MAX: Final = 0.016
_GROWTH_BEFORE_LOSS: Final = 0.05
_GROWTH_MAX: Final = 0.5

_NEVER: Final = float("inf")


@dataclass(slots=True, kw_only=True)
class AckSample:
    """What one acknowledgement told the sender."""

    now: float
    delivered: int
    """Segments newly known to have arrived."""
    rtt: float | None
    """Seconds; None if only re-sent segments were acknowledged."""
    min_rtt: float
    """Least of the connection, infinite before the first sample."""
    rate: float
    """Delivery rate in segments per second; 0 if it cannot be told."""
    total_delivered: int
    """Segments delivered so far."""
    delivered_before: int | None
    """`total_delivered` when the newest acknowledged segment was sent."""
    is_app_limited: bool
    """True if the application, not the window, limited the rate sample."""
    una: int
    """Oldest segment not acknowledged."""
    next_segment: int
    """Segment to be sent next."""
    in_flight: int
    """Segments believed to be on their way."""
    is_recovering: bool
    """True between a loss and the acknowledgement of all that was sent before it was noticed."""
    is_window_limited: bool
    """True if the window kept the sender from sending more."""
    is_window_half_used: bool
    """True if at least half the window was in flight; enough for slow start to go on."""


class Controller(Protocol):
    """Decides how many segments may be on their way."""

    @property
    def window(self) -> float:
        """Segments that may be on their way."""

    def pacing_rate(self) -> float | None:
        """Return segments per second to send at most; None: no pacing."""

    def on_ack(self, sample: AckSample) -> None:
        """Take note of an acknowledgement."""

    def on_loss(self, now: float) -> None:
        """Take note that a recovery began."""

    def on_timeout(self, now: float) -> None:
        """Take note that the retransmission timer expired."""

    def undo(self) -> None:
        """Take the last reduction back: it was for nothing."""


class SlowStartExit(Enum):
    """Why CUBIC's first slow start ended."""

    DELAY = "delay"
    TRAIN = "ack train"
    LOSS = "loss"


class Cubic:
    """Linux's default congestion control."""

    def __init__(self, *, is_paced: bool = False) -> None:
        """
        Args:
            is_paced: True if the sender spaces its packets itself.
        """
        self.window = INITIAL_WINDOW
        self.slow_start_threshold = _NEVER
        self.slow_start_exit: SlowStartExit | None = None
        """Why the first slow start ended; None while it lasts."""
        self._last_max = 0.0
        self._epoch: float | None = None
        self._origin = 0.0
        self._inflection = 0.0
        self._friendly = 0.0
        self._before = (INITIAL_WINDOW, _NEVER)
        self._has_timed_out = False
        self._hystart = _HyStart(1.0 if is_paced else 0.5)

    def pacing_rate(self) -> float | None:
        """Return None: Linux paces CUBIC only with the fq qdisc."""
        return None

    def on_ack(self, sample: AckSample) -> None:
        """Grow."""
        if not sample.is_recovering:
            self._has_timed_out = False
        elif not self._has_timed_out:
            return
        if self.window < self.slow_start_threshold:
            if not sample.is_window_half_used:
                return
            self.window += sample.delivered
            reason = self._hystart.on_ack(sample, self.window)
            if reason is not None:
                self.slow_start_threshold = self.window
                self.slow_start_exit = self.slow_start_exit or reason
        elif sample.is_window_limited:
            self._avoid_congestion(sample)

    def _avoid_congestion(self, sample: AckSample) -> None:
        window = self.window
        if self._epoch is None:
            self._epoch = sample.now
            self._origin = max(self._last_max, window)
            self._inflection = ((self._origin - window) / _C) ** (1 / 3)
            self._friendly = window
        ahead = sample.now - self._epoch + sample.min_rtt - self._inflection
        self._friendly += _FRIENDLY * sample.delivered / window
        target = max(self._origin + _C * ahead**3, self._friendly)
        growth = (target - window) / window if target > window else 0.01 / window
        if self._last_max == 0:
            growth = max(growth, _GROWTH_BEFORE_LOSS)
        self.window += sample.delivered * min(growth, _GROWTH_MAX)

    def on_loss(self, now: float) -> None:
        """Shrink to 70 %."""
        self.slow_start_exit = self.slow_start_exit or SlowStartExit.LOSS
        self._before = (self.window, self.slow_start_threshold)
        self._epoch = None
        is_shrinking = self.window < self._last_max
        self._last_max = self.window * (1 + _BETA) / 2 if is_shrinking else self.window
        self.window = self.slow_start_threshold = max(2.0, self.window * _BETA)

    def on_timeout(self, now: float) -> None:
        """Start again from one segment, and grow at once, as Linux does (state Loss).

        A second timeout before anything has recovered does not halve the threshold again.
        """
        if not self._has_timed_out:
            self.on_loss(now)
        self._has_timed_out = True
        self.window = 1.0

    def undo(self) -> None:
        """Go back to the window before the last reduction, unless it is larger by now."""
        window, threshold = self._before
        self.window = max(self.window, window)
        self.slow_start_threshold = max(self.slow_start_threshold, threshold)


class _HyStart:
    """Tells when slow start has filled the pipe, before anything is lost."""

    __slots__ = ("_last_ack", "_round_end", "_round_min", "_round_start", "_samples", "_train")

    def __init__(self, train: float) -> None:
        """
        Args:
            train: share of the round trip that an ack train may last.
        """
        self._train = train
        self._round_end = 0
        self._round_start = self._last_ack = 0.0
        self._round_min = _NEVER
        self._samples = 0

    def on_ack(self, sample: AckSample, window: float) -> SlowStartExit | None:
        """Return why slow start ends here, if it does."""
        if sample.rtt is None:
            return None
        if sample.una >= self._round_end:
            self._round_end = sample.next_segment
            self._round_start = self._last_ack = sample.now
            self._round_min = _NEVER
            self._samples = 0
        self._samples += 1
        self._round_min = min(self._round_min, sample.rtt)
        if window < _HYSTART_LOW_WINDOW:
            return None
        rise = min(max(sample.min_rtt / 8, _HYSTART_DELAY_MIN), _HYSTART_DELAY_MAX)
        if self._samples > _HYSTART_SAMPLES and self._round_min > sample.min_rtt + rise:
            return SlowStartExit.DELAY
        if sample.now - self._last_ack <= _HYSTART_ACK_SPACING:
            self._last_ack = sample.now
            if sample.now - self._round_start > (sample.min_rtt + 0.001) * self._train:
                return SlowStartExit.TRAIN
        return None
