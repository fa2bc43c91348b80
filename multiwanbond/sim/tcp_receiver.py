"""The receiving half of a TCP connection: order, acknowledgements, what they say."""

from collections.abc import Callable
from typing import Final, NamedTuple

from .ranges import Ranges
from .world import Timer, World

# From Linux: TCP_DELACK_MIN, TCP_MAX_QUICKACKS.
_DELAYED_ACK: Final = 0.04
_QUICK_ACKS: Final = 16

MOST_BLOCKS: Final = 3
"""SACK blocks that fit beside timestamps (RFC 2018, section 3)."""


class ByteAck(NamedTuple):
    """An acknowledgement in bytes of the stream."""

    expected: int
    """First byte that has not arrived."""
    blocks: tuple[tuple[int, int], ...]
    """SACK blocks; the first is a DSACK if it ends at or below `expected`, or is in the next."""


class TcpReceiver:
    """Puts a stream together and acknowledges it through `send_ack`."""

    def __init__(self, world: World, send_ack: Callable[[ByteAck], None], *, mss: int) -> None:
        self.expected = 0
        """Bytes that have arrived without a hole."""
        self.duplicates = 0
        """Bursts that brought nothing new."""
        self.out_of_order = 0
        """Bursts that came before an earlier one."""
        self._world = world
        self._send_ack = send_ack
        self._mss = mss
        self._arrived = Ranges()
        self._recent: list[int] = []
        self._acknowledged = 0
        self._quick_acks = _QUICK_ACKS
        self._timer = Timer(world, self._acknowledge)

    def on_data(self, low: int, high: int) -> None:
        """Take bytes `low` to `high` of the stream."""
        duplicate = self._add(low, high)
        had_hole = bool(self._recent)
        self._advance()
        if low > self.expected:
            self.out_of_order += 1
            self._recent.insert(0, low)
        is_urgent = duplicate is not None or had_hole or bool(self._recent)
        if is_urgent or self._quick_acks or self.expected - self._acknowledged > self._mss:
            self._acknowledge(duplicate)
        elif self.expected > self._acknowledged:
            self._timer.set(self._world.now + _DELAYED_ACK)

    def _add(self, low: int, high: int) -> tuple[int, int] | None:
        """Note bytes that arrived; return the first part of them that had been here before."""
        if low < self.expected:
            if high > self.expected:
                self._arrived.add(self.expected, high)
            else:
                self.duplicates += 1
            return low, min(high, self.expected)
        at = low
        for start, end in self._arrived.add(low, high):
            if start > at:
                return at, start
            at = end
        if at == high:
            return None
        self.duplicates += at == low
        return at, high

    def _advance(self) -> None:
        """Move past everything that has arrived without a hole."""
        first = self._arrived.covering(self.expected)
        if first is None:
            return
        self.expected = first[1]
        self._arrived.drop_below(self.expected)

    def _acknowledge(self, duplicate: tuple[int, int] | None = None) -> None:
        self._timer.set(None)
        self._quick_acks = max(0, self._quick_acks - 1)
        self._acknowledged = self.expected
        blocks = [duplicate] if duplicate is not None else []
        recent: list[int] = []
        for place in self._recent:
            block = self._arrived.covering(place)
            if block is None:
                continue
            recent.append(place)
            if block not in blocks and len(blocks) < MOST_BLOCKS:
                blocks.append(block)
        self._recent = recent[: 2 * MOST_BLOCKS]
        self._send_ack(ByteAck(self.expected, tuple(blocks)))
