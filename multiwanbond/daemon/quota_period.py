"""When quotas begin anew, by a clock that may be wrong.

A router without a battery believes to be in 1970 until it has asked somebody, and one whose battery
is empty in any year. So the wall clock only ever ends a period, and only one that was known to end
by then, and only after it has run evenly for a while.
"""

from calendar import monthrange
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Final

from multiwanbond.config.metered import QuotaPeriod

TRUST_AFTER: Final = 600.0
"""Seconds a clock must have run evenly before it ends a period: one that is wrong at boot has been
set right by then."""
DOUBT_AFTER: Final = 86_400.0
"""Seconds a clock must have run evenly before we believe it that a period ends earlier than we
thought: then it was wrong when that period began."""
EARLIEST: Final = date(2026, 1, 1)
"""A clock that says less is wrong: this was written later."""
JUMP: Final = 30.0
"""Seconds that the clock may gain or lose between two looks; more is a jump."""


class Calendar:
    """Today's date, and for how long the clock that says so has run evenly."""

    def __init__(self, wall: Callable[[], datetime], now: float) -> None:
        """Take what returns the local time, with its zone, and the caller's own even clock."""
        self._wall = wall
        self._offset = 0.0
        self._even_since = now
        self.today = EARLIEST
        self.look(now)

    def look(self, now: float) -> None:
        """Read the clock; call it every few seconds."""
        wall = self._wall()
        offset = wall.timestamp() - now
        if abs(offset - self._offset) > JUMP:
            self._even_since = now
        self._offset = offset
        self.today = wall.date()

    def even_for(self, now: float) -> float:
        """Return for how many seconds the clock has not jumped."""
        return now - self._even_since

    @property
    def is_possible(self) -> bool:
        """False while the clock has obviously not been set."""
        return self.today >= EARLIEST


def begin_of(today: date, period: QuotaPeriod, day: int) -> date:
    """Return on which day the period began that `today` is in."""
    if period is QuotaPeriod.DAY:
        return today
    begin = _day_of(today.year, today.month, day)
    if begin <= today:
        return begin
    last_month = today.replace(day=1) - timedelta(days=1)
    return _day_of(last_month.year, last_month.month, day)


def end_of(today: date, period: QuotaPeriod, day: int) -> date:
    """Return on which day the next one begins."""
    if period is QuotaPeriod.DAY:
        return today + timedelta(days=1)
    end = _day_of(today.year, today.month, day)
    if end > today:
        return end
    next_month = today.replace(day=28) + timedelta(days=4)
    return _day_of(next_month.year, next_month.month, day)


def _day_of(year: int, month: int, day: int) -> date:
    """Return that day of a month, or its last one if it is shorter."""
    return date(year, month, min(day, monthrange(year, month)[1]))
