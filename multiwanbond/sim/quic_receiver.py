"""The receiving half of a QUIC connection: order, and acknowledgements by RFC 9000."""

from collections.abc import Callable, Iterable
from typing import Final

from .quic_sender import MOST_ACK_DELAY, QuicAck
from .ranges import Ranges
from .world import Timer, World

_PACKETS_PER_ACK: Final = 2
"""RFC 9000, section 13.2.2."""
MOST_RANGES: Final = 32
"""Ranges an ACK frame reports; older ones are forgotten, as section 13.2.3 allows."""


class QuicReceiver:
    """Puts the chunks of a stream in order and acknowledges packets through `send_ack`."""

    def __init__(self, world: World, send_ack: Callable[[QuicAck], None]) -> None:
        self.expected = 0
        """Chunks that have arrived without a hole."""
        self.out_of_order = 0
        """Packets that came before or after their turn."""
        self._world = world
        self._send_ack = send_ack
        self._numbers = Ranges()
        self._chunks = Ranges()
        self._largest = -1
        self._largest_at = world.now
        self._waiting = 0
        self._timer = Timer(world, self._acknowledge)

    def on_packets(self, packets: Iterable[tuple[int, int]]) -> None:
        """Take what one read gave: packet numbers and the chunks in them."""
        now = self._world.now
        is_urgent = False
        for number, chunk in packets:
            if number != self._largest + 1:
                self.out_of_order += 1
                is_urgent = True
            if number > self._largest:
                self._largest, self._largest_at = number, now
            self._numbers.add(number, number + 1)
            if chunk >= self.expected:
                self._chunks.add(chunk, chunk + 1)
            self._waiting += 1
        self._advance()
        if is_urgent or self._waiting >= _PACKETS_PER_ACK:
            self._acknowledge()
        else:
            self._timer.set(now + MOST_ACK_DELAY)

    def _advance(self) -> None:
        first = self._chunks.covering(self.expected)
        if first is not None:
            self.expected = first[1]
            self._chunks.drop_below(self.expected)

    def _acknowledge(self) -> None:
        self._timer.set(None)
        self._waiting = 0
        ranges = self._numbers.keep_newest(MOST_RANGES)
        self._send_ack(QuicAck(ranges, self._world.now - self._largest_at))
