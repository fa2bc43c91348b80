"""How a stream grew at its receiver, and what a user would notice of that."""

from itertools import pairwise
from typing import Final


class Growth:
    """What transfers of every kind have in common: a stream that arrives."""

    def __init__(self) -> None:
        self.progress: Final[list[tuple[float, int]]] = []
        """When the stream grew, and how many bytes it was long then."""

    def goodput(self, start: float, end: float) -> float:
        """Return bytes per second that arrived in order between two points of the world's time."""
        return (self._length_at(end) - self._length_at(start)) / (end - start)

    def longest_stall(self, start: float, end: float) -> float:
        """Return the longest time between two growths of the stream within a stretch of time."""
        times = [at for at, _ in self.progress if start <= at <= end]
        return max(right - left for left, right in pairwise([start, *times, end]))

    def _length_at(self, when: float) -> int:
        return max((length for at, length in self.progress if at <= when), default=0)
