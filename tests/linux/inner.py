"""Inner packets as the tests need them, with right lengths and right or partial checksums."""

import socket
import struct

from multiwanbond.core.burst import Burst
from multiwanbond.core.ip import complete_checksum, internet_sum

TCP_ACK = 0x10


def _ip_header(source: str, destination: str, protocol: int, length: int) -> bytes:
    """Return the IP header before `length` bytes of transport header and payload."""
    if ":" in source:
        addresses = b"".join(socket.inet_pton(socket.AF_INET6, a) for a in (source, destination))
        return struct.pack("!IHBB", 6 << 28, length, protocol, 64) + addresses
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 1, 0x4000, 64, protocol, 0)
    checksum = 0xFFFF - internet_sum(head + addresses)
    return head[:10] + checksum.to_bytes(2, "big") + addresses


def _pseudo_sum(ip_header: bytes, protocol: int, length: int) -> int:
    addresses = ip_header[8:40] if ip_header[0] >> 4 == 6 else ip_header[12:20]
    return (int.from_bytes(addresses, "big") + protocol + length) % 0xFFFF


def udp_burst(
    source: tuple[str, int], destination: tuple[str, int], payload: bytes, *, segment_size: int = 0
) -> Burst:
    """Return a UDP packet, or a run of them, with a partial checksum."""
    length = 8 + len(payload)
    head = _ip_header(source[0], destination[0], socket.IPPROTO_UDP, length)
    pseudo = _pseudo_sum(head, socket.IPPROTO_UDP, length)
    udp = struct.pack("!HHHH", source[1], destination[1], length, pseudo)
    return Burst(
        head + udp + payload,
        segment_size=segment_size,
        header_length=len(head) + 8 if segment_size else 0,
        is_checksum_partial=True,
    )


def tcp_burst(
    source: tuple[str, int],
    destination: tuple[str, int],
    payload: bytes,
    *,
    segment_size: int = 0,
    flags: int = TCP_ACK,
) -> Burst:
    """Return a TCP segment, or a run of them, with a partial checksum."""
    length = 20 + len(payload)
    head = _ip_header(source[0], destination[0], socket.IPPROTO_TCP, length)
    pseudo = _pseudo_sum(head, socket.IPPROTO_TCP, length)
    tcp = struct.pack(
        "!HHIIBBHHH", source[1], destination[1], 1000, 2000, 0x50, flags, 65535, pseudo, 0
    )
    return Burst(
        head + tcp + payload,
        segment_size=segment_size,
        header_length=len(head) + 20 if segment_size else 0,
        is_checksum_partial=True,
    )


def finished(burst: Burst) -> bytes:
    """Return the packet as it looks on a wire: with its whole checksum."""
    if not burst.is_checksum_partial:
        return bytes(burst.packet)
    return complete_checksum(burst.packet)
