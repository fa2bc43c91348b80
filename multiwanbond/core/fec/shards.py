"""Blocks of packets and their parity, by Reed-Solomon codes over GF(256) (zfec; RFC 5510).

Packets of a block may be of unequal size. Each is made a shard: what a DATA datagram says of it,
its bytes, and zeros up to the longest of the block. Of k shards and any number of parity shards,
any k give back all.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

import zfec

from multiwanbond.core.burst import Bytes
from multiwanbond.core.settings import MOST_SHARDS
from multiwanbond.core.wire import FORM_MASK, DataForm
from multiwanbond.errors import DatagramError, DropReason

MOST_GAP: Final = 0xFF
"""Global sequences between two packets of a block at most."""

# --- a shard -----------------------------------------------------------------------------------
# offset size
#      0    2  bytes of the packet
#      2    1  its `DataForm`
#      3    2  distance to the global sequence of its flow's previous packet
#      5       the packet (of a segment: under its run's header), then zeros

_SHARD_HEAD: Final = Struct("!HBH")

# --- the plaintext of a PARITY datagram --------------------------------------------------------
# offset size
#      0    4  global sequence of the block's first packet, low 24 bits
#      4    1  k, packets of the block
#      5    1  which parity shard, from 0
#      6  k-1  distance of each further packet's global sequence from the one before it
#    5+k       the parity shard

_PARITY_HEAD: Final = Struct("!IBB")

RESERVED: Final = _SHARD_HEAD.size + _PARITY_HEAD.size + MOST_SHARDS - 1
"""Bytes by which a parity datagram may be longer than the longest packet it protects."""

_FORMS: Final = tuple(DataForm)


class Shard(NamedTuple):
    """One packet as a DATA datagram carries it."""

    form: DataForm
    distance: int
    plain: bytes | bytearray


class Parity(NamedTuple):
    """One parity shard, and the packets that it was computed from."""

    first: int
    """Low 24 bits of the first packet's global sequence."""
    gaps: bytes
    """Distance of each further packet's global sequence from the one before it."""
    shard_index: int
    shard: bytes

    @property
    def size(self) -> int:
        """How many packets the block has (k)."""
        return len(self.gaps) + 1


def pack_shard(shard: Shard) -> bytes:
    """Return the bytes that parity is computed from, still without zeros behind them."""
    return _SHARD_HEAD.pack(len(shard.plain), shard.form, shard.distance) + shard.plain


def unpack_shard_untrusted(data: bytes) -> Shard:
    """Return the packet in a recovered shard.

    Raises:
        DatagramError: MALFORMED.
    """
    size, form, distance = _SHARD_HEAD.unpack_from(data)
    end = _SHARD_HEAD.size + size
    if form > FORM_MASK or end > len(data):
        raise DatagramError(DropReason.MALFORMED)
    return Shard(_FORMS[form], distance, data[_SHARD_HEAD.size : end])


def encode_parity(parity: Parity) -> bytes:
    """Return the plaintext of a PARITY datagram."""
    head = _PARITY_HEAD.pack(parity.first, parity.size, parity.shard_index)
    return head + parity.gaps + parity.shard


def decode_parity_untrusted(plain: Bytes) -> Parity:
    """Return what a PARITY datagram says.

    Raises:
        DatagramError: MALFORMED.
    """
    if len(plain) < _PARITY_HEAD.size + _SHARD_HEAD.size:
        raise DatagramError(DropReason.MALFORMED)
    first, size, index = _PARITY_HEAD.unpack_from(plain)
    begin = _PARITY_HEAD.size + size - 1
    is_sound = (
        first <= 0xFFFFFF
        and 1 <= size <= MOST_SHARDS
        and index < MOST_SHARDS
        and len(plain) >= begin + _SHARD_HEAD.size
    )
    gaps = bytes(plain[_PARITY_HEAD.size : begin])
    if not is_sound or 0 in gaps:
        raise DatagramError(DropReason.MALFORMED)
    return Parity(first, gaps, index, bytes(plain[begin:]))


def parity_of(shards: Sequence[bytes], count: int) -> list[bytes]:
    """Return `count` parity shards of packed shards; each is as long as the longest of them."""
    length = max(map(len, shards))
    padded = tuple(shard.ljust(length, b"\0") for shard in shards)
    size = len(shards)
    found: list[bytes] = _encoder(size).encode(padded, tuple(range(size, size + count)))
    return found


def recover(size: int, shards: Mapping[int, bytes]) -> list[bytes]:
    """Return all shards of a block of `size` packets, zeros behind the short ones included.

    Args:
        size: k.
        shards: at least k of them, all of one length: packets by their place in the block, parity
            shards by k and their index.
    """
    chosen = sorted(shards)[:size]
    # zfec loops for ever on a number that comes twice, and returns rubbish for one out of range.
    assert len(chosen) == size
    assert 0 <= chosen[0] <= chosen[-1] < size + MOST_SHARDS
    found: list[bytes] = _decoder(size).decode(tuple(shards[each] for each in chosen), chosen)
    return found


# A parity shard does not depend on how many there are, so one code per k is enough.


@lru_cache(maxsize=MOST_SHARDS)
def _encoder(size: int) -> "zfec.Encoder":
    return zfec.Encoder(size, size + MOST_SHARDS)


@lru_cache(maxsize=MOST_SHARDS)
def _decoder(size: int) -> "zfec.Decoder":
    return zfec.Decoder(size, size + MOST_SHARDS)
