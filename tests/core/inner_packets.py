"""Inner packets byte by byte, with checksums added up word by word: the slow, obvious way."""

from dataclasses import dataclass, replace
from struct import pack

from multiwanbond.core.burst import Burst

HOSTS = {
    4: (bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])),
    6: (bytes([0xFD] + [0] * 14 + [1]), bytes([0xFD] + [0] * 14 + [2])),
}
PORTS = bytes([0x30, 0x39, 0x01, 0xBB])
TCP, UDP, ICMP = 6, 17, 1
FIN, SYN, PSH, ACK, ECE, CWR = 0x01, 0x02, 0x08, 0x10, 0x40, 0x80


def word_sum(data: bytes) -> int:
    """The folded one's complement sum of RFC 1071, word by word."""
    padded = data + b"\0" * (len(data) % 2)
    total = 0
    for high, low in zip(padded[::2], padded[1::2], strict=True):
        total += high << 8 | low
        total = (total & 0xFFFF) + (total >> 16)
    return total


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Everything but the payload of a TCP or UDP packet, or of a run of them."""

    version: int = 4
    protocol: int = TCP
    sequence: int = 1000
    flags: int = ACK
    options: bytes = b""
    """Of TCP; a multiple of four bytes."""
    ip_options: bytes = b""
    """Of IPv4; a multiple of four bytes."""
    identification: int = 7
    traffic_class: int = 0

    @property
    def header_length(self) -> int:
        ip = 40 if self.version == 6 else 20 + len(self.ip_options)
        return ip + (8 if self.protocol == UDP else 20 + len(self.options))

    def _pseudo(self, length: int) -> bytes:
        return b"".join(HOSTS[self.version]) + pack("!II", length, self.protocol)

    def _transport(self, payload: bytes, *, is_partial: bool) -> bytes:
        if self.protocol == UDP:
            length = 8 + len(payload)
            before, after = PORTS + pack("!H", length), b""
        else:
            length = 20 + len(self.options) + len(payload)
            before = PORTS + pack(
                "!IIBBH", self.sequence & 0xFFFFFFFF, 77, length_nibble(self.options), self.flags, 9
            )
            after = b"\0\0" + self.options
        pseudo = self._pseudo(length)
        checksum = word_sum(pseudo)
        if not is_partial:
            checksum = 0xFFFF ^ word_sum(pseudo + before + b"\0\0" + after + payload)
            if self.protocol == UDP:
                checksum = checksum or 0xFFFF
        return before + pack("!H", checksum) + after + payload

    def packet(self, payload: bytes, *, is_partial: bool = False) -> bytes:
        """The packet, its transport checksum complete or partial."""
        body = self._transport(payload, is_partial=is_partial)
        source, target = HOSTS[self.version]
        if self.version == 6:
            first = 6 << 28 | self.traffic_class << 20 | 0xBEEF
            return pack("!IHBB", first, len(body), self.protocol, 64) + source + target + body
        size = 20 + len(self.ip_options)
        head = pack("!BBHH", 0x40 | size // 4, self.traffic_class, size + len(body),
                    self.identification & 0xFFFF)  # fmt: skip
        head += pack("!HBB", 0x4000, 64, self.protocol)
        tail = source + target + self.ip_options
        return head + pack("!H", 0xFFFF ^ word_sum(head + b"\0\0" + tail)) + tail + body

    def run(self, payload: bytes, segment_size: int) -> Burst:
        """What the kernel hands over when it leaves a run unsplit."""
        return Burst(
            self.packet(payload, is_partial=True),
            segment_size=segment_size,
            header_length=self.header_length,
            is_checksum_partial=True,
        )

    def segment(self, payload: bytes, segment_size: int, index: int) -> bytes:
        """The packet number `index` that a network card makes of such a run."""
        offset = index * segment_size
        is_last = offset + segment_size >= len(payload)
        flags = self.flags & ~(0 if index == 0 else CWR) & ~(0 if is_last else FIN | PSH)
        shape = replace(
            self,
            sequence=self.sequence + offset,
            flags=flags,
            identification=self.identification + index,
        )
        return shape.packet(payload[offset : offset + segment_size])


def length_nibble(options: bytes) -> int:
    """The data offset byte of a TCP header."""
    return (20 + len(options)) // 4 << 4
