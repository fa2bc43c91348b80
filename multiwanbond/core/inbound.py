"""What arrives: authentic packets pass the source check, are put in order and joined into runs."""

from collections.abc import Iterable
from typing import Final

from multiwanbond.core.burst import Burst, Bytes
from multiwanbond.core.compression import COMPRESSED, Decompressor
from multiwanbond.core.fec.decoder import ParityDecoder, Recovered
from multiwanbond.core.fec.shards import Shard, decode_parity_untrusted
from multiwanbond.core.ip import source_untrusted
from multiwanbond.core.join import Joiner
from multiwanbond.core.path import Path
from multiwanbond.core.prefixes import PrefixMap
from multiwanbond.core.reorder import ReorderBuffer
from multiwanbond.core.segments import Segments
from multiwanbond.core.settings import PeerSettings, ReorderSettings
from multiwanbond.core.statistics import ReorderStatistics
from multiwanbond.core.wire import FORM_MASK, GLOBAL_SEQUENCE_BITS, DataForm, expand
from multiwanbond.errors import DatagramError, DropReason

LEAST_REPAIR_TIME: Final = 0.05
MOST_REPAIR_TIME: Final = 0.3
"""Seconds a lost packet is waited for at least and at most; a re-send takes more than an RTT."""
REPAIR_GUARD: Final = 0.04
"""Seconds granted beyond the round trip: report, sender's wake-up, and its line's own queue."""
USUAL_MTU: Final = 1500
"""Bytes up to which a compressed packet is restored even where the bond's MTU is less: it may have
come into the peer's tunnel before that was known there."""
_FORMS: Final = tuple(DataForm)


class Inbound:
    """The receiving side of a bond, from an opened datagram to bursts for the TUN device."""

    __slots__ = (
        "_allowed",
        "_decoder",
        "_decompressor",
        "_highest",
        "_joiner",
        "_reorder",
        "received_bytes",
        "received_packets",
    )

    def __init__(self, peer: PeerSettings, reorder: ReorderSettings, inner_mtu: int) -> None:
        self._allowed = PrefixMap((prefix, True) for prefix in peer.allowed_ips)
        self._reorder = ReorderBuffer(reorder.reorder_buffer, reorder.reorder_timeout)
        self._joiner = Joiner()
        self._decoder = ParityDecoder()
        self._decompressor = Decompressor(max(inner_mtu, USUAL_MTU))
        self._highest = 0
        self.received_packets = 0
        self.received_bytes = 0

    def reconfigure(self, peer: PeerSettings, reorder: ReorderSettings) -> None:
        """Go by other limits; what is held stays, and is held for no longer than they allow."""
        self._allowed = PrefixMap((prefix, True) for prefix in peer.allowed_ips)
        self._reorder.capacity = reorder.reorder_buffer
        self._reorder.timeout = reorder.reorder_timeout

    def on_packet(
        self,
        path_id: int,
        first: int,
        number: int,
        distance: int,
        plain: bytes | bytearray,
        now: float,
    ) -> None:
        """Take one opened DATA datagram.

        Args:
            path_id: the path it came by.
            first: the datagram's first byte, whose low bits are its `DataForm`.
            number: low 24 bits of its global sequence.
            distance: of its flow's previous packet; 0 if it need not wait.
            plain: the packet, or the segment under its run's header; perhaps compressed.
            now: the caller's clock.

        Raises:
            DatagramError: BAD_SOURCE, or MALFORMED if it is no IP packet.
        """
        if first & COMPRESSED:
            plain = self._decompressor.restore_untrusted(plain)
        if not self._allowed.lookup(source_untrusted(plain)):
            raise DatagramError(DropReason.BAD_SOURCE)
        sequence = self._expand(number)
        self.received_packets += 1
        self.received_bytes += len(plain)
        form = _FORMS[first & FORM_MASK]
        if self._decoder.is_active:
            shard = Shard(form, distance, bytes(plain))
            self._deliver_recovered(path_id, self._decoder.on_packet(sequence, shard, now), now)
        self._reorder.push(path_id, sequence, distance, form, plain, now)

    def on_parity(self, path_id: int, number: int, plain: Bytes, now: float) -> None:
        """Take one opened PARITY datagram.

        Args:
            path_id: the path it came by.
            number: low 24 bits of the last global sequence the peer had assigned.
            plain: the parity shard and what it was computed from.
            now: the caller's clock.

        Raises:
            DatagramError: MALFORMED, or BAD_SOURCE of a packet made up for.
        """
        parity = decode_parity_untrusted(plain)
        self.on_note(path_id, number, now)
        first = expand(parity.first, GLOBAL_SEQUENCE_BITS, self._highest)
        self._deliver_recovered(path_id, self._decoder.on_parity(first, parity, now), now)

    def _deliver_recovered(self, path_id: int, recovered: Iterable[Recovered], now: float) -> None:
        """Put packets in order that were made up for, as if they had just come."""
        for sequence, (form, distance, plain) in recovered:
            if not self._allowed.lookup(source_untrusted(plain)):
                raise DatagramError(DropReason.BAD_SOURCE)
            self.received_packets += 1
            self.received_bytes += len(plain)
            self._reorder.push(path_id, sequence, distance, form, plain, now)

    @property
    def wants_single_packets(self) -> bool:
        """True while segments must come by `on_packet`, each by itself."""
        return self._decoder.is_active

    @property
    def recovered_packets(self) -> int:
        """Packets that parity made up for."""
        return self._decoder.recovered_packets

    def on_run(
        self,
        path_id: int,
        first: int,
        number: int,
        count: int,
        distance: int,
        segments: Segments,
        octets: int,
        now: float,
    ) -> None:
        """Take opened datagrams with segments of a run that follow each other.

        Args:
            path_id: the path they came by.
            first: the last datagram's first byte.
            number: low 24 bits of the first one's global sequence.
            count: how many.
            distance: of the first one's flow's previous packet; 0 if it need not wait.
            segments: their plaintexts.
            octets: bytes of all plaintexts.
            now: the caller's clock.

        Raises:
            DatagramError: BAD_SOURCE.
        """
        if not self._allowed.lookup(source_untrusted(segments.packet)):
            raise DatagramError(DropReason.BAD_SOURCE)
        sequence = self._expand(number)
        self._highest = max(self._highest, sequence + count - 1)
        self.received_packets += count
        self.received_bytes += octets
        form = _FORMS[first & FORM_MASK]
        self._reorder.push_run(path_id, sequence, count, distance, form, segments, now)

    def set_repair_time(self, paths: Iterable[Path]) -> None:
        """Wait for a lost packet as long as it may take to be sent again by one of these paths."""
        self._reorder.repair_time = _repair_time(paths)

    def on_note(self, path_id: int, number: int, now: float) -> None:
        """A CONTROL datagram tells that nothing after `number` is still to come on its path."""
        self._reorder.note(path_id, self._expand(number), now)

    def _expand(self, number: int) -> int:
        sequence = expand(number, GLOBAL_SEQUENCE_BITS, self._highest)
        if sequence > self._highest:
            self._highest = sequence
        return sequence

    def poll_deliver(self, now: float) -> list[Burst]:
        """Return what may be delivered by now, joined where it was one run."""
        self._reorder.expire(now)
        released = self._reorder.poll()
        return self._joiner.join(released) if released else []

    def deadline(self) -> float | None:
        """When `poll_deliver` will have more even if nothing arrives."""
        return self._reorder.deadline()

    def take_malformed(self) -> int:
        """Return how many packets turned out to be none since the last call."""
        count, self._joiner.malformed = self._joiner.malformed, 0
        return count

    def statistics(self) -> ReorderStatistics:
        """Return a snapshot."""
        return self._reorder.statistics()


def _repair_time(paths: Iterable[Path]) -> float:
    """Return how long a re-send may take, and one more if that is lost as well."""
    times = [2 * rtt.smoothed + 4 * rtt.deviation for path in paths if (rtt := path.rtt).smoothed]
    longest = max(times, default=MOST_REPAIR_TIME)
    return min(max(longest + REPAIR_GUARD, LEAST_REPAIR_TIME), MOST_REPAIR_TIME)
