"""A set of integers kept as disjoint ranges: what has arrived of a stream, for instance."""

from bisect import bisect_left, bisect_right


class Ranges:
    """Half-open ranges [low, high), disjoint, not touching, in order."""

    __slots__ = ("_highs", "_lows")

    def __init__(self) -> None:
        self._lows: list[int] = []
        self._highs: list[int] = []

    def __len__(self) -> int:
        return len(self._lows)

    def size(self) -> int:
        """Return how many integers are in."""
        return sum(self._highs) - sum(self._lows)

    def add(self, low: int, high: int) -> list[tuple[int, int]]:
        """Include [low, high) and return the parts of it that were not in before."""
        lows, highs = self._lows, self._highs
        first, last = bisect_left(highs, low), bisect_right(lows, high)
        if first + 1 == last and lows[first] <= low:
            # One range takes it in: an acknowledgement repeated, or what comes in order.
            end = highs[first]
            if high <= end:
                return []
            highs[first] = high
            return [(end, high)]
        fresh = []
        at = low
        for index in range(first, last):
            if lows[index] > at:
                fresh.append((at, lows[index]))
            at = max(at, highs[index])
        if at < high:
            fresh.append((at, high))
        if first < last:
            low, high = min(low, lows[first]), max(high, highs[last - 1])
        lows[first:last] = [low]
        highs[first:last] = [high]
        return fresh

    def drop_below(self, bound: int) -> None:
        """Forget everything under `bound`."""
        gone = bisect_right(self._highs, bound)
        del self._lows[:gone]
        del self._highs[:gone]
        if self._lows and self._lows[0] < bound:
            self._lows[0] = bound

    def keep_newest(self, count: int) -> list[tuple[int, int]]:
        """Forget all but the `count` highest ranges and return these, in order."""
        if len(self._lows) > count:
            del self._lows[:-count]
            del self._highs[:-count]
        return list(zip(self._lows, self._highs, strict=True))

    def covering(self, value: int) -> tuple[int, int] | None:
        """Return the range `value` is in."""
        index = bisect_right(self._lows, value) - 1
        if index < 0 or self._highs[index] <= value:
            return None
        return self._lows[index], self._highs[index]
