"""Packets of one UDP flow that wait together become a run, as the kernel makes runs of TCP.

Few programs hand UDP over in runs, and routers hardly ever do. But what a run costs, from the queue
to the far end's TUN device, it costs once and not per packet.
"""

from typing import Final

from multiwanbond.core.burst import Burst
from multiwanbond.core.ip import LARGEST_PACKET, UDP

MOST_SEGMENTS: Final = 64
"""The kernel takes no longer runs of UDP before Linux 6.9 (UDP_MAX_SEGMENTS)."""
_IPV4_HEADER: Final = 20 + 8
_IPV6_HEADER: Final = 40 + 8
_NO_CHECKSUM: Final = b"\0\0"


class Gathering:
    """A run that grows by whole packets."""

    __slots__ = ("_is_closed", "_parts", "_size", "header_length", "length")

    def __init__(self, first: Burst, header_length: int) -> None:
        self.header_length: Final = header_length
        self.length = len(first.packet)
        """Bytes of the run so far: one header and all payloads."""
        self._size = len(first.packet) - header_length
        self._parts = [bytes(first.packet)]
        self._is_closed = False

    def add(self, burst: Burst) -> bool:
        """Take another packet of the flow, if a segment of this run can stand for it."""
        packet, header_length = burst.packet, self.header_length
        payload = len(packet) - header_length
        if (
            self._is_closed
            or payload > self._size
            or header_length_of(burst) != header_length
            or not _are_alike(self._parts[0], bytes(packet[:header_length]))
            or self.length + payload > LARGEST_PACKET
        ):
            return False
        self._parts.append(bytes(packet[header_length:]))
        self.length += payload
        self._is_closed = payload < self._size or len(self._parts) == MOST_SEGMENTS
        return True

    def burst(self) -> Burst:
        """Return the run."""
        return Burst(
            b"".join(self._parts),
            segment_size=self._size,
            header_length=self.header_length,
            is_checksum_partial=True,
        )


def header_length_of(burst: Burst) -> int:
    """Return the bytes before a packet's payload; 0 if it must stay a packet by itself.

    Its flow is known to be of UDP with ports in sight, so it is no fragment. A segment gets its
    checksum from who splits the run: what a run is made of must have been found right before, or
    be of our own host, else a broken packet would be declared whole.
    """
    packet = burst.packet
    if burst.segment_size or not (burst.is_checksum_partial or burst.is_checksum_verified):
        return 0
    if packet[0] == 0x45 and packet[9] == UDP:
        length = _IPV4_HEADER
        is_whole = (packet[2] << 8 | packet[3]) == len(packet)
    elif packet[0] >> 4 == 6 and packet[6] == UDP:
        length = _IPV6_HEADER
        is_whole = (packet[4] << 8 | packet[5]) == len(packet) - 40
    else:
        return 0
    has_checksum = burst.is_checksum_partial or packet[length - 2 : length] != _NO_CHECKSUM
    return length if is_whole and has_checksum and len(packet) > length else 0


def _are_alike(packet: bytes, other: bytes) -> bool:
    """Say whether two headers of one flow differ in nothing but lengths, identity, checksums."""
    if packet[0] == 0x45:
        return packet[:2] == other[:2] and packet[6:9] == other[6:9]
    return packet[:4] == other[:4] and packet[7] == other[7]
