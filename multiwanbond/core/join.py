"""Segments that travelled one by one become runs again, so that the kernel is called once for all.

A DATA datagram of the form SEGMENT or LAST_SEGMENT carries the run's IP and transport header as it
was read from the TUN device, then the segment's payload. Only the IP length field differs: the
datagram's own length makes it redundant, so it holds the offset of this payload in the run's
payload. Segments of one run thus have equal headers but for two bytes, the sender computes nothing
but that offset, and any one of them is enough to rebuild the packet.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Final

from multiwanbond.core.burst import Burst
from multiwanbond.core.ip import (
    LARGEST_PACKET,
    LENGTH_POSITION,
    check_packet_untrusted,
    header_length_untrusted,
    part_header,
)
from multiwanbond.core.reorder import Plaintext, Released
from multiwanbond.core.wire import DataForm
from multiwanbond.errors import DatagramError, DropReason

Item = tuple[DataForm, bytes | bytearray]
"""The form and the plaintext of one DATA datagram."""

_LENGTH: Final = Struct("!H")
_PARTIAL: Final = DataForm.PARTIAL
_SEGMENT: Final = DataForm.SEGMENT
_LAST: Final = DataForm.LAST_SEGMENT


class Joiner:
    """Turns released items into bursts, and counts what cannot be turned into one.

    Only neighbours are joined: a path delivers a run's segments one after the other, and the
    re-order buffer releases them so.
    """

    __slots__ = ("malformed",)

    def __init__(self) -> None:
        self.malformed = 0
        """Items that were no packet; authentic, so the peer's fault, and left out."""

    def join(self, items: Sequence[Released]) -> list[Burst]:
        """Return the bursts for the TUN device, in order."""
        bursts: list[Burst] = []
        index, count = 0, len(items)
        while index < count:
            form, packet = items[index]
            try:
                if form is _SEGMENT or form is _LAST:
                    index = _join_untrusted(items, index, bursts)
                else:
                    _check_untrusted(form, packet)
                    bursts.append(Burst(packet, is_checksum_partial=form is _PARTIAL))
                    index += 1
            except DatagramError:
                self.malformed += 1
                index += 1
        return bursts


def _check_untrusted(form: DataForm, packet: Plaintext) -> None:
    check_packet_untrusted(packet)
    if form is _PARTIAL:
        # The kernel is told where to put the checksum: there must be such a place.
        header_length_untrusted(packet)


def _join_untrusted(items: Sequence[Released], index: int, bursts: list[Burst]) -> int:
    """Append the burst that begins with the segment at `index`; return the index after it.

    Only the first segment is looked at closely: the others must equal it but for their offset.

    Raises:
        DatagramError: MALFORMED if that segment is none.
    """
    form, first = items[index]
    header_length = header_length_untrusted(first)
    whole = len(first)
    size = whole - header_length
    position = LENGTH_POSITION[first[0] >> 4]
    offset = first[position] << 8 | first[position + 1]
    if not size or whole > LARGEST_PACKET:
        raise DatagramError(DropReason.MALFORMED)
    parts: list[Plaintext] = [b"", first[header_length:]]
    if form is _SEGMENT:
        header = bytearray(first[:header_length])
        place = offset
        # One comparison with the header as it must be, not one per field: a quarter less time.
        room = (LARGEST_PACKET - max(whole, offset)) // size
        for form_here, packet in items[index + 1 : index + 1 + room]:
            place += size
            _LENGTH.pack_into(header, position, place)
            length = len(packet)
            if (
                not packet.startswith(header)
                or not header_length < length <= whole
                or not (form_here is _SEGMENT or form_here is _LAST)
            ):
                break
            parts.append(packet[header_length:])
            form = form_here
            if form is _LAST or length < whole:
                break
    payload_length = size * (len(parts) - 2) + len(parts[-1])
    parts[0] = part_header(
        first[:header_length],
        offset=offset,
        segment_size=size,
        payload_length=payload_length,
        is_end=form is _LAST,
    )
    if len(parts) == 2:
        bursts.append(Burst(b"".join(parts), is_checksum_partial=True))
    else:
        bursts.append(
            Burst(
                b"".join(parts),
                segment_size=size,
                header_length=header_length,
                is_checksum_partial=True,
            )
        )
    return index + len(parts) - 1
