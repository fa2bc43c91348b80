"""What is made of parity: packets that were lost, from those that were not.

Nothing is kept for a peer that sends no parity. From its first parity on, the latest packets are
remembered; what is kept is bounded, whatever a peer says.
"""

from collections import OrderedDict
from collections.abc import Iterator
from itertools import accumulate
from typing import Final, NamedTuple

from multiwanbond.core.fec.shards import (
    Parity,
    Shard,
    pack_shard,
    recover,
    unpack_shard_untrusted,
)
from multiwanbond.core.settings import MOST_SHARDS
from multiwanbond.errors import DatagramError

MEMORY: Final = 10.0
"""Seconds without parity after which packets are not remembered any more."""
MOST_PACKETS: Final = 4096
MOST_BYTES: Final = 4_000_000
"""Of packets remembered: as many as arrive in 0.3 s at 100 Mbit/s."""
MOST_BLOCKS: Final = 256
"""Blocks that lack more than their parity makes up for; the oldest goes first."""


class Recovered(NamedTuple):
    """A packet that did not arrive."""

    number: int
    """Its global sequence."""
    shard: Shard


class Pending:
    """A block with more packets missing than there is parity for."""

    __slots__ = ("missing", "numbers", "parity")

    def __init__(self, numbers: list[int], missing: set[int]) -> None:
        self.numbers = numbers
        self.missing = missing
        self.parity: dict[int, bytes] = {}  # index -> shard


class ParityDecoder:
    """Remembers packets and parity, and completes blocks."""

    __slots__ = ("_blocks", "_heard_at", "_octets", "_packets", "_wanted", "recovered_packets")

    def __init__(self) -> None:
        self.recovered_packets = 0
        self._heard_at: float | None = None
        self._packets: OrderedDict[int, Shard] = OrderedDict()
        self._octets = 0
        self._blocks: OrderedDict[tuple[int, bytes], Pending] = OrderedDict()
        self._wanted: dict[int, tuple[int, bytes]] = {}  # missing packet -> block

    @property
    def is_active(self) -> bool:
        """True while the peer sends parity: then every packet must be shown to `on_packet`."""
        return self._heard_at is not None

    def on_packet(self, number: int, shard: Shard, now: float) -> list[Recovered]:
        """Remember a packet that arrived; return what can be made up for with it.

        Args:
            number: its global sequence.
            shard: the packet.
            now: the caller's clock.
        """
        if self._heard_at is None:
            return []
        if now - self._heard_at > MEMORY:
            self._forget_all()
            return []
        self._remember(number, shard)
        key = self._wanted.get(number)
        return [] if key is None else list(self._arrived(key, number))

    def on_parity(self, first: int, parity: Parity, now: float) -> list[Recovered]:
        """Take a parity shard; return what can be made up for with it.

        Args:
            first: the whole global sequence of the block's first packet.
            parity: the shard.
            now: the caller's clock.
        """
        self._heard_at = now
        key = (first, parity.gaps)
        block = self._blocks.get(key)
        if block is None:
            numbers = list(accumulate(parity.gaps, initial=first))
            missing = {number for number in numbers if number not in self._packets}
            if not missing:
                return []
            block = self._blocks[key] = Pending(numbers, missing)
            self._wanted.update(dict.fromkeys(missing, key))
            if len(self._blocks) > MOST_BLOCKS:
                self._drop(next(iter(self._blocks)))
        if len(block.parity) < MOST_SHARDS:
            block.parity.setdefault(parity.shard_index, parity.shard)
        return list(self._complete(key, block))

    def _arrived(self, key: tuple[int, bytes], number: int) -> Iterator[Recovered]:
        block = self._blocks[key]
        del self._wanted[number]
        block.missing.discard(number)
        yield from self._complete(key, block)

    def _complete(self, key: tuple[int, bytes], block: Pending) -> Iterator[Recovered]:
        """Yield the missing packets of a block once its parity makes up for them."""
        if len(block.parity) < len(block.missing):
            return
        self._drop(key)
        for number, shard in _recover(block, self._packets):
            self._remember(number, shard)
            self.recovered_packets += 1
            yield Recovered(number, shard)

    def _remember(self, number: int, shard: Shard) -> None:
        packets = self._packets
        known = packets.pop(number, None)
        self._octets += len(shard.plain) - (0 if known is None else len(known.plain))
        packets[number] = shard
        while len(packets) > MOST_PACKETS or self._octets > MOST_BYTES:
            _, oldest = packets.popitem(last=False)
            self._octets -= len(oldest.plain)

    def _drop(self, key: tuple[int, bytes]) -> None:
        for number in self._blocks.pop(key).missing:
            if self._wanted.get(number) == key:
                del self._wanted[number]

    def _forget_all(self) -> None:
        self._heard_at = None
        self._packets.clear()
        self._octets = 0
        self._blocks.clear()
        self._wanted.clear()


def _recover(block: Pending, packets: OrderedDict[int, Shard]) -> list[tuple[int, Shard]]:
    """Return the missing packets of a block; none if its shards do not belong together."""
    size = len(block.numbers)
    shards: dict[int, bytes] = {}
    for place, number in enumerate(block.numbers):
        if number not in block.missing:
            known = packets.get(number)
            if known is None:
                return []  # it was forgotten meanwhile
            shards[place] = pack_shard(known)
    lengths = {len(shard) for shard in block.parity.values()}
    length = max(lengths, default=0)
    if len(lengths) > 1 or any(len(shard) > length for shard in shards.values()):
        return []
    padded = {place: shard.ljust(length, b"\0") for place, shard in shards.items()}
    padded.update((size + index, shard) for index, shard in block.parity.items())
    found = []
    for number, data in zip(block.numbers, recover(size, padded), strict=True):
        if number in block.missing:
            try:
                found.append((number, unpack_shard_untrusted(data)))
            except DatagramError:
                return []
    return found
