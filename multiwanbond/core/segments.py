"""Segments of a run on their way: each under the run's header, all of a stretch handled at once.

A DATA datagram of the form SEGMENT or LAST_SEGMENT carries the run's IP and transport header as it
was read from the TUN device, then the segment's payload. Only the IP length field differs: the
datagram's own length makes it redundant, so it holds the offset of this payload in the run's
payload. Segments of one run thus have equal headers but for two bytes, the sender computes nothing
but that offset, and any one of them is enough to rebuild the packet.

What the network did not tear apart is opened as it was sealed, many segments by one call, and lies
then in memory as the kernel wants it: one header, all payloads.
"""

from collections.abc import Callable
from struct import Struct
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag

from multiwanbond.core.burst import Bytes
from multiwanbond.core.handshake import Cipher, TransportSecrets
from multiwanbond.core.ip import LARGEST_PACKET, LENGTH_POSITION, header_length_untrusted
from multiwanbond.core.wire import (
    HEADER_SIZE,
    NONCE,
    OVERHEAD,
    SEQUENCE_BITS,
    TAG_SIZE,
    TRANSPORT_HEADER,
    DataForm,
    DatagramType,
    pack_tail,
)
from multiwanbond.errors import DatagramError

try:
    from multiwanbond.native.run_cipher import RunCipher as _CompiledRunCipher
except ImportError:  # not built here
    COMPILED: "type[_CompiledRunCipher] | None" = None
else:
    COMPILED = _CompiledRunCipher
"""The compiled one; None where there is none."""

Crypt = Callable[[bytes, memoryview, memoryview, memoryview | bytearray], int]
"""`encrypt_into` or `decrypt_into` of an AEAD: nonce, data, associated data, where to."""

SEGMENT: Final = DatagramType.DATA << 4 | DataForm.SEGMENT
LAST_SEGMENT: Final = DatagramType.DATA << 4 | DataForm.LAST_SEGMENT
"""First bytes of such datagrams."""
_SEQUENCE_MASK: Final = (1 << SEQUENCE_BITS) - 1
_LENGTH: Final = Struct("!H")


class Segments:
    """Neighbouring segments of a run as they arrived together: one header, then all payloads."""

    __slots__ = ("header_length", "packet", "segment_size")

    def __init__(self, packet: bytearray, header_length: int, segment_size: int) -> None:
        self.packet: Final = packet
        """The header's length field holds the offset of the first payload in the run's."""
        self.header_length: Final = header_length
        self.segment_size: Final = segment_size
        """Payload bytes of each but perhaps the last."""

    @property
    def payload_length(self) -> int:
        """Payload bytes of all."""
        return len(self.packet) - self.header_length

    def split(self) -> list[bytearray]:
        """Return the plaintexts as if each segment had been opened by itself."""
        header, size = self.packet[: self.header_length], self.segment_size
        position = LENGTH_POSITION[header[0] >> 4]
        (begin,) = _LENGTH.unpack_from(header, position)
        plaintexts = []
        for offset in range(0, self.payload_length, size):
            _LENGTH.pack_into(header, position, begin + offset)
            start = self.header_length + offset
            plaintexts.append(header + self.packet[start : start + size])
        return plaintexts


class RunCipher(Protocol):
    """Seals and opens segments of runs under one pair of keys."""

    def seal(
        self,
        session: int,
        view: memoryview,
        start: int,
        packet: Bytes,
        header_length: int,
        segment_size: int,
        offset: int,
        count: int,
        path_id: int,
        sequence: int,
        number: int,
        distance: int,
        timestamp: int,
        /,
    ) -> None:
        """Lay out segments of a run as datagrams end to end, and seal them.

        Args:
            session: the receiver's name for the key.
            view: where to, with room for all.
            start: where the first is to lie in it.
            packet: the run.
            header_length: of the run.
            segment_size: payload bytes of each segment but perhaps the run's last.
            offset: of the first segment's payload in the run's.
            count: how many.
            path_id: the path they leave by.
            sequence: path sequence of the first; the others follow.
            number: global sequence of the first.
            distance: from the first to its flow's previous packet; 0: not ordered.
            timestamp: see `wire.ticks`.
        """

    def open_untrusted(
        self, view: memoryview, start: int, size: int, sequence: int, /
    ) -> tuple[int, bytearray | None, int, int]:
        """Open datagrams that lie end to end and claim to be neighbouring segments of one run.

        Args:
            view: one socket read.
            start: where the first one lies; it is a DATA datagram of the form SEGMENT.
            size: bytes of each but perhaps the last.
            sequence: path sequence of the first, expanded.

        Returns:
            How many they are, at least 1; what `Segments` needs if there are several, all of them
            authentic and what their headers say, else None and zeros.
        """


class InterpretedRunCipher:
    """The one that is there everywhere; `native/run_cipher.c` does the same."""

    __slots__ = ("_decrypt_into", "_encrypt_into")

    def __init__(self, encrypt_into: Crypt, decrypt_into: Crypt) -> None:
        self._encrypt_into = encrypt_into
        self._decrypt_into = decrypt_into

    def seal(
        self,
        session: int,
        view: memoryview,
        start: int,
        packet: Bytes,
        header_length: int,
        segment_size: int,
        offset: int,
        count: int,
        path_id: int,
        sequence: int,
        number: int,
        distance: int,
        timestamp: int,
        /,
    ) -> None:
        """See `RunCipher`."""
        packet = memoryview(packet)
        header = bytearray(packet[:header_length])
        position = LENGTH_POSITION[header[0] >> 4]
        for _ in range(count):
            begin = header_length + offset
            part = packet[begin : begin + segment_size]
            first = SEGMENT if begin + segment_size < len(packet) else LAST_SEGMENT
            TRANSPORT_HEADER.pack_into(
                view,
                start,
                first,
                path_id,
                session,
                sequence & _SEQUENCE_MASK,
                pack_tail(timestamp, number, distance),
            )
            _LENGTH.pack_into(header, position, offset)
            body = start + HEADER_SIZE
            end = body + header_length + len(part)
            view[body : body + header_length] = header
            view[body + header_length : end] = part
            self._encrypt_into(
                NONCE.pack(path_id, sequence),
                view[body:end],
                view[start:body],
                view[body : end + TAG_SIZE],
            )
            start = end + TAG_SIZE
            offset += segment_size
            sequence += 1
            number += 1
            distance = 1

    def open_untrusted(
        self, view: memoryview, start: int, size: int, sequence: int, /
    ) -> tuple[int, bytearray | None, int, int]:
        """See `RunCipher`."""
        count = _count_neighbours(view, start, size)
        if count > 1:
            try:
                return self._open_all(view, start, size, count, sequence)
            except (InvalidTag, DatagramError, ValueError):  # ValueError: too short
                pass
        return count, None, 0, 0

    def _open_all(
        self, view: memoryview, start: int, size: int, count: int, sequence: int
    ) -> tuple[int, bytearray | None, int, int]:
        path_id = view[start + 1]
        body, end = start + HEADER_SIZE, start + size
        first = bytearray(size - OVERHEAD)
        self._decrypt_into(NONCE.pack(path_id, sequence), view[body:end], view[start:body], first)
        header_length = header_length_untrusted(first)
        payload = len(first) - header_length
        begin = start + (count - 1) * size
        last = min(len(view) - begin, size) - OVERHEAD - header_length
        length = header_length + (count - 1) * payload + last
        header = first[:header_length]
        position = LENGTH_POSITION[header[0] >> 4]
        (offset,) = _LENGTH.unpack_from(header, position)
        if payload <= 0 or last <= 0 or offset + length > LARGEST_PACKET:
            return count, None, 0, 0
        packet = bytearray(length)
        whole = memoryview(packet)
        # Backwards: each header ends up where the payload before it is then put.
        for index in range(count - 1, 0, -1):
            begin = start + index * size
            body, end = begin + HEADER_SIZE, min(begin + size, len(view))
            place = index * payload
            plain = whole[place : place + end - begin - OVERHEAD]
            nonce = NONCE.pack(path_id, sequence + index)
            self._decrypt_into(nonce, view[body:end], view[begin:body], plain)
            _LENGTH.pack_into(header, position, offset + place)
            if plain[:header_length] != header:
                return count, None, 0, 0
        whole[: len(first)] = first
        return count, packet, header_length, payload


def _count_neighbours(view: memoryview, start: int, size: int) -> int:
    """Return how many headers from `start` on are those of neighbours."""
    _, path_id, session, low, tail = TRANSPORT_HEADER.unpack_from(view, start)
    stamp, number = tail & ~0xFFFFFFFFFF, tail >> 16 & 0xFFFFFF
    count, place = 1, start + size
    while place + HEADER_SIZE <= len(view):
        low = low + 1 & _SEQUENCE_MASK
        number = number + 1 & 0xFFFFFF
        first, *there = TRANSPORT_HEADER.unpack_from(view, place)
        if there != [path_id, session, low, stamp | number << 16 | 1]:
            break
        if first != SEGMENT and first != LAST_SEGMENT:
            break
        count += 1
        if first == LAST_SEGMENT:
            break
        place += size
    return count


def run_cipher(
    secrets: TransportSecrets, cipher: Cipher, encrypt_into: Crypt, decrypt_into: Crypt
) -> RunCipher:
    """Return the quickest there is here for a pair of keys.

    Args:
        secrets: the keys.
        cipher: what they are for.
        encrypt_into: of that AEAD under the key to send with.
        decrypt_into: of that AEAD under the key to receive with.
    """
    if COMPILED is None:
        return InterpretedRunCipher(encrypt_into, decrypt_into)
    return COMPILED(cipher is Cipher.AES_256_GCM, secrets.send, secrets.receive)
