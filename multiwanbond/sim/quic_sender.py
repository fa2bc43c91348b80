"""The sending half of a QUIC connection: loss detection by RFC 9002, pacing, probes.

A packet is lost once one sent three later has arrived, whatever the reason: QUIC stacks do not
learn how much a way reorders, which is why reordering costs them more than it costs Linux's TCP.
What was lost leaves again in packets with new numbers; reductions are never taken back.
"""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from .congestion import AckSample, Controller
from .ranges import Ranges
from .world import Timer, World

# From RFC 9002, sections 6.1, 6.2, 7.6 and 7.7; the ack delay is RFC 9000's default.
PACKET_THRESHOLD: Final = 3
_TIME_THRESHOLD: Final = 9 / 8
_GRANULARITY: Final = 0.001
_INITIAL_RTT: Final = 0.333
_PERSISTENT: Final = 3
_PACING_GAIN: Final = 1.25
MOST_ACK_DELAY: Final = 0.025

MOST_IN_A_RUN: Final = 10
"""Packets that one write holds at most (UDP_SEGMENT), the initial window."""
_PACING_SLACK: Final = 0.001
"""Seconds the pacer may run ahead, as that of the TCP sender."""
_MOST_MADE_UP: Final = 0.010
"""Seconds of sending that are made up for when the pacer's timer was late, as on a busy machine;
Google's stack does the same. In virtual time no timer is late."""
_PROBES: Final = 2
_MOST_BACKOFF: Final = 64

_NEVER: Final = float("inf")


class Outgoing(NamedTuple):
    """One packet to be sent: a chunk of the stream under a packet number."""

    number: int
    chunk: int


class QuicAck(NamedTuple):
    """What an ACK frame says."""

    ranges: Sequence[tuple[int, int]]
    """Half-open ranges of packet numbers that have arrived, the newest last."""
    delay: float
    """Seconds that the newest waited for its ack."""


class _Sent(NamedTuple):
    chunk: int
    at: float
    delivered: int
    delivered_at: float
    first_sent_at: float


class QuicSender:
    """Sends chunks 0, 1, 2 ... in packets through `transmit(run)`."""

    def __init__(
        self,
        world: World,
        controller: Controller,
        transmit: Callable[[Sequence[Outgoing]], None],
        *,
        limit: int | None,
        window: int,
    ) -> None:
        self.controller: Final = controller
        self.resent = 0
        """Chunks sent again."""
        self.spurious = 0
        """Packets that arrived after they had been declared lost."""
        self.timeouts = 0
        """Probe timeouts."""
        self.reductions = 0
        self.srtt: float | None = None
        self._rtt_variation = 0.0
        self._latest_rtt = 0.0
        self._min_rtt = _NEVER
        self._world = world
        self._transmit = transmit
        self._limit = limit
        self._peer_window = window
        self._next_number = 0
        self._next_chunk = 0
        self._una = 0
        """Oldest chunk not acknowledged."""
        self._in_flight: dict[int, _Sent] = {}
        """By number, oldest first."""
        self._declared: dict[int, int] = {}
        """Chunks of packets declared lost, by number."""
        self._lost_chunks: deque[int] = deque()
        self._arrived_numbers = Ranges()
        self._arrived_chunks = Ranges()
        self._largest_acked = -1
        self._recovery_start = -_NEVER
        self._delivered = 0
        self._delivered_at = self._first_sent_at = world.now
        self._app_limited_until = 0
        self._is_window_limited = self._is_window_half_used = False
        self._probe_count = 0
        self._last_sent = world.now
        self._pace_at = 0.0
        self._is_pace_limited = False
        self._pace_timer = Timer(world, self._pump)
        self._loss_timer = Timer(world, self._on_loss_timer)
        self._probe_timer = Timer(world, self._on_probe_timer)

    def start(self, rtt: float) -> None:
        """Begin to send; `rtt` is what the handshake measured."""
        self._take_rtt(rtt, 0.0)
        self._pump()

    @property
    def is_done(self) -> bool:
        """True when everything has been acknowledged."""
        return self._limit is not None and self._una >= self._limit

    # --- sending -----------------------------------------------------------------------------

    def _pump(self) -> None:
        """Send what window, pacing and the application allow, in runs."""
        now, flight = self._world.now, self._in_flight
        room = self.controller.window
        rate = self._pacing_rate()
        self._is_window_limited = True
        while len(flight) < room:
            if self._pace_at > now + _PACING_SLACK:
                self._pace_timer.set(self._pace_at)
                self._is_pace_limited = True
                break
            most = min(MOST_IN_A_RUN, max(1, int(room - len(flight))))
            run = self._next_run(most)
            if not run:
                self._is_window_limited = self._is_pace_limited = False
                self._app_limited_until = self._delivered + len(flight)
                break
            self._transmit(run)
            earliest = now - _MOST_MADE_UP if self._is_pace_limited else now
            self._pace_at = max(self._pace_at, earliest) + len(run) / rate
        else:
            self._is_pace_limited = False
        self._is_window_half_used = 2 * len(flight) >= room or self._is_window_limited
        self._set_probe_timer()

    def _pacing_rate(self) -> float:
        rate = self.controller.pacing_rate()
        if rate is not None:
            return rate
        return _PACING_GAIN * self.controller.window / (self.srtt or _INITIAL_RTT)

    def _next_run(self, most: int) -> list[Outgoing]:
        run: list[Outgoing] = []
        while len(run) < most and (chunk := self._take_chunk()) is not None:
            run.append(self._outgoing(chunk))
        return run

    def _take_chunk(self) -> int | None:
        """Return what to send next: what was lost, else what is new; None: nothing."""
        while self._lost_chunks:
            chunk = self._lost_chunks.popleft()
            if chunk >= self._una and self._arrived_chunks.covering(chunk) is None:
                self.resent += 1
                return chunk
        chunk = self._next_chunk
        if chunk - self._una >= self._peer_window or chunk == self._limit:
            return None
        self._next_chunk += 1
        return chunk

    def _outgoing(self, chunk: int) -> Outgoing:
        now, number = self._world.now, self._next_number
        if not self._in_flight:
            self._delivered_at = self._first_sent_at = now
        self._in_flight[number] = _Sent(
            chunk, now, self._delivered, self._delivered_at, self._first_sent_at
        )
        self._next_number += 1
        self._last_sent = now
        return Outgoing(number, chunk)

    # --- acknowledgements --------------------------------------------------------------------

    def on_ack(self, ack: QuicAck) -> None:
        """Take note of an acknowledgement and send what it allows."""
        newly, best_number, best = 0, -1, None
        for low, high in ack.ranges:
            for start, end in self._arrived_numbers.add(low, high):
                for number in range(start, end):
                    sent = self._deliver(number)
                    newly += sent is not None
                    if sent is not None and number > best_number:
                        best_number, best = number, sent
        if best is None:
            return
        rtt = None
        if best_number > self._largest_acked:
            self._largest_acked = best_number
            rtt = self._world.now - best.at
            self._take_rtt(rtt, ack.delay)
        self._probe_count = 0
        self._detect_losses()
        self.controller.on_ack(self._sample(newly, best, rtt))
        self._pump()

    def _deliver(self, number: int) -> _Sent | None:
        """Note that a packet has arrived; return it unless it was declared lost before."""
        sent = self._in_flight.pop(number, None)
        if sent is None:
            chunk = self._declared.pop(number, None)
            if chunk is not None:
                self.spurious += 1
                self._note_chunk(chunk)
            return None
        self._note_chunk(sent.chunk)
        self._delivered += 1
        self._delivered_at = self._world.now
        return sent

    def _note_chunk(self, chunk: int) -> None:
        if chunk < self._una:
            return
        self._arrived_chunks.add(chunk, chunk + 1)
        first = self._arrived_chunks.covering(self._una)
        if first is not None:
            self._una = first[1]
            self._arrived_chunks.drop_below(self._una)

    def _take_rtt(self, rtt: float, ack_delay: float) -> None:
        """Fold a measurement in (RFC 9002, section 5.3)."""
        self._latest_rtt = rtt
        self._min_rtt = min(self._min_rtt, rtt)
        delay = min(ack_delay, MOST_ACK_DELAY)
        if rtt >= self._min_rtt + delay:
            rtt -= delay
        if self.srtt is None:
            self.srtt, self._rtt_variation = rtt, rtt / 2
            return
        self._rtt_variation += (abs(self.srtt - rtt) - self._rtt_variation) / 4
        self.srtt += (rtt - self.srtt) / 8

    def _sample(self, newly: int, best: _Sent, rtt: float | None) -> AckSample:
        now = self._world.now
        interval = max(now - best.delivered_at, best.at - best.first_sent_at)
        is_valid = interval > 0 and interval >= 0.99 * self._min_rtt
        self._first_sent_at = best.at
        return AckSample(
            now=now,
            delivered=newly,
            rtt=rtt,
            min_rtt=self._min_rtt,
            rate=(self._delivered - best.delivered) / interval if is_valid else 0.0,
            total_delivered=self._delivered,
            delivered_before=best.delivered,
            is_app_limited=best.delivered < self._app_limited_until,
            una=self._largest_acked + 1,
            next_segment=self._next_number,
            in_flight=len(self._in_flight),
            is_recovering=best.at <= self._recovery_start,
            is_window_limited=self._is_window_limited,
            is_window_half_used=self._is_window_half_used,
        )

    # --- losses ------------------------------------------------------------------------------

    def _detect_losses(self) -> None:
        """Declare lost what RFC 9002, section 6.1 says; look again when time will have told."""
        now = self._world.now
        tolerance = _TIME_THRESHOLD * max(self.srtt or _INITIAL_RTT, self._latest_rtt)
        tolerance = max(tolerance, _GRANULARITY)
        lost: list[tuple[int, _Sent]] = []
        self._loss_timer.set(None)
        for number, sent in self._in_flight.items():
            if number >= self._largest_acked:
                break
            is_late = sent.at + tolerance <= now + 1e-9
            if not is_late and self._largest_acked - number < PACKET_THRESHOLD:
                self._loss_timer.set(sent.at + tolerance)
                break
            lost.append((number, sent))
        for number, sent in lost:
            del self._in_flight[number]
            self._declared[number] = sent.chunk
            self._lost_chunks.append(sent.chunk)
        if lost:
            self._on_loss(lost)

    def _on_loss(self, lost: Sequence[tuple[int, _Sent]]) -> None:
        if lost[-1][1].at > self._recovery_start:
            self._recovery_start = self._world.now
            self.reductions += 1
            self.controller.on_loss(self._world.now)
        if self._is_persistent(lost):
            self.controller.on_timeout(self._world.now)

    def _is_persistent(self, lost: Sequence[tuple[int, _Sent]]) -> bool:
        """Tell whether nothing arrived for so long that the way must be thought new."""
        since = lost[0][1].at
        limit = _PERSISTENT * self._probe_timeout()
        for (number, _), (following, sent) in pairwise(lost):
            if following != number + 1:
                since = sent.at
            elif sent.at - since > limit:
                return True
        return False

    def _on_loss_timer(self) -> None:
        self._detect_losses()
        self._pump()

    # --- probes ------------------------------------------------------------------------------

    def _probe_timeout(self) -> float:
        if self.srtt is None:
            return 2 * _INITIAL_RTT
        return self.srtt + max(4 * self._rtt_variation, _GRANULARITY) + MOST_ACK_DELAY

    def _set_probe_timer(self) -> None:
        if not self._in_flight:
            self._probe_timer.set(None)
            return
        backoff = min(2**self._probe_count, _MOST_BACKOFF)
        self._probe_timer.set(self._last_sent + backoff * self._probe_timeout())

    def _on_probe_timer(self) -> None:
        """Send two packets whatever the window says, so that their ack tells what is missing."""
        self.timeouts += 1
        self._probe_count += 1
        run = self._next_run(_PROBES)
        if not run:
            oldest = [sent.chunk for sent in self._in_flight.values()][:_PROBES]
            self.resent += len(oldest)
            run = [self._outgoing(chunk) for chunk in oldest]
        self._transmit(run)
        self._set_probe_timer()
