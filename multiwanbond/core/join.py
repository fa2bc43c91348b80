"""Segments that travelled apart become runs again, so that the kernel is called once for all."""

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
from multiwanbond.core.segments import Segments
from multiwanbond.core.wire import DataForm
from multiwanbond.errors import DatagramError, DropReason

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
                    assert not isinstance(packet, Segments)  # whose form is that of segments
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
    """Append the burst that begins with the segments at `index`; return the index after it.

    Only the first segment is looked at closely: the others must equal it but for their offset.

    Raises:
        DatagramError: MALFORMED if that segment is none.
    """
    form, first = items[index]
    packet: Plaintext
    more: Plaintext
    if isinstance(first, Segments):
        packet, header_length, size = first.packet, first.header_length, first.segment_size
    else:
        packet, header_length = first, header_length_untrusted(first)
        size = len(packet) - header_length
    position = LENGTH_POSITION[packet[0] >> 4]
    offset = packet[position] << 8 | packet[position + 1]
    length = len(packet)
    if not size or length > LARGEST_PACKET:
        raise DatagramError(DropReason.MALFORMED)
    # It grows in place: a run that came by one read is not copied at all.
    whole = packet if isinstance(packet, bytearray) else bytearray(packet)
    header = whole[:header_length]
    # What follows: one comparison with the header as it must be, not one per field.
    while form is _SEGMENT and not (length - header_length) % size and index + 1 < len(items):
        place = offset + length - header_length
        form_here, there = items[index + 1]
        if isinstance(there, Segments):
            more, most = there.packet, LARGEST_PACKET if there.segment_size == size else 0
        else:
            more, most = there, size
        added = len(more) - header_length
        if max(length, place) + added > LARGEST_PACKET:
            break
        _LENGTH.pack_into(header, position, place)
        if (
            not more.startswith(header)
            or not 0 < added <= most
            or not (form_here is _SEGMENT or form_here is _LAST)
        ):
            break
        whole += memoryview(more)[header_length:]
        length += added
        form = form_here
        index += 1
    whole[:header_length] = part_header(
        whole[:header_length],
        offset=offset,
        segment_size=size,
        payload_length=length - header_length,
        is_end=form is _LAST,
    )
    is_run = length - header_length > size
    bursts.append(
        Burst(
            whole,
            segment_size=size if is_run else 0,
            header_length=header_length if is_run else 0,
            is_checksum_partial=True,
        )
    )
    return index + 1
