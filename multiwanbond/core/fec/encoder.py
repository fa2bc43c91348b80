"""When parity leaves, and how much of it."""

from math import comb
from typing import Final, NamedTuple

from multiwanbond.core.fec.shards import MOST_GAP, Parity, Shard, pack_shard, parity_of
from multiwanbond.core.path import Path
from multiwanbond.core.settings import FecSettings

FLUSH: Final = 0.06
"""Seconds after its first packet that a block gets its parity, complete or not: four packets of a
call fit in, and a player's buffer is rarely shorter."""
LEAST_LOSS: Final = 0.001
"""Share lost from which on `redundancy: auto` sends parity at all."""
RESIDUAL: Final = 0.001
"""Share of packets that may still be missing with it, were losses independent."""
_GLOBAL_MASK: Final = 0xFFFFFF


class Protection(NamedTuple):
    """Parity that is to leave, and the paths that carried the packets it protects."""

    parity: list[Parity]
    carriers: frozenset[Path]


class Block:
    """Packets that will get parity together."""

    __slots__ = ("carriers", "first", "gaps", "last", "opened_at", "shards")

    def __init__(self, first: int, now: float) -> None:
        self.first = self.last = first
        self.gaps = bytearray()
        self.shards: list[bytes] = []
        self.carriers: set[Path] = set()
        self.opened_at = now


class ParityEncoder:
    """Gathers the packets that leave into blocks, and says what parity follows them."""

    __slots__ = ("_block", "_credit", "_finished", "settings")

    def __init__(self, settings: FecSettings) -> None:
        self.settings = settings
        """May be changed at any time."""
        self._block: Block | None = None
        self._finished: list[Block] = []
        self._credit = 0.0  # parity shards earned and not sent yet

    def add(self, number: int, shard: Shard, path: Path, now: float) -> None:
        """A packet leaves.

        Args:
            number: its global sequence; greater than those before.
            shard: the packet.
            path: the path it leaves by.
            now: the caller's clock.
        """
        block = self._block
        if block is not None and number - block.last > MOST_GAP:
            self._finish()
            block = None
        if block is None:
            block = self._block = Block(number, now)
        else:
            block.gaps.append(number - block.last)
        block.last = number
        block.shards.append(pack_shard(shard))
        block.carriers.add(path)
        if len(block.shards) >= self.settings.data_shards:
            self._finish()

    def _finish(self) -> None:
        if self._block is not None:
            self._finished.append(self._block)
            self._block = None

    def take(self, now: float) -> list[Protection]:
        """Return the parity that is due."""
        due_at = self.deadline()
        if due_at is not None and due_at <= now:
            self._finish()
        if not self._finished:
            return []
        finished, self._finished = self._finished, []
        protections = (self._protect(block, now) for block in finished)
        return [each for each in protections if each.parity]

    def _protect(self, block: Block, now: float) -> Protection:
        count = self._count(block, now)
        shards = parity_of(block.shards, count) if count else []
        parity = [
            Parity(block.first & _GLOBAL_MASK, bytes(block.gaps), index, shard)
            for index, shard in enumerate(shards)
        ]
        return Protection(parity, frozenset(block.carriers))

    def _count(self, block: Block, now: float) -> int:
        """Return how many parity shards a block gets."""
        size, most = len(block.shards), self.settings.parity_shards
        if self.settings.redundancy is None:
            return needed(size, max(path.loss(now) for path in block.carriers), most)
        self._credit += size * self.settings.redundancy
        count = min(int(self._credit + 1e-9), most)
        # What a block could not get for the limit is not made up for later.
        self._credit = min(self._credit - count, 1.0)
        return count

    def deadline(self) -> float | None:
        """When `take` has something even if nothing more leaves."""
        return None if self._block is None else self._block.opened_at + FLUSH


def needed(size: int, loss: float, most: int) -> int:
    """Return the parity shards for a block of `size` packets on lines that lose this share."""
    if loss < LEAST_LOSS:
        return 0
    for count in range(1, most):
        if residual_loss(size, count, loss) <= RESIDUAL:
            return count
    return most


def residual_loss(size: int, parity: int, loss: float) -> float:
    """Return the share of packets missing after decoding, were losses independent.

    A packet is missing if it is lost and more than `parity` - 1 of the block's others are.
    """
    others = size + parity - 1
    kept = sum(
        comb(others, lost) * loss**lost * (1 - loss) ** (others - lost) for lost in range(parity)
    )
    return loss * (1 - kept)
