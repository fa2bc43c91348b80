"""Packets under way on one path, and which of them must be sent again (by another path, mostly).

Cheaper than any code with redundancy: it costs what was lost (bonding study, section 5.6). A packet
keeps its global sequence when it is sent again, so the receiver's re-order buffer finds its place
and drops the copy that was late rather than lost; its path sequence is new, so no nonce is used
twice.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from multiwanbond.core.burst import Burst

REORDERING: Final = 3
"""Later arrivals after which a missing datagram is lost (RFC 9002, section 6.1.1)."""
TIME_FACTOR: Final = 1.25
"""Round trips after which it is lost with only one later arrival (near RFC 9002's 9/8)."""
OLDEST: Final = 0.5
"""Seconds after its first transmission until a packet is not repaired any more: its receiver has
given it up, and an inner TCP has sent it again itself."""
LIKELY: Final = 0.1
"""Repairs that are lost as well, expected of those of one round trip, from which on each is sent
twice. What waits for the second repair of one packet has waited for most of the others meanwhile,
so that one in fifty delays all."""
_MOST_REPAIRS: Final = 1024
_MOST_RUNS: Final = 65_536

Gap = tuple[int, int]
"""First and last path sequence of datagrams that the peer did not receive."""


class Lost(NamedTuple):
    """A packet, or one segment of a run, to be sent again."""

    burst: Burst
    offset: int
    """Of the segment's payload in the run's; 0 for a packet."""
    number: int
    """Its global sequence."""
    distance: int
    sent_at: float
    """When it was sent for the first time."""
    is_urgent: bool
    """It passed the queue, and goes before others again."""
    wans: frozenset[int] = frozenset()
    """Path ids it may leave by while one of them is usable; empty: all."""


class SentRun:
    """Consecutive datagrams of one path that carry one burst or a part of it."""

    __slots__ = (
        "burst",
        "count",
        "distance",
        "first",
        "first_sent_at",
        "is_urgent",
        "number",
        "offset",
        "sent_at",
        "shrunk",
        "wans",
    )

    def __init__(
        self,
        burst: Burst,
        *,
        first: int,
        count: int,
        number: int,
        distance: int,
        now: float,
        offset: int = 0,
        first_sent_at: float | None = None,
        is_urgent: bool = False,
        wans: frozenset[int] = frozenset(),
    ) -> None:
        self.burst = burst
        self.first = first
        self.count = count
        self.number = number
        self.distance = distance
        self.offset = offset
        self.sent_at = now
        self.first_sent_at = now if first_sent_at is None else first_sent_at
        self.is_urgent = is_urgent
        self.wans = wans
        self.shrunk: Sequence[tuple[int, bytes]] | None = None
        """What was sent in their place if some were compressed: first bytes and content."""

    def forget_before(self, sequence: int) -> None:
        """Leave out the datagrams before one of this run: they have been judged."""
        skipped = sequence - self.first
        self.first = sequence
        self.count -= skipped
        self.number += skipped
        self.offset += skipped * self.burst.segment_size
        self.distance = 1

    def lost(self, sequence: int) -> Lost:
        """Return the packet that travelled under a path sequence of this run."""
        index = sequence - self.first
        return Lost(
            self.burst,
            self.offset + index * self.burst.segment_size,
            self.number + index,
            1 if index else self.distance,
            self.first_sent_at,
            self.is_urgent,
            self.wans,
        )


class InFlight:
    """One path's runs in the order they were sent; each datagram is judged once, then forgotten."""

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        self._runs: deque[SentRun] = deque()

    def on_sent(self, run: SentRun) -> None:
        """Remember what just left; without any acks the oldest are forgotten."""
        if len(self._runs) == _MOST_RUNS:
            self._runs.popleft()
        self._runs.append(run)

    @property
    def latest(self) -> SentRun:
        """What left last."""
        return self._runs[-1]

    def judge(self, highest: int, gaps: Sequence[Gap], rtt: float, now: float) -> list[Lost]:
        """Return what is lost and young enough to be repaired, by the newest ack.

        Args:
            highest: the highest path sequence the peer has received.
            gaps: what it misses below that, as far as the ack tells.
            rtt: smoothed round trip of the path in seconds.
            now: the caller's clock.
        """
        lost: list[Lost] = []
        runs = self._runs
        while runs:
            run = runs[0]
            is_old = now - run.sent_at > TIME_FACTOR * rtt
            judged = highest if is_old else highest - REORDERING
            if run.first > judged:
                break
            if gaps and now - run.first_sent_at < OLDEST:
                lost += (run.lost(each) for each in _missing(run, gaps) if each <= judged)
            if run.first + run.count > judged + 1:
                run.forget_before(judged + 1)
                break
            runs.popleft()
        return lost

    def take_all(self, now: float) -> list[Lost]:
        """Return everything under way, and expect nothing of it any more."""
        runs, self._runs = self._runs, deque()
        return [
            run.lost(sequence)
            for run in runs
            if now - run.first_sent_at < OLDEST
            for sequence in range(run.first, run.first + run.count)
        ]


class Relapses:
    """Tells when repairs are lost again so often that each had better be sent twice at once."""

    __slots__ = ("_repaired_at",)

    def __init__(self) -> None:
        self._repaired_at: deque[float] = deque(maxlen=_MOST_REPAIRS)

    def are_likely(self, rtt: float, loss: float, now: float) -> bool:
        """Note a repair; say whether one of the last round trip's will be missed once more.

        Args:
            rtt: seconds, of the path that it leaves by.
            loss: share that this path loses.
            now: the caller's clock.
        """
        times = self._repaired_at
        times.append(now)
        while times[0] < now - rtt:
            times.popleft()
        return len(times) * loss >= LIKELY


def _missing(run: SentRun, gaps: Iterable[Gap]) -> Iterable[int]:
    end = run.first + run.count
    for first, last in gaps:
        yield from range(max(first, run.first), min(last + 1, end))
