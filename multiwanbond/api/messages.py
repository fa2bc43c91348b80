"""A message is a UDP packet between two addresses inside the tunnel.

So a program with a bond and any other program behind the far end's TUN device can talk to each
other: there, a plain UDP socket receives the message, and sends the answer.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from socket import AF_INET, AF_INET6, inet_ntop
from struct import Struct
from typing import Final

from multiwanbond.core import ip
from multiwanbond.core.burst import Burst
from multiwanbond.core.datagram import Address
from multiwanbond.errors import DatagramError, DropReason

IpAddress = IPv4Address | IPv6Address

# --- from a specification --------------------------------------------------------------------

HEADERS: Final = {4: 20 + 8, 6: 40 + 8}
"""Bytes of IP and UDP header, by IP version (RFC 791, RFC 8200, RFC 768)."""
_HOP_LIMIT: Final = 64
"""RFC 1700's default for IPv4, and Linux's for both."""
_IPV4: Final = Struct("!BBHHHBBH4s4s")
_IPV6: Final = Struct("!IHBB16s16s")
_UDP: Final = Struct("!HHHH")
_DO_NOT_FRAGMENT: Final = 0x4000

# --- chosen by us ----------------------------------------------------------------------------

MESSAGE_PORT: Final = 9077
"""The UDP port inside the tunnel that messages come from and go to, unless another is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message that has arrived."""

    data: bytes
    peer: str
    """Name of the peer it came from; what the configuration calls it."""
    source: Address
    """Address and port inside the tunnel it was sent from; answers may go there."""


def header(source: IpAddress, source_port: int, target: IpAddress, target_port: int) -> bytes:
    """Return IP and UDP header of messages from one address to another, without their lengths."""
    udp = _UDP.pack(source_port, target_port, 0, 0)
    if source.version == 4:
        head = _IPV4.pack(
            0x45, 0, 0, 0, _DO_NOT_FRAGMENT, _HOP_LIMIT, ip.UDP, 0, source.packed, target.packed
        )
    else:
        head = _IPV6.pack(6 << 28, 0, ip.UDP, _HOP_LIMIT, source.packed, target.packed)
    return head + udp


def encode(head: bytes, data: bytes) -> Burst:
    """Return the packet that carries `data`, under a header made by `header`.

    Its checksum is left to whoever hands it to a kernel at the far end, as with a TUN device.
    """
    # A run of one segment: with that, the lengths are filled in as they are for any part of one.
    whole = ip.part_header(head, offset=0, segment_size=1, payload_length=len(data), is_end=True)
    return Burst(b"".join((whole, data)), is_checksum_partial=True)


def decode_untrusted(burst: Burst) -> tuple[bytes, Address, Address]:
    """Return what a packet carries, where it comes from and where it goes.

    Args:
        burst: a single packet, authentic but of any content.

    Raises:
        DatagramError: MALFORMED if it is no whole UDP packet, or its checksum is wrong.
    """
    packet = bytes(burst.packet)
    ip.check_packet_untrusted(packet)
    end = ip.header_length_untrusted(packet)
    start = end - _UDP.size
    if (packet[9] if packet[0] >> 4 == 4 else packet[6]) != ip.UDP:
        raise DatagramError(DropReason.MALFORMED)
    source_port, target_port, length, checksum = _UDP.unpack_from(packet, start)
    if not _UDP.size <= length <= len(packet) - start:
        raise DatagramError(DropReason.MALFORMED)
    is_checked = burst.is_checksum_partial or burst.is_checksum_verified or not checksum
    if not is_checked and not _is_right(packet, start, length):
        raise DatagramError(DropReason.MALFORMED)
    source, target = _hosts(packet)
    return (
        packet[end : start + length],
        Address(source, source_port),
        Address(target, target_port),
    )


def _hosts(packet: bytes) -> tuple[str, str]:
    if packet[0] >> 4 == 4:
        return inet_ntop(AF_INET, packet[12:16]), inet_ntop(AF_INET, packet[16:20])
    return inet_ntop(AF_INET6, packet[8:24]), inet_ntop(AF_INET6, packet[24:40])


def _is_right(packet: bytes, start: int, length: int) -> bool:
    """Say whether a UDP packet's complete checksum is right (RFC 768)."""
    addresses = packet[12:20] if packet[0] >> 4 == 4 else packet[8:40]
    pseudo = addresses + bytes((0, ip.UDP)) + length.to_bytes(2, "big")
    return ip.internet_sum(pseudo + packet[start : start + length]) == 0


def parse_address(text: str) -> IpAddress | None:
    """Return the address that `text` writes; None if it is none."""
    try:
        return ip_address(text)
    except ValueError:
        return None
