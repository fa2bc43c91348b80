"""Acks of long flows are delayed until every round trip is the longest line's.

A sender that models the way (BBR) keeps no more under way than twice its rate times the least round
trip of the last ten seconds. Over unequal lines that is the quickest line's, and too little to fill
all of them. Were its round trips made equal at once, short flows would pay; later, its window would
be smaller still until the old least one has run out. So for ten seconds its round trips are kept
just above the least one, which is thus forgotten at a time we know, and are as long as the longest
line's from then on ("bx" of the second study, section 3). Its acks are what is delayed, beside the
sender, so nothing of this has to travel.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from math import inf
from typing import Final

from multiwanbond.core.burst import Burst
from multiwanbond.core.flow import Flow
from multiwanbond.core.ip import flow_key, reverse_key, sequence_step, tcp_fields
from multiwanbond.core.path import Path
from multiwanbond.core.scheduling.adaptive import MOST_SKEW, MOST_WINDOW, worthwhile
from multiwanbond.core.slow_start import SlowStart

MEMORY: Final = 9.8
"""Seconds for which such a sender remembers its least round trip (BBR: ten), less what it takes us
to change ours."""
ABOVE: Final = 0.002
"""Seconds above its least round trip that no later one touches it again."""
LEAST_SKEW: Final = 0.25
"""Share of the least round trip below which lines count as equal."""
GRAIN: Final = 0.001
"""Seconds within which acks leave together: the newest says it all."""
FADES_IN: Final = 10.0
"""Seconds in which the delay falls when the longest line is gone: it may be back, and one round
trip without it would count for ten seconds."""
PAUSE: Final = 1.0
"""Seconds without data after which a flow is no long one any more, but one that is asked for little
now and then, and wants its answers soon."""
MOST_FLOWS: Final = 256
MOST_RUNS: Final = 4096
"""Packets or runs of one flow whose round trips are followed at a time."""


class RoundTrips:
    """Those of one flow of ours."""

    __slots__ = (
        "_acked",
        "_changed_at",
        "_least",
        "_least_at",
        "_longest",
        "_sent",
        "flow",
        "held",
        "sent_at",
    )

    def __init__(self, flow: Flow, least: float, least_at: float, now: float) -> None:
        self.flow: Final = flow
        self.held: deque[tuple[float, Burst]] = deque()
        """When which ack is to go, oldest first."""
        self.sent_at = now
        self._least = least
        self._least_at = least_at
        self._longest = 0.0
        self._acked: int | None = None
        self._changed_at = now
        self._sent: deque[tuple[int, float]] = deque()  # (end of a packet or run, when it came)

    def on_data(self, end: int, now: float) -> None:
        """A packet or run whose payload ends at TCP sequence `end` came to be sent."""
        self.sent_at = now
        if len(self._sent) < MOST_RUNS:
            self._sent.append((end, now))

    def due(self, ack: int, trips: Sequence[float], now: float) -> float:
        """Return when an ack is to go that came now, given the round trips of the lines."""
        sent_at = None
        is_new = self._acked is None or sequence_step(ack, self._acked) > 0
        while self._sent and sequence_step(ack, self._sent[0][0]) >= 0:
            self._acked, sent_at = self._sent.popleft()
        if is_new and self._sent and ack != self._acked:
            sent_at = self._sent[0][1]  # it acknowledges a part of that run
        if is_new:
            self._acked = ack
        due = now if sent_at is None else sent_at + self._wanted(trips, now)
        return max(due, self.held[-1][0]) if self.held else due

    def hold(self, burst: Burst, due: float) -> None:
        """Keep an ack until `due`; one of the same moment makes way for it."""
        if self.held and due - self.held[-1][0] < GRAIN:
            due = self.held.pop()[0]
        self.held.append((due, burst))

    def take_all(self) -> list[Burst]:
        """Let go of the acks that are held."""
        bursts = [burst for _, burst in self.held]
        self.held.clear()
        return bursts

    def _wanted(self, trips: Sequence[float], now: float) -> float:
        if now - self._least_at < MEMORY:
            return self._least + ABOVE
        fallen = self._longest * (1 - (now - self._changed_at) / FADES_IN)
        self._longest = max(_longest(trips, self._least), fallen)
        self._changed_at = now
        return self._longest


class AckEqualiser:
    """Delays the acks of the flows it is told to follow."""

    __slots__ = ("_flows", "_next_at", "_tidied_at")

    def __init__(self) -> None:
        self._flows: dict[bytes, RoundTrips] = {}  # by their acks' flow key
        self._next_at = inf  # no ack is due before
        self._tidied_at = 0.0

    @property
    def is_busy(self) -> bool:
        """True while it follows any flow."""
        return bool(self._flows)

    def follow(self, over: SlowStart, paths: Sequence[Path], now: float) -> None:
        """Make the round trips of a flow equal, if lines are unequal.

        Args:
            over: its slow start, in which its sender did not fill the lines.
            paths: that may carry it.
            now: the caller's clock.
        """
        least = over.least_rtt
        if least is None or len(self._flows) >= MOST_FLOWS:
            return
        if _longest(_round_trips(paths), least) <= (1 + LEAST_SKEW) * least:
            return
        key = reverse_key(over.flow.key)
        self._flows[key] = RoundTrips(over.flow, least, over.least_rtt_at, now)
        over.flow.is_followed = True

    def on_data(self, flow: Flow, burst: Burst, now: float) -> None:
        """A packet or run of a TCP flow of ours came to be sent."""
        trips = self._flows.get(reverse_key(flow.key))
        fields = None if trips is None else tcp_fields(burst.packet)
        if trips is not None and fields is not None and fields.payload:
            trips.on_data(fields.end, now)

    def delay(self, bursts: Iterable[Burst], paths: Sequence[Path], now: float) -> list[Burst]:
        """Return what is to be delivered now, in order: without the acks that are early."""
        self._forget_paused(now)
        passed = self._take_due(now)
        trips: Sequence[float] = ()
        for burst in bursts:
            followed = self._flows.get(flow_key(burst.packet))
            fields = None if followed is None else tcp_fields(burst.packet)
            if followed is None or fields is None:
                passed.append(burst)
            elif not fields.is_pure_ack:
                # What says more than a number waits for nothing, nor does it overtake.
                passed += followed.take_all()
                passed.append(burst)
            else:
                trips = trips or _round_trips(paths)
                due = followed.due(fields.ack, trips, now)
                if due <= now:
                    passed.append(burst)
                else:
                    followed.hold(burst, due)
                    self._next_at = min(self._next_at, due)
        return passed

    def _take_due(self, now: float) -> list[Burst]:
        passed: list[Burst] = []
        if self._next_at <= now:
            for trips in self._flows.values():
                while trips.held and trips.held[0][0] <= now:
                    passed.append(trips.held.popleft()[1])
            firsts = (trips.held[0][0] for trips in self._flows.values() if trips.held)
            self._next_at = min(firsts, default=inf)
        return passed

    def _forget_paused(self, now: float) -> None:
        if now - self._tidied_at < PAUSE:
            return
        self._tidied_at = now
        for key, trips in list(self._flows.items()):
            if not trips.held and now - trips.sent_at > PAUSE:
                trips.flow.is_followed = False
                del self._flows[key]

    def deadline(self) -> float | None:
        """When an ack that is held is to go."""
        return None if self._next_at == inf else self._next_at


def _round_trips(paths: Sequence[Path]) -> list[float]:
    """Return the round trips of the lines worth using for one flow."""
    return [path.rtt.smoothed or 0.0 for path in worthwhile(paths, MOST_WINDOW)]


def _longest(trips: Sequence[float], least: float) -> float:
    """Return the longest of the round trips whose lines may carry the flow."""
    return max((trip for trip in trips if trip <= least + MOST_SKEW), default=0.0)
