"""When a path may send again: datagrams leave at its rate, a millisecond's worth at a time."""

from typing import Final

AHEAD: Final = 0.001
"""Seconds of its rate that a path may send at once. Less would wake the process more often than
the lines' queues are worth, more would fill the shortest of them."""
BEHIND: Final = 0.002
"""Seconds that a late wake-up may be made up for: epoll counts in whole milliseconds."""
TICK: Final = 0.001
"""Seconds between two wake-ups for sending at least."""


class Pacer:
    """One path's account of time: what was sent pushes the next sending away."""

    __slots__ = ("next_at",)

    def __init__(self, now: float) -> None:
        self.next_at = now
        """When the path may send again."""

    def credit(self, rate: float, now: float) -> float:
        """Return the bytes that may leave now; none while `next_at` is still to come."""
        if self.next_at > now:
            return 0.0
        return (now + AHEAD - max(self.next_at, now - BEHIND)) * rate

    def wait(self, now: float) -> float:
        """Return the seconds until the path may send."""
        return max(self.next_at - now, 0.0)

    def on_sent(self, octets: int, rate: float, now: float) -> None:
        """Account for what leaves now."""
        self.next_at = max(self.next_at, now - BEHIND) + octets / rate
