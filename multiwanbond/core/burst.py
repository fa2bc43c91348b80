"""What one TUN read or write carries."""

from typing import Final

Bytes = bytes | bytearray | memoryview


class Burst:
    """One IP packet, or a run of equal-size TCP or UDP segments under one header.

    The kernel leaves a run unsplit when it knows that somebody later will split it (TSO, USO). We
    keep it whole as far as possible: one read, one lookup, one scheduling decision, one write.
    """

    __slots__ = (
        "header_length",
        "is_checksum_partial",
        "is_checksum_verified",
        "packet",
        "segment_size",
    )

    def __init__(
        self,
        packet: Bytes,
        *,
        segment_size: int = 0,
        header_length: int = 0,
        is_checksum_partial: bool = False,
        is_checksum_verified: bool = False,
    ) -> None:
        self.packet: Final = packet
        """The IP packet; for a run, its header followed by all payloads."""
        self.segment_size: Final = segment_size
        """Payload bytes of each segment but perhaps the last; 0 for a single packet."""
        self.header_length: Final = header_length
        """Bytes of IP and transport header before the first payload; 0 for a single packet."""
        self.is_checksum_partial: Final = is_checksum_partial
        """True if the transport checksum holds only the pseudo-header's sum; so for every run."""
        self.is_checksum_verified: Final = is_checksum_verified
        """True if it is complete, and was found right on arrival at this host."""

    @property
    def segment_count(self) -> int:
        """How many packets this is on a link that knows no offload."""
        if not self.segment_size:
            return 1
        return -(-(len(self.packet) - self.header_length) // self.segment_size)

    @property
    def largest_packet(self) -> int:
        """Bytes of the largest packet that this is on such a link, its IP header included."""
        if not self.segment_size:
            return len(self.packet)
        return min(self.header_length + self.segment_size, len(self.packet))

    def __repr__(self) -> str:
        run = f" in {self.segment_count} segments" if self.segment_size else ""
        return f"<Burst {len(self.packet)} bytes{run}>"
