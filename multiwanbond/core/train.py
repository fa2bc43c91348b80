"""A train: full datagrams sent back to back, whose spread on arrival tells the line's rate.

Without it a slow line is only discovered once a sender overflows the fast ones, which senders that
model the path (BBR) never do (bonding study, pitfall 12 and section 5.2).
"""

from collections import deque
from typing import Final

from multiwanbond.core.wire import TIME_UNIT, TrainReport, ticks

LENGTH: Final = 24
"""Datagrams: 36 kB, what a mobile plan does not notice and most queues hold."""
LEAST_COUNT: Final = 6
"""Arrivals that a rate can be told from: the first quarter is left out, it may have met nobody."""
SETTLED_AFTER: Final = 0.5
"""Seconds after a train in which reports about it are believed."""
LEAST_SPAN: Final = 2e-3
"""Seconds; what arrives within one or two wake-ups of a busy receiver has no spread that one could
read. So a train shows 100 Mbit/s at most, and the controller finds the rest within moments; with
0.1 ms, lines of 100 Mbit/s were taken for 2000, and lost half of what they were given."""


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

    __slots__ = ("_first_sequence", "_is_wanted", "_last_sequence", "_sent_at", "train_id")

    def __init__(self) -> None:
        self.train_id = 0
        self._sent_at = 0.0
        self._is_wanted = True
        self._first_sequence = self._last_sequence = 0

    def on_sent(self, first_sequence: int, last_sequence: int) -> None:
        """Note the path sequences under which the train left."""
        self._first_sequence, self._last_sequence = first_sequence, last_sequence

    def has(self, sequence: int) -> bool:
        """Say whether a datagram was one of the train: it queued behind others on purpose."""
        return self._first_sequence < sequence <= self._last_sequence

    def want(self) -> None:
        """Ask for a train as soon as the path works: what was known of its rate is void."""
        self._is_wanted = True

    def take_wish(self, now: float) -> bool:
        """Say whether a train is to leave now; if so, under the next id."""
        if not self._is_wanted:
            return False
        self._is_wanted = False
        self.train_id = (self.train_id + 1) & 0xFF
        self._sent_at = now
        return True

    def rate(self, report: TrainReport, now: float) -> float | None:
        """Return bytes a second, or None if the report says nothing about the last train."""
        if report.train_id != self.train_id or report.datagrams < LEAST_COUNT:
            return None
        if now - self._sent_at > SETTLED_AFTER:
            return None
        return report.octets / max(report.span * TIME_UNIT, LEAST_SPAN)


def is_too_short(report: TrainReport) -> bool:
    """Say whether the train arrived within so little time that its rate is only a lower bound."""
    return report.span * TIME_UNIT <= LEAST_SPAN
