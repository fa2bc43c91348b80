"""Acks are thinned beside a young TCP sender, so that the bond ends its slow start and not HyStart.

CUBIC's HyStart (RFC 9406, and Linux' `tcp_cubic.c`) leaves slow start when the round trip grows, as
it does when the first packets take a slower line, or when acks come in a dense train, as they do
after a tunnel. Both tests need many acks a round: the delay test more than eight, the train test
acks less than 2 ms apart. With fewer neither sees anything. A pure ack says all that the
ones before it said, so the sender learns the same, a little later. Thinning stops once the flow's
backlog shows that the lines are full (second study, sections 3 to 5).
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from multiwanbond.core.burst import Burst, Bytes
from multiwanbond.core.flow import Flow
from multiwanbond.core.ip import TcpFields, flow_key, reverse_key, sequence_step, tcp_fields
from multiwanbond.core.path import Path

PER_ROUND: Final = 6
"""Acks let through per round trip: Linux looks at the delay from the ninth sample of a round on,
and a round grows while it lasts."""
LEAST_GAP: Final = 0.0022
"""Seconds between two acks: those up to 2 ms apart are a train to Linux."""
MOST_GAP: Final = 0.05
BLIND_BYTES: Final = 20_000
"""HyStart does not look before the window is 16 segments."""
LEAST_RISE: Final = 0.004
"""Seconds by which a round trip must have grown, an eighth of itself if that is more, for HyStart
to take it for a full line."""
OVER_AFTER: Final = 3.0
"""Seconds after which any slow start is over."""
WAITS: Final = 0.01
WAITS_FOR: Final = 0.05
GROWS: Final = 1.1
DEEP_BACKLOG: Final = 0.3
"""Slow start is over when packets have waited for 10 ms during 50 ms while the lines turned out to
carry no more, and in any case when 0.3 s of what they carry waits. The study had 30 ms, which the
bursts that thin acks release pass by themselves."""
GROWTH: Final = 1.25
FLAT_ROUNDS: Final = 3
"""A sender in slow start doubles what it has on the way each round. One that has not had a quarter
more for three is not in it: BBR is not, which has its own such test (full pipe, with these
numbers). Thinner acks are what it must not have then: each of its probes for more lasts one least
round trip, and shows in nothing else (mix4 on the kernel: 0.70 of the sum instead of 0.88)."""
SETTLES_IN: Final = 0.3
"""Seconds in which HyStart, now that it sees all acks, may end it without a loss."""
FEW: Final = 3000
"""Bytes of backlog that do not count: a young flow without any is not to be slowed."""
FIRST_BYTES: Final = 65536
"""A flow that is not known by now has had its first packets elsewhere, and is left alone."""
MOST_SAMPLES: Final = 64
"""Packets or runs whose round trips are measured at a time."""
MOST_FLOWS: Final = 1024
"""Thinned at a time; those above keep all their acks, which costs them some speed at the start."""
_BARE: Final = 20
_TIMED: Final = 32
_TIMESTAMP: Final = bytes([1, 1, 8, 10])
"""Bytes of a TCP header without options, and with a timestamp alone, which then begins like this
(RFC 7323, appendix A); any other may hold a SACK."""
_SYN: Final = 0x02
_ACK: Final = 0x10


class SlowStart:
    """One TCP flow of ours in its first seconds."""

    __slots__ = (
        "_acked",
        "_flat_rounds",
        "_highest",
        "_most_in_flight",
        "_over_at",
        "_passed_in_round",
        "_rate_then",
        "_round_end",
        "_sent",
        "_waiting_since",
        "flow",
        "held",
        "is_over",
        "latest_rtt",
        "least_rtt",
        "least_rtt_at",
        "passed_at",
        "started_at",
    )

    def __init__(self, flow: Flow, now: float) -> None:
        self.flow: Final = flow
        self.started_at: Final = now
        self.passed_at = now
        """When the last ack was let through."""
        self.held: Burst | None = None
        """The newest ack, which waits."""
        self.least_rtt: float | None = None
        """Seconds from a packet's coming to its ack's, the tunnel and its queue included."""
        self.least_rtt_at = now
        self.latest_rtt = 0.0
        self.is_over = False
        self._over_at = 0.0
        self._acked: int | None = None
        self._highest: int | None = None
        self._round_end: int | None = None
        self._most_in_flight = 0
        self._flat_rounds = 0
        self._passed_in_round = 0
        self._sent: deque[tuple[int, float]] = deque()  # (end of a packet or run, when it came)
        self._waiting_since: float | None = None
        self._rate_then = 0.0

    def on_data(self, end: int, now: float) -> None:
        """A packet whose payload ends at TCP sequence `end` came to be sent."""
        if self._highest is None or sequence_step(end, self._highest) > 0:
            self._highest = end
            if len(self._sent) < MOST_SAMPLES:
                self._sent.append((end, now))

    def is_stale(self, ack: int) -> bool:
        """Say whether a newer ack has come already: acks wait for none that are lost."""
        return self._acked is not None and sequence_step(self._acked, ack) > 0

    def on_ack(self, ack: int, now: float) -> bool:
        """Note an ack of the flow; return True if it acknowledges anything new."""
        sent_at = None
        while self._sent and sequence_step(ack, self._sent[0][0]) >= 0:
            _, sent_at = self._sent.popleft()
        if sent_at is not None:
            self.latest_rtt = rtt = now - sent_at
            if self.least_rtt is None or rtt < self.least_rtt:
                self.least_rtt, self.least_rtt_at = rtt, now
        is_new = self._acked is None or sequence_step(ack, self._acked) > 0
        if is_new:
            if self._round_end is None or sequence_step(ack, self._round_end) > 0:
                self._begin_round(now)
            self._acked = ack
        return is_new

    def _begin_round(self, now: float) -> None:
        """What was sent in the last round begins to be acknowledged: see how much is on its way."""
        self._passed_in_round = 0
        self._round_end = self._highest
        if self._highest is None or self._acked is None or self.flow.is_young:
            return
        in_flight = sequence_step(self._highest, self._acked)
        if in_flight <= 0:
            return
        if in_flight > GROWTH * self._most_in_flight:
            self._most_in_flight, self._flat_rounds = in_flight, 0
            return
        if self.flow.backlog < FEW:
            self._flat_rounds += 1
            if self._flat_rounds >= FLAT_ROUNDS:
                self._end(now, is_content=True)

    def on_passed(self, now: float) -> None:
        """An ack was let through."""
        self.passed_at = now
        self._passed_in_round += 1

    def judge(self, rate: float, now: float) -> None:
        """See whether the lines, which carry `rate` bytes a second, are full of this flow."""
        flow = self.flow
        if flow.is_young or flow.waited <= WAITS or not flow.backlog:
            self._waiting_since = None
        elif self._waiting_since is None or rate > GROWS * self._rate_then:
            # While the lines turn out to carry more and more they are not full.
            self._waiting_since, self._rate_then = now, rate
        elif now - self._waiting_since > WAITS_FOR:
            self._end(now)
        if flow.backlog > DEEP_BACKLOG * rate:
            self._end(now)

    def give_up(self, now: float) -> None:
        """It has had its time: whatever it is, it does not fill the lines."""
        self._end(now, is_content=not self.flow.is_young)

    def _end(self, now: float, *, is_content: bool = False) -> None:
        if not self.is_over:
            self.is_over, self._over_at = True, now
            self.flow.is_content = is_content

    def has_settled(self, now: float) -> bool:
        """Say whether slow start has been over for long enough that its queue should be gone."""
        return self.is_over and now - self._over_at > SETTLES_IN

    def gap(self, paths: Sequence[Path], now: float) -> float:
        """Return the seconds that are to lie between two acks."""
        flow = self.flow
        if self.least_rtt is None or len(paths) < 2 or flow.octets < BLIND_BYTES:
            return 0.0
        rates = [path.rate for path in paths]
        delays = [path.delay for path in paths if path.delay is not None]
        if flow.is_young:
            rate = next((path.rate for path in paths if path.path_id == flow.path_id), max(rates))
        else:
            rate = sum(rates)
        # A young flow may have moved to a longer line, or been helped out by one.
        spread = max(delays, default=0.0) - min(delays, default=0.0)
        round_trip = 1.1 * self.least_rtt + flow.backlog / max(rate, 1.0) + spread
        # What is acked now may have waited longer than what comes now will.
        round_trip = max(round_trip, self.latest_rtt)
        gap = min(max(round_trip / PER_ROUND, LEAST_GAP), MOST_GAP)
        # While its round trip is what it was there is no delay to hide, and a flow that soon ends
        # should not wait for acks. One pause behind the first ack of a round breaks the train.
        is_steady = flow.is_young and not flow.has_moved and flow.backlog < FEW + gap * rate
        if is_steady and self.latest_rtt < self.least_rtt + max(self.least_rtt / 8, LEAST_RISE):
            return LEAST_GAP if self._passed_in_round == 1 or self.passed_at == now else 0.0
        return gap


class AckThinner:
    """Holds acks that return to young senders of ours; everything else passes."""

    __slots__ = ("_flows", "_holding", "settled")

    def __init__(self) -> None:
        self._flows: dict[bytes, SlowStart] = {}  # by their acks' flow key, oldest first
        self._holding: dict[bytes, float] = {}  # the same key -> when the held ack is to go
        self.settled: list[SlowStart] = []
        """Those that are over while nothing waits here, for the owner to take away."""

    def on_data(self, flow: Flow, burst: Burst, now: float) -> None:
        """A packet or run of a TCP flow of ours came to be sent; the first one makes it known."""
        state = flow.slow_start
        if state is None:
            if flow.octets > FIRST_BYTES or len(self._flows) >= MOST_FLOWS:
                return
            state = flow.slow_start = self._flows[reverse_key(flow.key)] = SlowStart(flow, now)
        fields = tcp_fields(burst.packet)
        if fields is not None and fields.payload:
            state.on_data(fields.end, now)
        elif fields is not None and fields.flags & _SYN:
            # The sender measures its least round trip by the handshake already, and so do we.
            state.on_data(fields.sequence + 1 & 0xFFFFFFFF, now)

    @property
    def is_busy(self) -> bool:
        """True while any flow is in its slow start."""
        return bool(self._flows)

    def thin(self, bursts: Iterable[Burst], paths: Sequence[Path], now: float) -> list[Burst]:
        """Return what is to be delivered now, in order: without the acks that wait a little."""
        self._forget_old(now)
        passed = self._take_due(now)
        for burst in bursts:
            packet = burst.packet
            key = flow_key(packet)
            state = self._flows.get(key)
            fields = None if state is None else tcp_fields(packet)
            if state is None or fields is None:
                passed.append(burst)
            elif state.is_stale(fields.ack) and _is_plain(packet, fields):
                continue
            elif self._should_hold(state, packet, fields, paths, now):
                state.held = burst
            else:
                if state.held is not None:
                    passed.append(state.held)
                    self._release(state)
                state.on_passed(now)
                passed.append(burst)
                if state.has_settled(now):
                    self._forget(key, state)
        return passed

    def _should_hold(
        self, state: SlowStart, packet: Bytes, fields: TcpFields, paths: Sequence[Path], now: float
    ) -> bool:
        is_new = state.on_ack(fields.ack, now)
        state.judge(sum(path.rate for path in paths), now)
        if not is_new or not _is_plain(packet, fields) or state.is_over:
            return False
        due_at = state.passed_at + state.gap(paths, now)
        if due_at <= now:
            self._release(state)  # the newer ack says what the held one does
            return False
        self._holding[reverse_key(state.flow.key)] = due_at
        return True

    def _release(self, state: SlowStart) -> None:
        state.held = None
        self._holding.pop(reverse_key(state.flow.key), None)

    def _take_due(self, now: float) -> list[Burst]:
        due = [key for key, at in self._holding.items() if at <= now]
        passed: list[Burst] = []
        for key in due:
            state = self._flows[key]
            if state.held is not None:
                passed.append(state.held)
            state.on_passed(now)
            self._release(state)
        return passed

    def _forget_old(self, now: float) -> None:
        flows = self._flows
        while flows:
            key, state = next(iter(flows.items()))
            if now - state.started_at < OVER_AFTER:
                return
            if state.held is not None:
                return  # it goes within MOST_GAP
            state.give_up(now)
            self._forget(key, state)

    def _forget(self, key: bytes, state: SlowStart) -> None:
        """Look at none of a flow's acks any more: each look costs as much as delivering it."""
        state.flow.slow_start = None
        del self._flows[key]
        if not state.flow.is_young and state.flow.backlog < FEW:
            self.settled.append(state)

    def deadline(self) -> float | None:
        """When a held ack is to go at the latest."""
        return min(self._holding.values(), default=None)


def _is_plain(packet: Bytes, fields: TcpFields) -> bool:
    """Say whether a packet is an ack and says nothing else, so that the next one says it too."""
    if fields.flags != _ACK or fields.payload:
        return False
    options = len(packet) - fields.length + _BARE
    return fields.length == _BARE or (
        fields.length == _TIMED and packet[options : options + 4] == _TIMESTAMP
    )
