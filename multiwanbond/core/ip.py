"""What we need to know of inner packets: addresses, flow, header length, checksums, segments.

Everything is read at fixed offsets from the packet's first bytes: this runs for every packet. A
TCP or UDP header directly after the IP header is understood; IPv6 extension headers are not
followed, such a packet is carried like any other but never belongs to a run.
"""

from collections.abc import Mapping
from struct import Struct
from typing import Final, NamedTuple

from multiwanbond.core.burst import Burst, Bytes
from multiwanbond.errors import DatagramError, DropReason

# --- from a specification --------------------------------------------------------------------

TCP: Final = 6
UDP: Final = 17
LARGEST_PACKET: Final = 65535
"""IPv4's total length has 16 bits (RFC 791, section 3.1)."""
LENGTH_POSITION: Final[Mapping[int, int]] = {4: 2, 6: 4}
"""Where the IP header keeps its 16-bit length, by version (RFC 791, 3.1; RFC 8200, 3)."""

_WITH_PORTS: Final = frozenset((TCP, UDP, 33, 132, 136))
"""TCP, UDP, DCCP, SCTP, UDP-Lite: their headers begin with source and destination port."""
_IPV4_HEADER: Final = 20
_IPV6_HEADER: Final = 40
_TCP_HEADER: Final = 20
_UDP_HEADER: Final = 8
_CHECKSUM_OFFSET: Final[Mapping[int, int]] = {TCP: 16, UDP: 6}
_FRAGMENT: Final = 0x3FFF
"""IPv4's "more fragments" and fragment offset: a packet with neither is whole."""
_TCP_SEQUENCE: Final = 4
_TCP_FLAGS: Final = 13
_FIN_PSH: Final = 0x09
_CWR: Final = 0x80
_SEQUENCE_MASK: Final = 0xFFFFFFFF
_HALF: Final = 1 << 31
_TCP_ACK: Final = 0x10
_TCP_ACTS: Final = 0x37
"""FIN, SYN, RST, ACK and URG: of these a pure ack has one."""

_ECN: Final = 0x03
"""Low bits of the type of service; both set: congestion experienced."""
_U16: Final = Struct("!H")
_U32: Final = Struct("!I")
_TCP_FIELDS: Final = Struct("!IIIBB")
"""Both ports, sequence, acknowledgement, header length, flags."""
_IPV4_ID: Final = 4
_IPV4_CHECKSUM: Final = 10

# --- chosen by us ----------------------------------------------------------------------------

_HEAD: Final = 60 + 4
"""Bytes of a packet that hold the longest IPv4 header and the ports behind it."""


def ip_version(packet: Bytes) -> int:
    """Return 4 or 6; of a packet known to be one of both."""
    return packet[0] >> 4


def destination(packet: Bytes) -> bytes:
    """Return the packed destination address (4 or 16 bytes); nothing if it is no IP packet.

    Some programs write frames that are no IP packets to any interface they see (LLDP, ARP); they
    are nobody's error and belong to no peer.
    """
    size = len(packet)
    if size >= _IPV4_HEADER:
        version = packet[0] >> 4
        if version == 4:
            return bytes(packet[16:20])
        if version == 6 and size >= _IPV6_HEADER:
            return bytes(packet[24:40])
    return b""


def source_untrusted(packet: Bytes) -> bytes:
    """Return the packed source address (4 or 16 bytes).

    Raises:
        DatagramError: MALFORMED if it is no IP packet.
    """
    size = len(packet)
    if size >= _IPV4_HEADER:
        version = packet[0] >> 4
        if version == 4:
            return bytes(packet[12:16])
        if version == 6 and size >= _IPV6_HEADER:
            return bytes(packet[8:24])
    raise DatagramError(DropReason.MALFORMED)


def flow_key(packet: Bytes) -> bytes:
    """Return what the packets of one flow have in common and no other flow has.

    Protocol, addresses and ports: 13 bytes with IPv4, 37 with IPv6. Fragments lack the ports (only
    the first has them, and all must share one flow), as do protocols without ports and packets
    with IPv6 extension headers: 9 and 33 bytes. Anything that is no IP packet is one flow.
    """
    if type(packet) is not bytes:
        packet = bytes(packet[:_HEAD])
    size = len(packet)
    if size >= 24 and packet[0] == 0x45:
        if packet[9] in _WITH_PORTS and not (packet[6] << 8 | packet[7]) & _FRAGMENT:
            return packet[9:10] + packet[12:24]
        return packet[9:10] + packet[12:20]
    if size >= _IPV6_HEADER and packet[0] >> 4 == 6:
        if packet[6] in _WITH_PORTS and size >= _IPV6_HEADER + 4:
            return packet[6:7] + packet[8:44]
        return packet[6:7] + packet[8:40]
    return _flow_key_of_odd_ipv4(packet)


def hosts_of(key: bytes) -> tuple[bytes, bytes] | None:
    """Return source and destination of a flow's key, packed; None of what is no IP packet."""
    match len(key):
        case 9 | 13:
            return key[1:5], key[5:9]
        case 33 | 37:
            return key[1:17], key[17:33]
    return None


def ports_of(key: bytes) -> tuple[int, int] | None:
    """Return source and destination port of a flow's key; None where it has none."""
    if len(key) not in (13, 37):
        return None
    return int.from_bytes(key[-4:-2], "big"), int.from_bytes(key[-2:], "big")


def _flow_key_of_odd_ipv4(packet: bytes) -> bytes:
    """Return the key of a packet with IPv4 options, or too short for ports, or not IP at all."""
    if len(packet) < _IPV4_HEADER or packet[0] >> 4 != 4:
        return b""
    key = packet[9:10] + packet[12:20]
    ports = packet[(packet[0] & 15) * 4 :][:4]
    is_fragment = (packet[6] << 8 | packet[7]) & _FRAGMENT
    if packet[9] in _WITH_PORTS and not is_fragment and len(ports) == 4:
        key += ports
    return key


def reverse_key(key: bytes) -> bytes:
    """Return the flow key of the packets that answer those with `key`; it has ports."""
    size = 16 if len(key) > 13 else 4
    source, target = key[1 : 1 + size], key[1 + size : 1 + 2 * size]
    return b"".join((key[:1], target, source, key[-2:], key[-4:-2]))


class TcpFields(NamedTuple):
    """What a TCP header says, and how much follows it."""

    sequence: int
    ack: int
    flags: int
    length: int
    """Bytes of the TCP header."""
    payload: int
    """Bytes behind it, all segments of a run together."""

    @property
    def end(self) -> int:
        """Sequence of the byte behind the payload."""
        return self.sequence + self.payload & _SEQUENCE_MASK

    @property
    def is_pure_ack(self) -> bool:
        """True if the packet acknowledges and does nothing else."""
        return not self.payload and self.flags & _TCP_ACTS == _TCP_ACK


def tcp_fields(packet: Bytes) -> TcpFields | None:
    """Return the fields of a whole TCP packet or of a run; None if it is none."""
    try:
        start, protocol = _transport_untrusted(packet)
    except DatagramError:
        return None
    if protocol != TCP or len(packet) < start + _TCP_HEADER:
        return None
    _, sequence, ack, length, flags = _TCP_FIELDS.unpack_from(packet, start)
    length = (length >> 4) * 4
    return TcpFields(sequence, ack, flags, length, len(packet) - start - length)


def is_pure_ack(packet: Bytes) -> bool:
    """Say whether a whole TCP packet acknowledges and does nothing else."""
    fields = tcp_fields(packet)
    return fields is not None and fields.is_pure_ack


def sequence_step(sequence: int, since: int) -> int:
    """Return how far a TCP sequence is ahead of another, or behind if negative (RFC 9293, 3.4)."""
    return (sequence - since + _HALF & _SEQUENCE_MASK) - _HALF


def check_packet_untrusted(packet: Bytes) -> None:
    """Look at version and lengths of a whole packet.

    Raises:
        DatagramError: MALFORMED if the kernel could not even find its end.
    """
    size = len(packet)
    if size >= _IPV4_HEADER:
        version = packet[0] >> 4
        if version == 4:
            header = (packet[0] & 15) * 4
            if _IPV4_HEADER <= header <= (packet[2] << 8 | packet[3]) <= size:
                return
        elif version == 6 and _IPV6_HEADER + (packet[4] << 8 | packet[5]) <= size:
            return
    raise DatagramError(DropReason.MALFORMED)


def header_length_untrusted(packet: Bytes) -> int:
    """Return the bytes of IP and transport header of a whole TCP or UDP packet, or of a run.

    The IP length field is not looked at: in a segment it holds something else (see `join`).

    Raises:
        DatagramError: MALFORMED if it is not TCP or UDP directly in IP, is a fragment, or ends
            before its headers do.
    """
    transport, protocol = _transport_untrusted(packet)
    if protocol == UDP:
        end = transport + _UDP_HEADER
    elif protocol == TCP and len(packet) >= transport + _TCP_HEADER:
        end = transport + (packet[transport + 12] >> 4) * 4
        if end < transport + _TCP_HEADER:
            raise DatagramError(DropReason.MALFORMED)
    else:
        raise DatagramError(DropReason.MALFORMED)
    if len(packet) < end:
        raise DatagramError(DropReason.MALFORMED)
    return end


def _transport_untrusted(packet: Bytes) -> tuple[int, int]:
    """Return where the transport header begins, and its protocol."""
    size = len(packet)
    if size >= _IPV4_HEADER:
        version = packet[0] >> 4
        if version == 4:
            start = (packet[0] & 15) * 4
            if start >= _IPV4_HEADER and not (packet[6] << 8 | packet[7]) & _FRAGMENT:
                return start, packet[9]
        elif version == 6 and size >= _IPV6_HEADER:
            return _IPV6_HEADER, packet[6]
    raise DatagramError(DropReason.MALFORMED)


# --- checksums -------------------------------------------------------------------------------


def internet_sum(data: Bytes) -> int:
    """Return the one's complement sum of `data` (RFC 1071), 0 to 65534; 65535 counts as 0.

    Adding 16-bit words with end-around carry is arithmetic modulo 65535, and one division of a
    long number is five times as fast as a loop over its words.
    """
    value = int.from_bytes(data, "big")
    return (value << 8 if len(data) & 1 else value) % 0xFFFF


def complete_checksum(packet: Bytes) -> bytes:
    """Return a copy of a packet with a partial checksum, its TCP or UDP checksum completed.

    The field holds the pseudo-header's sum, so it counts like any other word. A packet of another
    protocol has no partial checksum and comes back as it is.
    """
    whole = bytearray(packet)
    start = (whole[0] & 15) * 4 if whole[0] >> 4 == 4 else _IPV6_HEADER
    protocol = whole[9] if whole[0] >> 4 == 4 else whole[6]
    offset = _CHECKSUM_OFFSET.get(protocol)
    if offset is None:
        return bytes(whole)
    checksum = -internet_sum(memoryview(whole)[start:]) % 0xFFFF
    if protocol == UDP:
        checksum = checksum or 0xFFFF  # zero would say "no checksum" (RFC 768)
    _U16.pack_into(whole, start + offset, checksum)
    return bytes(whole)


# --- runs ------------------------------------------------------------------------------------


def part_header(
    header: bytes | bytearray, *, offset: int, segment_size: int, payload_length: int, is_end: bool
) -> bytearray:
    """Return the header that a part of a run needs to stand alone, with a partial checksum.

    What the kernel does to a segment when it splits a run (`tcp_gso_segment`, `inet_gso_segment`).

    Args:
        header: IP and TCP or UDP header of the run; its length fields and checksums may be wrong.
        offset: of the part's payload within the run's.
        segment_size: payload bytes of the part's first segment.
        payload_length: payload bytes of the part.
        is_end: True if the run's last segment is in the part.
    """
    part = bytearray(header)
    length = len(header) + payload_length
    is_ipv4 = header[0] >> 4 == 4
    if is_ipv4:
        start, protocol, addresses = (header[0] & 15) * 4, header[9], header[12:20]
        index = offset // segment_size
        if index:
            # Segments are numbered in sequence. A short last segment on its own gets too high a
            # number, which is as good: no other of the run has it.
            identification = (header[4] << 8 | header[5]) + index
            _U16.pack_into(part, _IPV4_ID, identification & 0xFFFF)
        _U16.pack_into(part, 2, length)
        part[_IPV4_CHECKSUM : _IPV4_CHECKSUM + 2] = b"\0\0"
        _U16.pack_into(part, _IPV4_CHECKSUM, -internet_sum(part[:start]) % 0xFFFF)
    else:
        start, protocol, addresses = _IPV6_HEADER, header[6], header[8:40]
        _U16.pack_into(part, 4, length - _IPV6_HEADER)
    if protocol == TCP:
        _place_in_stream(part, start, offset, is_end=is_end)
    else:
        _U16.pack_into(part, start + 4, length - start)
    pseudo = (int.from_bytes(addresses, "big") + protocol + length - start) % 0xFFFF
    _U16.pack_into(part, start + _CHECKSUM_OFFSET[protocol], pseudo)
    return part


def _place_in_stream(part: bytearray, start: int, offset: int, *, is_end: bool) -> None:
    """Set a part's TCP sequence number, and the flags that only one end of the run may carry."""
    if offset:
        sequence = _U32.unpack_from(part, start + _TCP_SEQUENCE)[0] + offset
        _U32.pack_into(part, start + _TCP_SEQUENCE, sequence & _SEQUENCE_MASK)
        # The first segment said it: once more would be a second answer (RFC 3168, 6.1.2).
        part[start + _TCP_FLAGS] &= ~_CWR
    if not is_end:
        part[start + _TCP_FLAGS] &= ~_FIN_PSH


def split_run(burst: Burst) -> list[Burst]:
    """Return the packets that a run stands for, each with a partial checksum; for links that know
    no offload. A single packet comes back as it is.
    """
    size = burst.segment_size
    if not size:
        return [burst]
    header = bytes(burst.packet[: burst.header_length])
    payload = memoryview(burst.packet)[burst.header_length :]
    packets = []
    for offset in range(0, len(payload), size):
        piece = payload[offset : offset + size]
        head = part_header(
            header,
            offset=offset,
            segment_size=size,
            payload_length=len(piece),
            is_end=offset + size >= len(payload),
        )
        packets.append(Burst(b"".join((head, piece)), is_checksum_partial=True))
    return packets


def lower_hop_limit(burst: Burst) -> Burst | None:
    """Return a copy that has one hop less to go; None if it may go no further (RFC 1812, 5.3.1)."""
    is_ipv4 = ip_version(burst.packet) == 4
    place = 8 if is_ipv4 else 7
    if burst.packet[place] <= 1:
        return None
    lowered = bytearray(burst.packet)
    lowered[place] -= 1
    if is_ipv4:
        _complete_header(lowered)
    return Burst(
        bytes(lowered),
        segment_size=burst.segment_size,
        header_length=burst.header_length,
        is_checksum_partial=burst.is_checksum_partial,
    )


def _complete_header(packet: bytearray) -> None:
    """Put the right checksum into an IPv4 header."""
    length = (packet[0] & 15) * 4
    packet[_IPV4_CHECKSUM : _IPV4_CHECKSUM + 2] = bytes(2)
    _U16.pack_into(packet, _IPV4_CHECKSUM, -internet_sum(packet[:length]) % 0xFFFF)


def mark_congestion(burst: Burst) -> Burst | None:
    """Return a copy that tells its receiver of congestion (RFC 3168, section 5).

    Of a run every segment that is sent from the copy says so.

    Returns:
        None if the packet's sender would not understand (not ECT).
    """
    packet = burst.packet
    if ip_version(packet) == 4:
        if not packet[1] & _ECN:
            return None
        marked = bytearray(packet)
        marked[1] |= _ECN
        _complete_header(marked)
    else:
        if not packet[1] & _ECN << 4:
            return None
        marked = bytearray(packet)
        marked[1] |= _ECN << 4
    return Burst(
        bytes(marked),
        segment_size=burst.segment_size,
        header_length=burst.header_length,
        is_checksum_partial=burst.is_checksum_partial,
    )
