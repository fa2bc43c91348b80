"""What one line can take: the rate and the window a path may use, found from the receiver's clock.

The controller is "dq" of the bonding study (section 4.1): the delivery rate that the receiver saw
is fed forward, and a small standing queue is the target. It needs no configured rate. It does not
take loss for congestion, since radio lines lose one or two per cent whatever one sends, unless the
loss is new, comes without a queue, and goes away with less traffic: then it is a policer or a very
short queue. It does not trust the highest rate seen lately, as BBR does, once a queue stands:
what arrives then *is* the capacity.
"""

from collections import deque
from math import inf, sqrt
from typing import Final

from multiwanbond.core.frames import PathAck
from multiwanbond.core.ledger import Settled, round_trip
from multiwanbond.core.rtt import OneWayDelay, RttEstimator
from multiwanbond.core.wire import TIME_UNIT, TIMESTAMP_MASK

DATAGRAM: Final = 1500
"""Bytes; no line of ours carries larger ones, and a queue of less than a few makes no sense."""
FEEDBACK: Final = 0.01
"""Seconds an ack may be younger than what it answers."""
LEAST_RATE: Final = 30e3
"""Bytes a second that a path is always allowed: a quarter of a megabit."""

# --- from the bonding study, section 4.1, unless said otherwise -------------------------------

TARGET_QUEUE: Final = 0.006
"""Seconds of standing queue. 3 ms use 2 % less of an LTE line; 15 ms use no more, and calls wait
longer."""
MOST_JITTER: Final = 0.02
"""Seconds of jitter that are added to the target at most."""
TRAIN_SHARE: Final = 0.8
"""Of the rate that a train showed, at the start: trains overshoot on lines that aggregate."""
MEMORY: Final = 0.5
"""Seconds for which the best rate counts while no queue stands; four round trips if longer."""
LEAST_SPAN: Final = 0.03
MOST_SPAN: Final = 0.1
"""Seconds of the receiver's clock that one rate is measured over: a round trip within these."""
GROWTH: Final = (0.12, 0.25, 0.5)
"""How much faster than measured to send while no queue shows: at first, after 3 round trips in
which none did, and after 6."""
CALM: Final = 1 / 3
"""Share of the target below which a queue counts as none. With all of it, full lines were asked for
a quarter and a half more time and again, and short flows met up to 20 ms of queue beside a
download instead of 12."""
MOST_RETREAT: Final = 0.6
FLOOR: Final = 0.5
"""Share of the long-term rate that is kept against a queue of others (a download beside ours on the
same modem). Without it the bond is left a sixth of its line, with it almost half."""
FLOOR_DECAY: Final = 30.0
"""Seconds in which the memory of a rate that is gone fades."""
DRAIN_AFTER: Final = 5.0
"""Seconds without an empty queue after which it is emptied on purpose: the least delay that it is
measured from is forgotten after ten, and the queue would grow by the target each time."""
DRAINED: Final = 0.001
"""Seconds of queue that count as none."""
MOST_DRAIN: Final = 0.5
"""Seconds after which what is still there is not ours."""
DRAIN_RETREAT: Final = 0.3
STANDING: Final = 0.02
"""Seconds of queue that no idle line has: what arrives then is what it carries, whether or not more
could have been sent. A train over a jittery line promised four times its rate, and a download
that never filled the bond kept that line's queue full for seconds."""
DEEP_QUEUE: Final = 0.04
"""Seconds of queue above which that memory fades fast: a line that slowed down, not a neighbour."""
EXCESS_LOSS: Final = 0.03
"""Loss above the line's own that may mean a policer or a short queue."""
LEARNING: Final = (0.05, 0.01)
"""Share of a higher loss that is taken for the line's own at once: of one that is near it, and of
one that had the rate lowered. A policer that lost 20 % for a second was left to lose 13."""
LEAST_JUDGED: Final = 40
"""Datagrams that a share of loss is judged by at least; three lost of twenty are no policer."""
MANY_LOST: Final = 8
SEARCH_LOSS: Final = 0.08
"""Losses, and their share, that end the search for a rate: the line is full, its queue short."""
HEAVY_LOSS: Final = 0.10
ABSURD_LOSS: Final = 0.3
"""Loss over two windows that no line survives: what was believed of it is far from true."""
MOST_FALL: Final = 0.5
"""Share of what was believed that remains of it then at least. A line of 10 Mbit/s with a queue
of eight packets, overrun by a slow start, was taken for one of 0.5 for ten seconds."""
CEILING_REST: Final = 0.5
CEILING_STEP: Final = 0.2
"""Seconds a loss ceiling rests, and then between two rises."""
LEAST_RISE: Final = 0.01
MOST_RISE: Final = 0.08
RISE_GROWTH: Final = 1.5
"""Share a ceiling rises by: little where it was right a moment ago, more and more where it turns
out to have been set too low. With a steady one per cent that took 5 s."""


class Capacity:
    """Rate and window of one path, by its acks.

    `rate` is what may leave in bytes a second, `window` how many bytes may be under way. `measured`
    is what the line is believed to deliver.
    """

    __slots__ = (
        "_absurdities",
        "_base_loss",
        "_blind_until",
        "_busy_since",
        "_calm_rounds",
        "_ceiling",
        "_ceiling_moved_at",
        "_drained_at",
        "_excesses",
        "_full_rate",
        "_full_rounds",
        "_has_new_way_back",
        "_has_spare",
        "_is_searching",
        "_loss_window_at",
        "_loss_window_peak",
        "_lost",
        "_peaks",
        "_points",
        "_received",
        "_remembered",
        "_rise",
        "_round_end",
        "_rtt",
        "_spare_sequence",
        "measured",
        "rate",
        "window",
    )

    def __init__(self) -> None:
        self.measured = 0.0
        self.rate = 250e3
        self.window = 40e3
        self._rtt = RttEstimator()  # acks by any way back count: it is how long feedback takes
        self._is_searching = True
        self._points: deque[tuple[float, int]] = deque()  # (receiver's clock, bytes)
        self._peaks: deque[tuple[float, float]] = deque()  # (when, rate), rates descending
        self._has_new_way_back = False
        self._has_spare = True
        self._spare_sequence = 0
        self._busy_since = 0.0
        self._round_end = 0
        self._calm_rounds = 0
        self._full_rounds = 0
        self._full_rate = 0.0
        self._remembered = 0.0
        self._ceiling = inf
        self._ceiling_moved_at = 0.0
        self._rise = LEAST_RISE
        self._drained_at = 0.0
        self._excesses = 0
        self._absurdities = 0
        self._base_loss = 0.0
        self._blind_until = 0.0
        self._lost = 0
        self._received = 0
        self._loss_window_at = 0.0
        self._loss_window_peak = 0.0

    # --- what happened

    def on_train(self, rate: float, now: float, *, is_least: bool = False) -> None:
        """A train of datagrams sent back to back arrived at `rate` bytes a second.

        Args:
            rate: what its spread says.
            now: the caller's clock.
            is_least: the line may be quicker still, since the spread was too short to be read; it
                is found out by doubling, as without a train.
        """
        self._is_searching = is_least
        self._believe(TRAIN_SHARE * rate, now)
        self.rate = max(self.measured, LEAST_RATE)
        self._set_window(self.measured, TARGET_QUEUE)

    def on_return(self, share: float, now: float) -> None:
        """The path works again after a silence; begin with a share of what it could do."""
        self._believe(share * self.measured, now)
        self._ceiling = inf
        self.rate = max(self.measured, LEAST_RATE)

    def on_way_back_changed(self) -> None:
        """Another path is gone, which may have brought the acks: they may take longer now.

        A window for the round trip they had would leave the line idle between them, what arrives
        would count as what it carries, and the window would shrink with that, without an end.
        """
        self._rtt.forget_least()
        self._has_new_way_back = True

    def note_spare(self, next_sequence: int) -> None:
        """Note that more could have been sent: until this is acked, rates say little."""
        self._has_spare = True
        self._spare_sequence = next_sequence

    def on_ack(
        self,
        ack: PathAck,
        settled: Settled,
        delay: OneWayDelay,
        *,
        acked: int,
        next_sequence: int,
        now: float,
    ) -> None:
        """Adjust rate and window to what the peer reports.

        Args:
            ack: the newest.
            settled: what it said about how many.
            delay: the path's one-way delay, the ack included.
            acked: the highest path sequence received.
            next_sequence: the first one not sent yet.
            now: the caller's clock.
        """
        rtt = round_trip(ack, now)
        if rtt is not None:
            self._rtt.on_sample(rtt, now)
        rate = self._delivery_rate(ack)
        if self._has_spare and acked >= self._spare_sequence + 3:
            self._has_spare = False
            self._busy_since = self._points[-1][0]
        is_new_round = acked >= self._round_end
        if is_new_round:
            self._round_end = next_sequence
            if self._has_new_way_back:
                # Until now acks came that had left by the old way.
                self._has_new_way_back = False
                self._rtt.forget_least()
        target = max(TARGET_QUEUE, 3 * DATAGRAM / max(self.measured, LEAST_RATE))
        patience = min(delay.jitter, MOST_JITTER)
        self._count_losses(settled, rate, delay.queue, target + patience, now)
        if self._is_searching:
            self._search(rate, delay, is_new_round=is_new_round, now=now)
        else:
            self._follow(rate, delay.queue, target, patience, is_new_round=is_new_round, now=now)

    @property
    def is_capped(self) -> bool:
        """True while loss is taken for the line's limit, and so for our own doing."""
        return self._ceiling < inf

    # --- measuring

    @property
    def _smoothed(self) -> float:
        return self._rtt.smoothed or 0.05

    @property
    def _least_rtt(self) -> float:
        return self._rtt.base or 0.05

    def _delivery_rate(self, ack: PathAck) -> float:
        """Return bytes a second over the last moments, by the receiver's clock; 0: too few."""
        points = self._points
        received_at, octets = ack.received_at * TIME_UNIT, ack.octets
        if points:
            last_at, last_octets = points[-1]
            step = ack.received_at - round(last_at / TIME_UNIT) & TIMESTAMP_MASK
            received_at = last_at + step * TIME_UNIT
            octets = last_octets + (ack.octets - last_octets & 0xFFFFFFFF)
        if points and points[-1][0] == received_at:
            points.pop()  # a clock that stands still takes no memory
        points.append((received_at, octets))
        span = min(max(self._smoothed, LEAST_SPAN), MOST_SPAN)
        while len(points) > 2 and points[1][0] <= received_at - span:
            points.popleft()
        elapsed = received_at - points[0][0]
        return (octets - points[0][1]) / elapsed if elapsed > 0.008 else 0.0

    def _count_losses(
        self, settled: Settled, rate: float, queue: float, target: float, now: float
    ) -> None:
        """Lower the ceiling if the line loses more than it used to and no queue explains it."""
        if now < self._blind_until:
            return
        self._lost += max(settled.expected - settled.received, 0)
        self._loss_window_peak = max(self._loss_window_peak, rate)
        self._received += settled.received
        if now - self._loss_window_at <= max(self._smoothed, 0.05):
            return
        lost, total = self._lost, self._lost + self._received
        if total < LEAST_JUDGED:
            return
        self._lost = self._received = 0
        self._loss_window_at = now
        share = lost / total
        deviation = 2 * sqrt(max(self._base_loss, 0.002) / total)
        if self._is_searching and lost > MANY_LOST and share > SEARCH_LOSS:
            self._is_searching = False
            self._believe(max(self.measured, rate), now)
            self._look_away(now)
            return
        is_usual = share <= self._base_loss + max(EXCESS_LOSS, deviation)
        if self._is_searching or is_usual:
            self._excesses = 0
        else:
            self._excesses += 1
            if lost >= 3 and queue < 2 * target and (self._excesses >= 2 or share > HEAVY_LOSS):
                self._absurdities = self._absurdities + 1 if share > ABSURD_LOSS else 0
                self._lower_ceiling(rate, now, is_far_off=self._absurdities >= 2)
        self._loss_window_peak = 0.0
        learning = LEARNING[not is_usual] if share > self._base_loss else 0.1
        self._base_loss += (share - self._base_loss) * learning

    def _lower_ceiling(self, rate: float, now: float, *, is_far_off: bool) -> None:
        if is_far_off and self._loss_window_peak:
            # What came through in a moment of such loss is not quite what the line carries.
            found = max(self._loss_window_peak, MOST_FALL * self.measured)
            self._ceiling = 0.98 * found
            self._absurdities = 0
            self._believe(min(self.measured, found), now)
        elif self._ceiling == inf:
            self._ceiling = 0.98 * max(self.measured, rate)
        else:
            least = 0.98 * rate
            self._ceiling = max(0.98 * min(self._ceiling, max(rate, 0.9 * self.measured)), least)
        self._ceiling_moved_at = now
        self._rise = MOST_RISE if is_far_off else LEAST_RISE
        self._excesses = 0
        self._look_away(now)

    def _look_away(self, now: float) -> None:
        """Judge no losses for a round trip: they are of what was sent before the rate went down."""
        self._blind_until = now + self._smoothed + FEEDBACK

    # --- deciding

    def _search(self, rate: float, delay: OneWayDelay, *, is_new_round: bool, now: float) -> None:
        """Double until a queue shows or the rate stops growing: no train told where to begin."""
        self.measured = max(self.measured, rate)
        if is_new_round and not self._has_spare:
            if self.measured >= 1.25 * self._full_rate:
                self._full_rate, self._full_rounds = self.measured, 0
            else:
                self._full_rounds += 1
        is_queueing = delay.queue > max(0.01, self._least_rtt / 4) + 2 * delay.jitter
        if is_queueing or self._full_rounds >= 3:
            self._is_searching = False
            self._believe(rate or self.measured, now)
        self.rate = max(2 * self.measured, 250e3)
        self.window = max(2.5 * self.measured * (self._least_rtt + FEEDBACK), 40e3)

    def _follow(
        self,
        rate: float,
        queue: float,
        target: float,
        patience: float,
        *,
        is_new_round: bool,
        now: float,
    ) -> None:
        """Send what the line delivers, and as much more or less as brings the queue to target."""
        if rate:
            self._update_measured(
                rate, queue, is_saturated=queue > 2 * (target + patience), now=now
            )
        calm = CALM * target + patience
        if is_new_round:
            if not self._has_spare and queue < calm and self._ceiling == inf:
                self._calm_rounds += 1
            elif queue > 2 * (target + patience) or self._ceiling < inf:
                self._calm_rounds = 0
        self._raise_ceiling(now)
        floor = self._floor(queue, patience)
        if self._is_draining(queue, now):
            wanted = (1 - DRAIN_RETREAT) * self.measured
        else:
            wanted = max(self.measured * self._gain(queue, target + patience, calm), floor)
        self.rate = max(min(wanted, self._ceiling), LEAST_RATE)
        if floor > self.measured:
            self._set_window(floor, target, queue)
        else:
            self._set_window(self.measured, target)

    def _update_measured(
        self, rate: float, queue: float, *, is_saturated: bool, now: float
    ) -> None:
        # Not a rate of which a part was measured while there was nothing to send: over a round trip
        # of 100 ms, a download that comes in bursts seemed to show that a line carries a third.
        was_busy = not self._has_spare and self._points[0][0] >= self._busy_since
        if is_saturated and (was_busy or queue > STANDING):
            step = rate - self.measured
            self._believe(self.measured + (0.3 * step if step < 0 else step), now)
            return
        peaks = self._peaks
        if was_busy or rate > self.measured:
            while peaks and peaks[-1][1] <= rate:
                peaks.pop()
            peaks.append((now, rate))
        while len(peaks) > 1 and peaks[0][0] < now - max(MEMORY, 4 * self._smoothed):
            peaks.popleft()
        if peaks:
            self.measured = peaks[0][1]

    def _believe(self, rate: float, now: float) -> None:
        self.measured = rate
        self._peaks.clear()
        self._peaks.append((now, rate))

    def _is_draining(self, queue: float, now: float) -> bool:
        since = now - self._drained_at
        if queue <= DRAINED or not self._drained_at or since > DRAIN_AFTER + MOST_DRAIN:
            self._drained_at = now
            return False
        return since > DRAIN_AFTER

    def _gain(self, queue: float, target: float, calm: float) -> float:
        """Return what to multiply the measured rate with."""
        if self._calm_rounds >= 3 and queue <= calm:
            return 1 + GROWTH[2 if self._calm_rounds >= 6 else 1]
        horizon = max(2 * (self._least_rtt + FEEDBACK), 0.04)
        return 1 + min(max((target - queue) / horizon, -MOST_RETREAT), GROWTH[0])

    def _raise_ceiling(self, now: float) -> None:
        if self._ceiling == inf:
            return
        if now - self._ceiling_moved_at > CEILING_REST:
            self._ceiling *= 1 + self._rise
            self._rise = min(self._rise * RISE_GROWTH, MOST_RISE)
            self._ceiling_moved_at = now - CEILING_REST + CEILING_STEP
        if self._ceiling > 1.3 * self.measured:
            self._ceiling = inf

    def _floor(self, queue: float, patience: float) -> float:
        remembered = max(self.measured, self._remembered * (1 - FEEDBACK / FLOOR_DECAY))
        if queue > DEEP_QUEUE + patience:
            remembered = max(self.measured, 0.97 * remembered)
        self._remembered = remembered
        return FLOOR * remembered

    def _set_window(self, rate: float, target: float, queue: float = 0.0) -> None:
        span = self._least_rtt + FEEDBACK + 2 * target + 0.01 + queue
        span += 2 * min(self._rtt.deviation, MOST_JITTER)
        self.window = max(rate * span, 6 * DATAGRAM)
