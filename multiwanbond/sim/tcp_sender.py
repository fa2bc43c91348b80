"""The sending half of a TCP connection, in segments: loss detection, recovery, timers.

Modelled on Linux: SACK scoreboard, RACK with a reordering window that DSACKs widen (RFC 8985),
tail loss probe, retransmission timeout, undo of reductions that DSACKs prove needless. A fixed
packet threshold can be had instead of RACK, as QUIC stacks have it and as TCP was before.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

from .congestion import AckSample, Controller
from .ranges import Ranges
from .world import Timer, World

PACKET_THRESHOLD: Final = 3
"""Later segments delivered before one is lost (RFC 5681, RFC 9002 section 6.1.1)."""

# From Linux: TCP_RTO_MIN, TCP_RTO_MAX, TCP_TIMEOUT_INIT, TCP_RACK_RECOVERY_THRESH, TCP_DELACK_MAX.
_RTO_MIN: Final = 0.2
_RTO_MAX: Final = 120.0
_RTO_INITIAL: Final = 1.0
_CALM_RECOVERIES: Final = 16
_DELAYED_ACK: Final = 0.2
_PROBE_MARGIN: Final = 0.002

_PACING_SLACK: Final = 0.001
"""Seconds the pacer may run ahead: the timer of a real sender is no finer."""

_NEVER: Final = float("inf")


class Detection(Enum):
    """How a sender decides that a segment is lost."""

    RACK = "rack"
    """By time, with a tolerance learned from reordering seen."""
    PACKET_THRESHOLD = "packet threshold"
    """By three later arrivals, whatever happens."""


class SegmentAck(NamedTuple):
    """An acknowledgement in segments."""

    una: int
    """All before this have arrived."""
    blocks: tuple[tuple[int, int], ...]
    """Ranges above that have arrived."""
    is_duplicate: bool
    """True if it reports that something came twice (DSACK)."""


class _Sent:
    """The last transmission of a segment."""

    __slots__ = ("at", "delivered", "delivered_at", "first_sent_at", "is_resend", "order")

    def __init__(
        self,
        at: float,
        order: int,
        delivered: int,
        delivered_at: float,
        first_sent_at: float,
        *,
        is_resend: bool,
    ) -> None:
        self.at = at
        self.order = order
        self.delivered = delivered
        self.delivered_at = delivered_at
        self.first_sent_at = first_sent_at
        self.is_resend = is_resend


class TcpSender:
    """Sends segments 0, 1, 2 ... through `transmit(first, count)`."""

    def __init__(
        self,
        world: World,
        controller: Controller,
        transmit: Callable[[int, int], None],
        *,
        limit: int | None,
        window: int,
        longest_run: int,
        detection: Detection = Detection.RACK,
    ) -> None:
        self.controller: Final = controller
        self.resent = 0
        """Segments sent again."""
        self.timeouts = 0
        self.recoveries = 0
        self.undone = 0
        """Reductions taken back."""
        self.srtt: float | None = None
        self._rtt_variation = 0.0
        self._min_rtt = _NEVER
        self._world = world
        self._transmit = transmit
        self._limit = limit
        self._peer_window = window
        self._longest_run = longest_run
        self._detection = detection
        self.una = 0
        """Oldest segment not acknowledged."""
        self._next = 0
        self._orders = 0
        self._in_flight: OrderedDict[int, _Sent] = OrderedDict()
        self._lost: set[int] = set()
        self._lost_queue: deque[int] = deque()
        self._arrived = Ranges()
        self._highest_order = -1
        self._has_reordering = False
        self._rack_sent_at = -_NEVER
        self._rack_rtt = 0.0
        self._rack_order = -1
        self._reorder_steps = 1
        self._next_step_at = 0
        self._recovery_point: int | None = None
        self._undo_left: int | None = None
        self._delivered = 0
        self._delivered_at = self._first_sent_at = world.now
        self._best: _Sent | None = None
        self._sample_rtt: float | None = None
        self._is_window_limited = self._is_window_half_used = False
        self._was_app_limited_at = 0
        self._backoff = 1
        self._has_probed = False
        self._timer_base = self._last_sent = world.now
        self._timer = Timer(world, self._on_timer)
        self._reorder_timer = Timer(world, self._on_reorder_timer)
        self._pace_at = 0.0
        self._pace_timer = Timer(world, self._pump)

    def start(self, rtt: float | None) -> None:
        """Begin to send; `rtt` is what the connection's opening measured."""
        if rtt is not None:
            self._take_rtt(rtt)
        self._pump()

    @property
    def is_done(self) -> bool:
        """True when everything has been acknowledged."""
        return self._limit is not None and self.una >= self._limit

    # --- sending -----------------------------------------------------------------------------

    def _pump(self) -> None:
        """Send what window, pacing and the application allow, in runs."""
        now, flight = self._world.now, self._in_flight
        room = min(self.controller.window, self._peer_window)
        rate = self.controller.pacing_rate()
        while len(flight) < room:
            if rate is not None and self._pace_at > now + _PACING_SLACK:
                self._pace_timer.set(self._pace_at)
                break
            count = self._send_run(int(min(room - len(flight), self._run_limit())) or 1)
            if not count:
                self._was_app_limited_at = self._delivered + len(flight)
                break
            if rate is not None:
                self._pace_at = max(self._pace_at, now) + count / rate
        self._is_window_limited = len(flight) + 1 > room
        self._is_window_half_used = 2 * len(flight) >= self.controller.window
        self._set_timer()

    def _run_limit(self) -> int:
        """Return how many segments one write may hold: 1 ms worth, as Linux sizes TSO."""
        if self.srtt is None:
            return self._longest_run
        return max(2, min(self._longest_run, int(2 * self.controller.window / self.srtt / 1000)))

    def _send_run(self, most: int) -> int:
        """Send up to `most` consecutive segments, lost ones first; return how many."""
        first = self._next_lost()
        is_resend = first is not None
        if first is None:
            if self._is_at_end(self._next):
                return 0
            first = self._next
        count = 0
        while True:
            self._note_sent(first + count, is_resend=is_resend)
            count += 1
            if not is_resend:
                self._next += 1
            if count >= most or not self._continues(first + count, is_resend=is_resend):
                break
        self._transmit(first, count)
        return count

    def _is_at_end(self, segment: int) -> bool:
        return segment - self.una >= self._peer_window or (
            self._limit is not None and segment >= self._limit
        )

    def _next_lost(self) -> int | None:
        queue = self._lost_queue
        while queue:
            segment = queue.popleft()
            if segment in self._lost:
                self._lost.remove(segment)
                return segment
        return None

    def _continues(self, segment: int, *, is_resend: bool) -> bool:
        """Tell whether `segment` may go in the same run, and take it from the lost if so."""
        if not is_resend:
            return not self._is_at_end(segment)
        if not self._lost_queue or self._lost_queue[0] != segment or segment not in self._lost:
            return False
        self._lost_queue.popleft()
        self._lost.remove(segment)
        return True

    def _note_sent(self, segment: int, *, is_resend: bool) -> None:
        now = self._world.now
        if not self._in_flight:
            self._delivered_at = self._first_sent_at = self._timer_base = now
        if is_resend:
            self.resent += 1
            if self._undo_left is not None:
                self._undo_left += 1
        self._in_flight[segment] = _Sent(
            now,
            self._orders,
            self._delivered,
            self._delivered_at,
            self._first_sent_at,
            is_resend=is_resend,
        )
        self._orders += 1
        self._last_sent = now

    # --- acknowledgements --------------------------------------------------------------------

    def on_ack(self, ack: SegmentAck) -> None:
        """Take note of an acknowledgement and send what it allows."""
        now = self._world.now
        self._best = self._sample_rtt = None
        newly = 0
        if ack.una > self.una:
            newly += self._deliver(self.una, ack.una)
            self.una = ack.una
            self._arrived.drop_below(ack.una)
            self._backoff = 1
        for low, high in ack.blocks:
            if high > self.una:
                newly += self._deliver(max(low, self.una), high)
        if ack.is_duplicate:
            self._on_duplicate()
        if newly:
            self._timer_base = now
            self._has_probed = False
        if self._sample_rtt is not None:
            self._take_rtt(self._sample_rtt)
        self._detect_losses()
        if self._recovery_point is not None and self.una >= self._recovery_point:
            self._end_recovery()
        if newly:
            self.controller.on_ack(self._sample(newly))
        self._pump()

    def _deliver(self, low: int, high: int) -> int:
        """Note that a range has arrived; return how many segments of it are news."""
        newly = 0
        for start, end in self._arrived.add(low, high):
            for segment in range(start, end):
                newly += self._deliver_one(segment)
        return newly

    def _deliver_one(self, segment: int) -> int:
        now = self._world.now
        sent = self._in_flight.pop(segment, None)
        if sent is None:
            if segment not in self._lost:
                return 0
            self._lost.remove(segment)
            self._has_reordering = True
            self._delivered += 1
            self._delivered_at = now
            return 1
        self._delivered += 1
        self._delivered_at = now
        rtt = now - sent.at
        if not sent.is_resend:
            if sent.order < self._highest_order:
                self._has_reordering = True
            if self._sample_rtt is None or rtt < self._sample_rtt:
                self._sample_rtt = rtt
        self._highest_order = max(self._highest_order, sent.order)
        # An ack of a re-sent segment that comes this fast must be for its first transmission.
        if sent.order > self._rack_order and (not sent.is_resend or rtt >= 0.9 * self._min_rtt):
            self._rack_sent_at, self._rack_order, self._rack_rtt = sent.at, sent.order, rtt
        if self._best is None or sent.order > self._best.order:
            self._best = sent
        return 1

    def _on_duplicate(self) -> None:
        """Something came twice: a re-send was needless, so wait longer before the next one."""
        self._has_reordering = True
        if self.una >= self._next_step_at:
            self._reorder_steps = min(self._reorder_steps + 1, 255)
            self._next_step_at = self._next
        if not self._undo_left:
            return
        self._undo_left -= 1
        if not self._undo_left:
            self._undo_left = None
            self.undone += 1
            self.controller.undo()

    def _take_rtt(self, rtt: float) -> None:
        """Fold a measurement in (RFC 6298)."""
        self._min_rtt = min(self._min_rtt, rtt)
        if self.srtt is None:
            self.srtt, self._rtt_variation = rtt, rtt / 2
            return
        self._rtt_variation += (abs(rtt - self.srtt) - self._rtt_variation) / 4
        self.srtt += (rtt - self.srtt) / 8

    def _sample(self, newly: int) -> AckSample:
        best, now = self._best, self._world.now
        rate = 0.0
        if best is not None:
            interval = max(now - best.delivered_at, best.at - best.first_sent_at)
            if interval > 0 and interval >= 0.99 * self._min_rtt:
                rate = (self._delivered - best.delivered) / interval
            self._first_sent_at = best.at
        return AckSample(
            now=now,
            delivered=newly,
            rtt=self._sample_rtt,
            min_rtt=self._min_rtt,
            rate=rate,
            total_delivered=self._delivered,
            delivered_before=best.delivered if best is not None else None,
            is_app_limited=best is not None and best.delivered < self._was_app_limited_at,
            una=self.una,
            next_segment=self._next,
            in_flight=len(self._in_flight),
            is_recovering=self._recovery_point is not None,
            is_window_limited=self._is_window_limited,
            is_window_half_used=self._is_window_half_used,
        )

    # --- losses ------------------------------------------------------------------------------

    def _detect_losses(self) -> None:
        """Mark as lost what should have arrived by now, given what has."""
        lost = []
        is_by_time = self._detection is Detection.RACK
        tolerance = self._reorder_window() if is_by_time else 0.0
        now = self._world.now
        for segment, sent in self._in_flight.items():
            if sent.order > self._rack_order:
                break
            if not is_by_time:
                if self._rack_order - sent.order < PACKET_THRESHOLD:
                    break
            elif sent.at + self._rack_rtt + tolerance > now + 1e-9:
                self._reorder_timer.set(sent.at + self._rack_rtt + tolerance)
                break
            lost.append(segment)
        for segment in lost:
            del self._in_flight[segment]
        self._lost.update(lost)
        self._lost_queue.extend(lost)
        if lost and self._recovery_point is None:
            self._begin_recovery()

    def _reorder_window(self) -> float:
        """Return how much later than its successors a segment may come (RFC 8985, 6.2 step 4)."""
        is_sure = self._recovery_point is not None or self._arrived.size() >= PACKET_THRESHOLD
        if not self._has_reordering and is_sure:
            return 0.0
        if self._min_rtt == _NEVER or self.srtt is None:
            return 0.0
        return min(self._reorder_steps * self._min_rtt / 4, self.srtt)

    def _begin_recovery(self) -> None:
        self.recoveries += 1
        self._recovery_point = self._next
        self._undo_left = 0
        self.controller.on_loss(self._world.now)

    def _end_recovery(self) -> None:
        self._recovery_point = None
        if self.recoveries % _CALM_RECOVERIES == 0:
            self._reorder_steps = 1

    def _on_reorder_timer(self) -> None:
        self._detect_losses()
        self._pump()

    # --- timers ------------------------------------------------------------------------------

    def _timeout(self) -> float:
        if self.srtt is None:
            return _RTO_INITIAL * self._backoff
        rto = self.srtt + max(4 * self._rtt_variation, _RTO_MIN)
        return min(rto * self._backoff, _RTO_MAX)

    def _probe_timeout(self) -> float:
        """Return after how much silence the last segment is probed (RFC 8985, section 7.2)."""
        if self.srtt is None:
            return _RTO_INITIAL
        pto = 2 * self.srtt + _PROBE_MARGIN
        return pto + _DELAYED_ACK if len(self._in_flight) == 1 else pto

    def _is_probing_next(self) -> bool:
        return (
            not self._has_probed
            and self._recovery_point is None
            and self._backoff == 1
            and bool(self._in_flight)
            and self._probe_timeout() < self._timeout()
        )

    def _set_timer(self) -> None:
        if not self._in_flight and not self._lost:
            self._timer.set(None)
        elif self._is_probing_next():
            silence_from = max(self._timer_base, self._last_sent)
            probe_at = silence_from + self._probe_timeout()
            self._timer.set(min(probe_at, self._timer_base + self._timeout()))
        else:
            self._timer.set(self._timer_base + self._timeout())

    def _on_timer(self) -> None:
        if self._is_probing_next():
            self._probe_tail()
        else:
            self._on_timeout()
        self._set_timer()

    def _probe_tail(self) -> None:
        """Send the last segment again so that its ack tells what else is missing."""
        self._has_probed = True
        segment = max(self._in_flight)
        del self._in_flight[segment]
        self._note_sent(segment, is_resend=True)
        self._timer_base = self._world.now
        self._transmit(segment, 1)

    def _on_timeout(self) -> None:
        """Believe everything lost and begin again with one segment."""
        self.timeouts += 1
        self._backoff = min(self._backoff * 2, 64)
        self._lost.update(self._in_flight)
        self._in_flight.clear()
        self._lost_queue = deque(sorted(self._lost))
        self._undo_left = 0
        self._recovery_point = self._next
        self._timer_base = self._world.now
        self.controller.on_timeout(self._world.now)
        self._pump()
