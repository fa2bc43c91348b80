"""The least value of the last seconds, without remembering them all."""

from typing import Final

WINDOW: Final = 10.0
"""Seconds a minimum counts. A queue that our own traffic builds is drained at least this often by
the inner senders' own control; what stays for longer is the line's."""
_BUCKETS: Final = 5
_BUCKET: Final = WINDOW / _BUCKETS


class WindowedMinimum:
    """Minima of the last five times two seconds in which there were values at all."""

    __slots__ = ("_minima", "_started")

    def __init__(self) -> None:
        self._minima: list[float] = []
        self._started = 0.0

    def add(self, value: float, now: float) -> None:
        """Fold in one value."""
        if not self._minima or now - self._started >= _BUCKET:
            self._minima = [*self._minima[1 - _BUCKETS :], value]
            self._started = now
        elif value < self._minima[-1]:
            self._minima[-1] = value

    @property
    def value(self) -> float | None:
        """The least value; None before the first."""
        return min(self._minima) if self._minima else None
