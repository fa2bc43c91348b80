"""Trains: full datagrams sent back to back, whose spread on arrival tells the line's rate.

Without it a slow line is only discovered once a sender overflows the fast ones, which senders that
model the path (BBR) never do (bonding study, pitfall 12 and section 5.2).
"""

from collections import deque
from math import inf
from typing import Final, NamedTuple

from multiwanbond.core.frames import TrainReport
from multiwanbond.core.wire import TIME_UNIT, ticks

LENGTH: Final = 24
"""Datagrams: 36 kB, what a mobile plan does not notice and most queues hold."""
COUNT: Final = 3
"""Trains; the rate is their median. A radio that shifts its delay by some milliseconds while one
passes makes a line of 50 Mbit/s look like 11 or like 150, and a sender that models the path then
takes seconds to find out."""
SURE_SPAN: Final = 0.03
"""Seconds of spread in which some milliseconds do not matter: one train is enough. On a way up of
2 Mbit/s another would make everything wait for a seventh of a second."""
LEAST_COUNT: Final = 6
"""Arrivals that a rate can be told from: the first quarter is left out, it may have met nobody."""
SETTLED_AFTER: Final = 0.5
"""Seconds in which the reports about a train are waited for and believed."""
LEAST_SPAN: Final = 2e-3
"""Seconds; what arrives within one or two wake-ups of a busy receiver has no spread that one could
read. So a train shows 100 Mbit/s at most, and the controller finds the rest within moments; with
0.1 ms, lines of 100 Mbit/s were taken for 2000, and lost half of what they were given."""


class TrainRate(NamedTuple):
    """How quickly a line delivers, as far as trains tell."""

    octets_per_second: float
    is_least: bool
    """True if they arrived within so little time that it is only a lower bound."""


class Arriving:
    """The receiving side: the newest train of one path."""

    __slots__ = ("_arrivals", "_has_news", "_train_id")

    def __init__(self) -> None:
        self._train_id: int | None = None
        self._arrivals: deque[tuple[float, int]] = deque(maxlen=LENGTH)
        self._has_news = False

    def on_datagram(self, train_id: int, octets: int, now: float) -> None:
        """Note a datagram of a train; another id begins anew."""
        if train_id != self._train_id:
            self._train_id = train_id
            self._arrivals.clear()
        self._arrivals.append((now, octets))
        self._has_news = True

    def take_report(self, path_id: int) -> TrainReport | None:
        """Return what there is to say and was not said before."""
        if not self._has_news or self._train_id is None:
            return None
        self._has_news = False
        arrivals = list(self._arrivals)
        skipped = len(arrivals) // 4
        first_at = arrivals[skipped][0]
        return TrainReport(
            path_id=path_id,
            train_id=self._train_id,
            datagrams=len(arrivals),
            octets=sum(octets for _, octets in arrivals[skipped + 1 :]),
            span=ticks(arrivals[-1][0]) - ticks(first_at),
        )


class Sent:
    """The sending side: which train is out, and what its reports mean."""

    __slots__ = (
        "_first_sequence",
        "_last_sequence",
        "_rates",
        "_settled_at",
        "_wanted",
        "train_id",
    )

    def __init__(self) -> None:
        self.train_id = 0
        self._settled_at = -inf
        self._wanted = COUNT
        self._rates: dict[int, TrainRate] = {}  # train id -> what its newest report says
        self._first_sequence = self._last_sequence = 0

    def on_sent(self, first_sequence: int, last_sequence: int) -> None:
        """Note the path sequences under which the train left."""
        self._first_sequence, self._last_sequence = first_sequence, last_sequence

    def has(self, sequence: int) -> bool:
        """Say whether a datagram was one of the train: it queued behind others on purpose."""
        return self._first_sequence < sequence <= self._last_sequence

    def want(self) -> None:
        """Ask for trains as soon as the path works: what was known of its rate is void."""
        self._wanted = COUNT
        self._rates.clear()

    def take_wish(self, now: float, *, is_idle: bool) -> bool:
        """Say whether a train is to leave now; if so, under the next id.

        Only the first leaves beside other traffic: later that traffic shows the rate itself.
        """
        if not self._wanted or now < self._settled_at:
            return False
        if self._rates and not is_idle:
            self._wanted = 0
            return False
        self._wanted -= 1
        self.train_id = (self.train_id + 1) & 0xFF
        self._settled_at = now + SETTLED_AFTER
        return True

    def on_report(self, report: TrainReport, now: float) -> TrainRate | None:
        """Return what the trains say so far; None if the report says nothing about the last one."""
        if report.train_id != self.train_id or report.datagrams < LEAST_COUNT:
            return None
        if now > self._settled_at:
            return None
        if report.datagrams == LENGTH:
            self._settled_at = now
        span = report.span * TIME_UNIT
        if span > SURE_SPAN:
            self._wanted = 0
        rate = report.octets / max(span, LEAST_SPAN)
        self._rates[self.train_id] = TrainRate(rate, is_least=span <= LEAST_SPAN)
        return sorted(self._rates.values())[len(self._rates) // 2]
