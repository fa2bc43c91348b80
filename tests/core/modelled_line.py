"""One line and the sender on it, in steps of a millisecond: enough to judge a rate controller."""

from collections import deque
from dataclasses import dataclass
from math import inf
from random import Random
from statistics import fmean

from multiwanbond.core.capacity import DATAGRAM, FEEDBACK, Capacity
from multiwanbond.core.frames import PathAck
from multiwanbond.core.ledger import Arrivals, Ledger, round_trip
from multiwanbond.core.pacer import TICK, Pacer
from multiwanbond.core.rtt import DelayClock, OneWayDelay, RttEstimator
from multiwanbond.core.wire import ticks

MBIT = 1e6 / 8
RECEIVERS_CLOCK = 50_000.0
"""Seconds that the receiver's clock is ahead of the sender's."""


@dataclass(kw_only=True)
class Line:
    """What carries the datagrams; all of it may change on the way."""

    rate: float
    """Bytes a second."""
    delay: float = 0.02
    """Seconds one way."""
    way_back: float | None = None
    """Seconds that acks take; None: as long as what they answer."""
    queue: float = 0.2
    """Seconds at the first rate that the drop-tail queue holds."""
    loss: float = 0.0
    jitter: float = 0.0
    """Seconds at most by which a moment of 20 ms is late, order kept."""
    policed: float = inf
    """Bytes a second that a policer lets pass, 15 ms of them at once."""
    has_neighbour: bool = False
    """Somebody else downloads by the same line, and slows down for loss only (Reno)."""


class Run:
    """A path's sender, its line and its receiver."""

    def __init__(self, line: Line, *, seed: int = 1) -> None:
        print(f"seed {seed}")
        self.line = line
        self.capacity = Capacity()
        self.now = 100.0
        self.demand = inf
        """Bytes a second that there are to send."""
        self.delivered = 0
        self.sent = 0
        self.neighbours = 0
        """Bytes of the neighbour that got through."""
        self.queued: list[float] = []
        """Seconds of the line's queue at each step."""
        self._random = Random(seed)
        self._limit = max(line.queue * line.rate, 2 * DATAGRAM)
        self._ledger = Ledger(self.now)
        self._arrivals = Arrivals()
        self._one_way = OneWayDelay()
        self._rtt = RttEstimator()
        self._clock = DelayClock()
        self._pacer = Pacer(self.now)
        self._backlog = 0.0
        self._tokens = 0.0
        self._waiting: deque[tuple[int, int, int]] = deque()  # (sequence or 0, timestamp, octets)
        self._octets_waiting = 0
        self._free_at = self.now
        self._under_way: deque[tuple[float, int, int, int]] = deque()
        self._last_arrival = 0.0
        self._late = 0.0
        self._late_until = 0.0
        self._acks: deque[tuple[float, PathAck]] = deque()
        self._ack_at = self.now
        self._acked = 0
        self._neighbours_back: deque[float] = deque()  # when each of its acks comes
        self._neighbours_out = 0
        self._neighbours_window = 10.0 * DATAGRAM
        self._neighbour_halves_at = self.now

    def run(self, seconds: float) -> float:
        """Let time pass; return the bytes a second that got through meanwhile."""
        before, began = self.delivered, self.now
        self.queued = []
        steps = round(seconds / TICK)
        for step in range(1, steps + 1):
            self._take_acks()
            self._send()
            self._send_neighbours()
            self._serve(self.now + TICK)
            self.now = began + step * TICK
            self._receive()
            self.queued.append(self._octets_waiting / self.line.rate)
        return (self.delivered - before) / seconds

    @property
    def mean_queue(self) -> float:
        """Seconds, over the last `run`."""
        return fmean(self.queued)

    def train(self, rate: float) -> None:
        """A train has told the controller this rate."""
        self.capacity.on_train(rate, self.now)

    # --- the sender

    def _send(self) -> None:
        ledger, capacity = self._ledger, self.capacity
        # What endless demand left behind is nothing once the demand has an end.
        waiting = self._backlog if self._backlog < inf else 0.0
        self._backlog = waiting + self.demand * TICK
        room = capacity.window - ledger.in_flight_bytes
        credit = min(self._pacer.credit(capacity.rate, self.now), room)
        timestamp = ticks(self.now)
        while credit > 0 and self._backlog >= DATAGRAM:
            self._enter(ledger.next_sequence, timestamp)
            ledger.on_sent(ledger.next_sequence, DATAGRAM)
            ledger.next_sequence += 1
            self._pacer.on_sent(DATAGRAM, capacity.rate, self.now)
            credit -= DATAGRAM
            self._backlog -= DATAGRAM
            self.sent += DATAGRAM
        if credit > 0:
            capacity.note_spare(ledger.next_sequence)

    def _take_acks(self) -> None:
        while self._acks and self._acks[0][0] <= self.now:
            ack = self._acks.popleft()[1]
            settled = self._ledger.on_ack(ack, self.now)
            if settled is None:
                continue
            rtt = round_trip(ack, self.now)
            assert rtt is not None
            span = max((self._rtt.smoothed or 0.0) / 2, 0.03)
            self._one_way.on_sample(self._clock.unwrap(ack.least_delay), span, self.now)
            self._rtt.on_sample(rtt, self.now)
            self.capacity.on_ack(
                ack,
                settled,
                self._one_way,
                acked=self._ledger.acked_sequence,
                next_sequence=self._ledger.next_sequence,
                now=self.now,
            )

    # --- the line

    def _enter(self, sequence: int, timestamp: int) -> bool:
        line = self.line
        if line.policed < inf and sequence:
            if self._tokens < DATAGRAM:
                return False
            self._tokens -= DATAGRAM
        if self._octets_waiting + DATAGRAM > self._limit or self._random.random() < line.loss:
            return False
        if not self._waiting:
            self._free_at = max(self._free_at, self.now)
        self._waiting.append((sequence, timestamp, DATAGRAM))
        self._octets_waiting += DATAGRAM
        return True

    def _send_neighbours(self) -> None:
        if not self.line.has_neighbour:
            return
        while self._neighbours_back and self._neighbours_back[0] <= self.now:
            self._neighbours_back.popleft()
            self._neighbours_out -= DATAGRAM
            self._neighbours_window += DATAGRAM * DATAGRAM / self._neighbours_window
        while self._neighbours_out + DATAGRAM <= self._neighbours_window:
            if not self._enter(0, 0):
                if self.now >= self._neighbour_halves_at:
                    self._neighbours_window = max(self._neighbours_window / 2, 2 * DATAGRAM)
                    self._neighbour_halves_at = self.now + 3 * self.line.delay
                break
            self._neighbours_out += DATAGRAM

    def _serve(self, until: float) -> None:
        line = self.line
        if line.policed < inf:
            self._tokens = min(self._tokens + line.policed * TICK, line.policed * 0.015)
        while self._waiting:
            sequence, timestamp, octets = self._waiting[0]
            left_at = self._free_at + octets / line.rate
            if left_at > until:
                break
            self._free_at = left_at
            self._waiting.popleft()
            self._octets_waiting -= octets
            if not sequence:
                self._neighbours_back.append(left_at + 2 * line.delay)
                self.neighbours += octets
                continue
            arrival = max(left_at + line.delay + self._lateness(left_at), self._last_arrival)
            self._last_arrival = arrival
            self._under_way.append((arrival, sequence, timestamp, octets))

    def _lateness(self, at: float) -> float:
        if at >= self._late_until:
            self._late = self._random.random() ** 2 * self.line.jitter
            self._late_until = at + 0.02
        return self._late

    # --- the receiver

    def _receive(self) -> None:
        while self._under_way and self._under_way[0][0] <= self.now:
            arrival, sequence, timestamp, octets = self._under_way.popleft()
            self._arrivals.on_datagram(sequence, timestamp, octets, arrival + RECEIVERS_CLOCK)
            self.delivered += octets
        if self.now >= self._ack_at and self._arrivals.highest > self._acked:
            self._acked = self._arrivals.highest
            ack = self._arrivals.report(1, self.now + RECEIVERS_CLOCK)
            way_back = self.line.delay if self.line.way_back is None else self.line.way_back
            self._acks.append((self.now + way_back, ack))
            self._ack_at = self.now + FEEDBACK - TICK / 2
