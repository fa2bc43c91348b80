"""Packets made smaller, each by itself, so that each can be read whatever becomes of the others.

A segment of a run is compressed like a packet, under its run's header. What shrinks by less than an
eighth travels as it is: encrypted traffic, pictures, video. A flow whose packets do not shrink is
soon left alone, and looked at again now and then.

The frames are zstd's (RFC 8878) without magic number, content size, or checksum. A header byte of
zero says so, and nothing else is read: a frame that names its own size would have the reader
allocate as much.
"""

from collections.abc import Iterable
from typing import Final

import zstandard

from multiwanbond.core.burst import Bytes
from multiwanbond.core.flow import Flow
from multiwanbond.core.settings import Compression, EndpointSettings
from multiwanbond.errors import DatagramError, DropReason

# --- chosen by us ----------------------------------------------------------------------------

LEVEL: Final = 1
"""Level 3 takes a third longer for 2 % less (docs/compression.md)."""
SMALLEST: Final = 200
"""Bytes up to which a packet is left alone: headers do not shrink, and the rest is soon said."""
LEAST_GAIN: Final = 1 / 8
"""Share by which a packet must shrink. For less, it is not worth it that segments are no longer
sealed and opened as one."""
FAILURES: Final = 4
"""Packets in a row that do not shrink, after which their flow is left alone."""
PAUSE: Final = 256
"""Packets for which it is; then one is tried again."""
LARGEST_WINDOW: Final = 1 << 17
"""Bytes of earlier output that a frame may ask its reader to keep; two packets of 64 KiB."""
ZSTD: Final = 1
"""The bit in a handshake's features that says "I can read such packets"."""
COMPRESSED: Final = 0x04
"""The bit of a DATA datagram's first byte that says "this is one"."""
_FRAME_HEADER: Final = 0
_COMPRESS: Final = zstandard.ZstdCompressionParameters.from_level(
    LEVEL,
    source_size=1500,
    format=zstandard.FORMAT_ZSTD1_MAGICLESS,
    write_content_size=0,
    write_checksum=0,
    write_dict_id=0,
)


class Shrinking:
    """Whether trying to shrink a flow's packets has been worth it lately."""

    __slots__ = ("_failures", "_pause")

    def __init__(self) -> None:
        self._failures = 0
        self._pause = 0

    def is_due(self, packets: int) -> bool:
        """Say whether to try the next packets; they count as left alone if not."""
        if self._pause <= 0:
            return True
        self._pause -= packets
        return False

    def on_tried(self, *, has_shrunk: bool) -> None:
        """Note what became of one packet."""
        if has_shrunk:
            self._failures = 0
            return
        self._failures += 1
        if self._failures >= FAILURES:
            self._failures = FAILURES - 1
            self._pause = PAUSE

    @property
    def is_paused(self) -> bool:
        """True once the packets are to be left alone."""
        return self._pause > 0


class Compressor:
    """Shrinks what the operator wants shrunk; the sending side of a bond has one."""

    __slots__ = ("_by_default", "_compress", "_is_wanted", "compressed_packets", "saved_bytes")

    def __init__(self, settings: EndpointSettings) -> None:
        self.compressed_packets = 0
        """Packets and segments that left smaller than they came."""
        self.saved_bytes = 0
        """By how much, all together."""
        self._compress = zstandard.ZstdCompressor(compression_params=_COMPRESS).compress
        self.reconfigure(settings)

    def reconfigure(self, settings: EndpointSettings) -> None:
        """Go by other settings; what has been learnt of flows stays."""
        self._by_default = settings.compression
        wishes = {settings.compression, *(each.compression for each in settings.classes)}
        self._is_wanted = Compression.ZSTD in wishes

    def wants(self, flow: Flow, packets: int, features: int) -> bool:
        """Say whether to try to shrink the next packets of a flow.

        Args:
            flow: whose they are.
            packets: how many.
            features: of the key they will be sealed with.
        """
        if not self._is_wanted or not features & ZSTD:
            return False
        wish = flow.traffic_class.compression or self._by_default
        if wish is not Compression.ZSTD:
            return False
        if flow.shrinking is None:
            flow.shrinking = Shrinking()
        return flow.shrinking.is_due(packets)

    def shrink(
        self, flow: Flow, plaintexts: Iterable[tuple[int, bytes]]
    ) -> list[tuple[int, bytes]] | None:
        """Return what to send in place of some packets; None if none of them has become smaller.

        Args:
            flow: whose they are; `wants` has just said so.
            plaintexts: each with the first byte of its datagram.
        """
        assert flow.shrinking is not None
        has_any = False
        sent = []
        for first, plain in plaintexts:
            small = self._shrunk(flow.shrinking, plain)
            has_any = has_any or small is not None
            sent.append((first, plain) if small is None else (first | COMPRESSED, small))
        return sent if has_any else None

    def _shrunk(self, shrinking: Shrinking, plain: bytes) -> bytes | None:
        size = len(plain)
        if size <= SMALLEST or shrinking.is_paused:
            return None
        small = self._compress(plain)
        has_shrunk = len(small) <= size * (1 - LEAST_GAIN)
        shrinking.on_tried(has_shrunk=has_shrunk)
        if not has_shrunk:
            return None
        self.compressed_packets += 1
        self.saved_bytes += size - len(small)
        return small


class Decompressor:
    """Restores packets; the receiving side of a bond has one."""

    __slots__ = ("_decompress", "_largest")

    def __init__(self, largest: int) -> None:
        """Restore nothing that would be longer than `largest` bytes."""
        self._largest = largest
        self._decompress = zstandard.ZstdDecompressor(
            format=zstandard.FORMAT_ZSTD1_MAGICLESS, max_window_size=LARGEST_WINDOW
        ).decompress

    def restore_untrusted(self, small: Bytes) -> bytes:
        """Return the packet that was compressed.

        Raises:
            DatagramError: MALFORMED if it is no frame as we write them, or a longer packet.
        """
        if not small or small[0] != _FRAME_HEADER:
            raise DatagramError(DropReason.MALFORMED)
        try:
            return self._decompress(small, max_output_size=self._largest)
        except zstandard.ZstdError:
            raise DatagramError(DropReason.MALFORMED) from None
