"""Inner packets as a kernel would write them to a TUN device: real headers, real checksums."""

from collections.abc import Sequence
from ipaddress import ip_address
from random import Random
from struct import Struct
from typing import Final, NamedTuple

from multiwanbond.core.burst import Burst, Bytes
from multiwanbond.core.datagram import Address
from multiwanbond.core.ip import internet_sum
from multiwanbond.errors import LocalProtocolError

TCP: Final = 6
UDP: Final = 17

TCP_FIN: Final = 1
TCP_SYN: Final = 2
TCP_PSH: Final = 8
TCP_ACK: Final = 16

_IPV4: Final = Struct("!BBHHHBBH4s4s")
_IPV6: Final = Struct("!IHBB16s16s")
_UDP: Final = Struct("!HHHH")
_TCP: Final = Struct("!HHIIBBHHH")
_PORTS: Final = Struct("!HH")
_DO_NOT_FRAGMENT: Final = 0x4000
_CHECKSUM_AT: Final = {TCP: 16, UDP: 6}
"""Where in its transport header a protocol keeps its checksum."""

UDP_HEADER: Final = 8
LONGEST_PACKET: Final = 65535

_PERIOD: Final = 65521
_BLOCK: Final = memoryview(Random(0).randbytes(_PERIOD) * 3)


def pattern(offset: int, length: int) -> memoryview:
    """Return the bytes every stream has at `offset`, so that a receiver knows what must come.

    `length` is at most 2 * 65521; the period is a prime, so a shift by any usual size shows.
    """
    start = offset % _PERIOD
    return _BLOCK[start : start + length]


def packed(host: str) -> bytes:
    """Return an address as it stands in a header."""
    return ip_address(host).packed


class TcpHeader(NamedTuple):
    """The part of a TCP header that the model uses."""

    sequence: int
    acknowledgement: int
    flags: int
    window: int = 0xFFFF
    options: bytes = b""
    """A multiple of four bytes."""


class Conversation:
    """One direction of an inner flow; turns payloads into packets."""

    __slots__ = ("_ports", "_pseudo", "_source", "_target", "is_ipv6", "overhead", "protocol")

    def __init__(self, source: Address, destination: Address, protocol: int) -> None:
        self._source, self._target = packed(source.host), packed(destination.host)
        self._ports = (source.port, destination.port)
        self.protocol: Final = protocol
        self.is_ipv6: Final = len(self._source) == 16
        self.overhead: Final = 40 if self.is_ipv6 else 20
        """Bytes of the IP header."""
        self._pseudo = internet_sum(self._source + self._target) + protocol

    def udp(self, payload: Bytes) -> Burst:
        """Return a UDP packet with a complete checksum."""
        length = UDP_HEADER + len(payload)
        head = _UDP.pack(*self._ports, length, 0)
        rest = internet_sum(head) + internet_sum(payload)
        checksum = 0xFFFF ^ _fold(self._pseudo + length + rest) or 0xFFFF
        return Burst(b"".join((self._ip(length), head[:6], checksum.to_bytes(2, "big"), payload)))

    def udp_run(self, payloads: Sequence[Bytes]) -> Burst:
        """Return UDP packets under one header, as UDP_SEGMENT makes them.

        Args:
            payloads: all of one size, but for a last one that may be smaller.
        """
        if len(payloads) == 1:
            return self.udp(payloads[0])
        length = UDP_HEADER + sum(map(len, payloads))
        head = _UDP.pack(*self._ports, length, _fold(self._pseudo + length))
        return Burst(
            b"".join((self._ip(length), head, *payloads)),
            segment_size=len(payloads[0]),
            header_length=self.overhead + UDP_HEADER,
            is_checksum_partial=True,
        )

    def tcp(self, header: TcpHeader, payload: Bytes = b"", segment_size: int = 0) -> Burst:
        """Return a TCP packet, or a run of segments, as the kernel writes both: checksum partial.

        Args:
            header: of the packet or the run's first segment.
            payload: of all segments.
            segment_size: payload bytes per segment; makes it a run if `payload` is longer.
        """
        sequence, acknowledgement, flags, window, options = header
        size = _TCP.size + len(options)
        length = size + len(payload)
        head = _TCP.pack(
            *self._ports,
            sequence & 0xFFFFFFFF,
            acknowledgement & 0xFFFFFFFF,
            size << 2,
            flags,
            window,
            _fold(self._pseudo + length),
            0,
        )
        packet = b"".join((self._ip(length), head, options, payload))
        if len(payload) <= segment_size or not segment_size:
            return Burst(packet, is_checksum_partial=True)
        return Burst(
            packet,
            segment_size=segment_size,
            header_length=self.overhead + size,
            is_checksum_partial=True,
        )

    def _ip(self, length: int) -> bytes:
        if self.is_ipv6:
            return _IPV6.pack(6 << 28, length, self.protocol, 64, self._source, self._target)
        head = (0x45, 0, 20 + length, 0, _DO_NOT_FRAGMENT, 64, self.protocol)
        checksum = 0xFFFF ^ internet_sum(_IPV4.pack(*head, 0, self._source, self._target))
        return _IPV4.pack(*head, checksum, self._source, self._target)


def _fold(value: int) -> int:
    while value > 0xFFFF:
        value = (value & 0xFFFF) + (value >> 16)
    return value


def transport_offset(packet: Bytes) -> int:
    """Return where the transport header of one of our packets begins."""
    return 40 if packet[0] >> 4 == 6 else (packet[0] & 0xF) * 4


def destination_of(packet: Bytes) -> tuple[int, bytes, int]:
    """Return protocol, packed destination address and destination port of one of our packets."""
    offset = transport_offset(packet)
    _, port = _PORTS.unpack_from(packet, offset)
    if offset == 40:
        return packet[6], bytes(packet[24:40]), port
    return packet[9], bytes(packet[16:20]), port


def read_tcp(packet: Bytes) -> tuple[TcpHeader, memoryview]:
    """Return header and payload of a TCP packet or run."""
    start = transport_offset(packet)
    _, _, sequence, acknowledgement, size, flags, window, _, _ = _TCP.unpack_from(packet, start)
    view = memoryview(packet)
    end = start + (size >> 2)
    options = bytes(view[start + _TCP.size : end])
    return TcpHeader(sequence, acknowledgement, flags, window, options), view[end:]


def read_udp(packet: Bytes) -> memoryview:
    """Return the payload of a UDP packet."""
    return memoryview(packet)[transport_offset(packet) + UDP_HEADER :]


def check_burst(burst: Burst) -> None:
    """Look at lengths and checksums of a delivered burst as the kernel would.

    Raises:
        LocalProtocolError: something between the two applications has damaged it.
    """
    packet = memoryview(burst.packet)
    start = transport_offset(packet)
    is_ipv6 = start == 40
    total = int.from_bytes(packet[4:6], "big") + 40 if is_ipv6 else int.from_bytes(packet[2:4])
    if total != len(packet):
        _complain("its length field is wrong", burst)
    if not is_ipv6 and internet_sum(packet[:start]):
        _complain("its IP header checksum is wrong", burst)
    protocol = packet[6] if is_ipv6 else packet[9]
    addresses = packet[8:40] if is_ipv6 else packet[12:20]
    pseudo = internet_sum(addresses) + protocol + total - start
    if not burst.is_checksum_partial:
        if (pseudo + internet_sum(packet[start:])) % 0xFFFF:
            _complain("its transport checksum is wrong", burst)
        return
    at = start + _CHECKSUM_AT[protocol]
    if (int.from_bytes(packet[at : at + 2]) - pseudo) % 0xFFFF:
        _complain("its pseudo-header sum is wrong", burst)


def _complain(problem: str, burst: Burst) -> None:
    msg = f"{problem}: {burst!r} {bytes(burst.packet[:80]).hex()}"
    raise LocalProtocolError(msg)
