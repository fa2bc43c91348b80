"""BBR version 1 as Linux has it (net/ipv4/tcp_bbr.c), for inner senders.

It models the way as a rate (the most delivered per round trip of late) and a delay (the least of
the last ten seconds), sends at that rate, and keeps twice their product on the way. Left out: the
long-term rate for policers, and the random phase at which probing begins.
"""

from collections import deque
from enum import Enum
from typing import Final

from .congestion import INITIAL_WINDOW, AckSample

# From tcp_bbr.c.
_HIGH_GAIN: Final = 2.885
_DRAIN_GAIN: Final = 1 / _HIGH_GAIN
_WINDOW_GAIN: Final = 2.0
_CYCLE: Final = (1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
_FIRST_PHASE: Final = 2
_RATE_ROUNDS: Final = 10
_MIN_RTT_AGE: Final = 10.0
_PROBE_RTT_TIME: Final = 0.2
_LEAST_WINDOW: Final = 4.0
_FULL_GROWTH: Final = 1.25
_FULL_ROUNDS: Final = 3
_PACING_SHARE: Final = 0.99
_EXTRA_ROUNDS: Final = 5
_EXTRA_TIME: Final = 0.1

# From tcp_output.c: what is sent at once is a millisecond's worth, within these limits.
_BURST_TIME: Final = 0.001
_LEAST_BURST, _MOST_BURST = 2.0, 44.0

_NEVER: Final = float("inf")


class BbrState(Enum):
    """What BBR is about."""

    STARTUP = "startup"
    DRAIN = "drain"
    PROBE_RATE = "probe rate"
    PROBE_RTT = "probe rtt"


class Bbr:
    """Congestion control by a model of the way, blind to loss."""

    def __init__(self) -> None:
        self.window = INITIAL_WINDOW
        self.state = BbrState.STARTUP
        self.rate = 0.0
        """Segments per second the way is believed to carry; 0 before the first sample."""
        self.min_rtt = _NEVER
        """Least of the last ten seconds."""
        self._min_rtt_at = 0.0
        self._rates: deque[tuple[int, float]] = deque()
        self._round = 0
        self._round_end = 0
        self._is_new_round = False
        self._full_rate = 0.0
        self._full_rounds = 0
        self._is_full = False
        self._gain = _HIGH_GAIN
        self._phase = _FIRST_PHASE
        self._phase_at = 0.0
        self._saved_window = 0.0
        self._probe_ends: float | None = None
        self._probe_round = 0
        self._limited_until = 0
        """Samples of segments sent before so many were delivered say nothing of the rate."""
        self._was_recovering = False
        self._conserves_until: int | None = None
        """Round in which it stops sending no more than arrives, after a loss."""
        self._extra = _ExtraAcked()

    def pacing_rate(self) -> float | None:
        """Return the modelled rate times the gain of the moment."""
        return max(1.0, _PACING_SHARE * self._gain * self.rate) if self.rate else None

    def on_ack(self, sample: AckSample) -> None:
        """Update the model, then what follows from it."""
        self._update_round(sample)
        self._update_rate(sample)
        self._extra.on_ack(sample, self.rate, is_new_round=self._is_new_round, most=self.window)
        self._update_phase(sample)
        self._update_full(sample)
        self._update_drain(sample)
        self._update_min_rtt(sample)
        self._update_window(sample)
        self._was_recovering = sample.is_recovering

    def on_loss(self, now: float) -> None:
        """Send no more than arrives, for one round."""
        self._save_window()
        self._conserves_until = self._round + 1

    def on_timeout(self, now: float) -> None:
        """Start again from one segment, and look anew whether the way is full."""
        self._save_window()
        self._full_rate = 0.0
        self.window = 1.0
        self._was_recovering = True

    def undo(self) -> None:
        """Look anew whether the way is full: there was no loss."""
        self._full_rate = 0.0
        self._full_rounds = 0

    # --- the model ---------------------------------------------------------------------------

    def _update_round(self, sample: AckSample) -> None:
        before = sample.delivered_before
        self._is_new_round = before is not None and before >= self._round_end
        if self._is_new_round:
            self._round += 1
            self._round_end = sample.total_delivered

    def _update_rate(self, sample: AckSample) -> None:
        """Keep the largest rate of ten rounds; what the application held back counts if larger."""
        is_limited = sample.is_app_limited or (sample.delivered_before or 0) < self._limited_until
        if not sample.rate or (is_limited and sample.rate < self.rate):
            return
        rates = self._rates
        while rates and rates[-1][1] <= sample.rate:
            rates.pop()
        rates.append((self._round, sample.rate))
        while rates[0][0] <= self._round - _RATE_ROUNDS:
            rates.popleft()
        self.rate = rates[0][1]

    def _update_full(self, sample: AckSample) -> None:
        """The way is full when the rate has not grown by a quarter for three rounds."""
        if self._is_full or not self._is_new_round or sample.is_app_limited:
            return
        if self.rate >= _FULL_GROWTH * self._full_rate:
            self._full_rate, self._full_rounds = self.rate, 0
            return
        self._full_rounds += 1
        self._is_full = self._full_rounds >= _FULL_ROUNDS

    def _update_min_rtt(self, sample: AckSample) -> None:
        now, rtt = sample.now, sample.rtt
        is_old = now > self._min_rtt_at + _MIN_RTT_AGE and self.min_rtt < _NEVER
        if rtt is not None and (rtt <= self.min_rtt or is_old):
            self.min_rtt, self._min_rtt_at = rtt, now
        if is_old and self.state is not BbrState.PROBE_RTT:
            self._save_window()
            self.state, self._gain = BbrState.PROBE_RTT, 1.0
            self._probe_ends = None
        if self.state is BbrState.PROBE_RTT:
            self._probe_rtt(sample)

    def _probe_rtt(self, sample: AckSample) -> None:
        """Leave the way almost empty for 200 ms and a round, so that its own delay shows."""
        self._limited_until = sample.total_delivered + sample.in_flight
        if self._probe_ends is None:
            if sample.in_flight <= _LEAST_WINDOW:
                self._probe_ends = sample.now + _PROBE_RTT_TIME
                self._probe_round = self._round + 1
        elif self._round >= self._probe_round and sample.now > self._probe_ends:
            self._min_rtt_at = sample.now
            self.window = max(self.window, self._saved_window)
            if self._is_full:
                self._begin_cycle(sample.now)
            else:
                self.state, self._gain = BbrState.STARTUP, _HIGH_GAIN

    # --- what follows from it ----------------------------------------------------------------

    def _update_drain(self, sample: AckSample) -> None:
        if self.state is BbrState.STARTUP and self._is_full:
            self.state, self._gain = BbrState.DRAIN, _DRAIN_GAIN
        if self.state is BbrState.DRAIN and sample.in_flight <= self._product():
            self._begin_cycle(sample.now)

    def _begin_cycle(self, now: float) -> None:
        self.state, self._phase, self._phase_at = BbrState.PROBE_RATE, _FIRST_PHASE, now
        self._gain = _CYCLE[_FIRST_PHASE]

    def _update_phase(self, sample: AckSample) -> None:
        """Send faster for a while, then slower, then as the model says, and again."""
        if self.state is not BbrState.PROBE_RATE:
            return
        is_over = sample.now - self._phase_at > self.min_rtt
        if self._gain > 1:
            is_over &= sample.is_recovering or sample.in_flight >= self._gain * self._product()
        elif self._gain < 1:
            is_over |= sample.in_flight <= self._product()
        if is_over:
            self._phase = (self._phase + 1) % len(_CYCLE)
            self._phase_at, self._gain = sample.now, _CYCLE[self._phase]

    def _update_window(self, sample: AckSample) -> None:
        if self._recovers(sample):
            return
        target = self._target()
        if self._is_full:
            self.window = min(self.window + sample.delivered, target)
        elif self.window < target or sample.total_delivered < INITIAL_WINDOW:
            self.window += sample.delivered
        self.window = max(self.window, _LEAST_WINDOW)
        if self.state is BbrState.PROBE_RTT:
            self.window = min(self.window, _LEAST_WINDOW)

    def _recovers(self, sample: AckSample) -> bool:
        """Follow what arrives during the first round after a loss; restore what was, at the end."""
        if sample.is_recovering and not self._was_recovering:
            self.window = sample.in_flight + sample.delivered
        elif self._was_recovering and not sample.is_recovering:
            self.window = max(self.window, self._saved_window)
            self._conserves_until = None
        if self._conserves_until is None or self._round >= self._conserves_until:
            self._conserves_until = None
            return False
        self.window = max(self.window, sample.in_flight + sample.delivered)
        return True

    def _target(self) -> float:
        gain = _WINDOW_GAIN if self.state is BbrState.PROBE_RATE else _HIGH_GAIN
        burst = min(max(_BURST_TIME * (self.pacing_rate() or 0.0), _LEAST_BURST), _MOST_BURST)
        extra = min(self._extra.most, _EXTRA_TIME * self.rate) if self._is_full else 0.0
        return gain * self._product() + 3 * burst + extra

    def _product(self) -> float:
        """Return how many segments fill the way without a queue."""
        return self.rate * self.min_rtt if self.min_rtt < _NEVER else INITIAL_WINDOW

    def _save_window(self) -> None:
        is_reduced = self._was_recovering or self.state is BbrState.PROBE_RTT
        self._saved_window = max(self._saved_window, self.window) if is_reduced else self.window


class _ExtraAcked:
    """How far acks have lately been ahead of the rate: what comes in clumps needs room."""

    __slots__ = ("_acked", "_is_second", "_rounds", "_since", "_windows")

    def __init__(self) -> None:
        self._windows = [0.0, 0.0]
        self._is_second = False
        self._rounds = 0
        self._acked = 0.0
        self._since = 0.0

    @property
    def most(self) -> float:
        """Largest of the last five to ten rounds."""
        return max(self._windows)

    def on_ack(self, sample: AckSample, rate: float, *, is_new_round: bool, most: float) -> None:
        """Compare what was acknowledged with what the rate would have given."""
        if not rate:
            return
        if is_new_round:
            self._rounds += 1
            if self._rounds >= _EXTRA_ROUNDS:
                self._rounds = 0
                self._is_second = not self._is_second
                self._windows[self._is_second] = 0.0
        expected = rate * (sample.now - self._since)
        if self._acked <= expected:
            self._acked, self._since, expected = 0.0, sample.now, 0.0
        self._acked += sample.delivered
        extra = min(self._acked - expected, most)
        self._windows[self._is_second] = max(self._windows[self._is_second], extra)
