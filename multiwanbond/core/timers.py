"""Deadlines: many things wait, the caller owns one timer."""

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import Generic, TypeVar

_K = TypeVar("_K")


def earliest(deadlines: Iterable[float | None]) -> float | None:
    """Return the least deadline; None among them, or no deadline at all, means never."""
    least = None
    # A loop: `min` over a generator takes twice as long, and this is asked after every batch.
    for deadline in deadlines:
        if deadline is not None and (least is None or deadline < least):
            least = deadline
    return least


class DeadlineQueue(Generic[_K]):
    """One deadline per key, and the least of all in constant time.

    A changed deadline leaves its old heap entry behind, to be skipped when it comes up: with
    hundreds of peers, looking at each after every batch would cost more than the packets.
    """

    __slots__ = ("_entries", "_heap", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, _K]] = []
        self._entries: dict[_K, tuple[float, int]] = {}
        self._serial = 0

    def set(self, key: _K, deadline: float | None) -> None:
        """Replace the deadline of `key`; None removes it."""
        held = self._entries.get(key)
        if deadline is None:
            self._entries.pop(key, None)
        elif held is None or held[0] != deadline:
            self._serial += 1
            self._entries[key] = (deadline, self._serial)
            heappush(self._heap, (deadline, self._serial, key))

    def earliest(self) -> float | None:
        """Return the least deadline, or None."""
        self._skip_replaced()
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> Iterator[_K]:
        """Yield every key whose deadline has come, without its deadline."""
        while True:
            self._skip_replaced()
            if not self._heap or self._heap[0][0] > now:
                return
            _, _, key = heappop(self._heap)
            del self._entries[key]
            yield key

    def _skip_replaced(self) -> None:
        heap = self._heap
        while heap:
            held = self._entries.get(heap[0][2])
            if held is not None and held[1] == heap[0][1]:
                return
            heappop(heap)
