"""What leaves: packets and frames are numbered, sealed and laid out in runs, path by path."""

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final

from multiwanbond.core.burst import Burst
from multiwanbond.core.compression import Compressor
from multiwanbond.core.datagram import Transmit
from multiwanbond.core.fec.encoder import ParityEncoder
from multiwanbond.core.fec.shards import Parity, Shard, encode_parity
from multiwanbond.core.flow import Flow
from multiwanbond.core.frames import Frame, Probe, encode_frames
from multiwanbond.core.ip import LENGTH_POSITION, ip_version
from multiwanbond.core.keys import TransportKey
from multiwanbond.core.outbox import Outbox
from multiwanbond.core.path import Path
from multiwanbond.core.queue import Piece
from multiwanbond.core.repair import Lost, SentRun
from multiwanbond.core.segments import LAST_SEGMENT, SEGMENT
from multiwanbond.core.settings import EndpointSettings
from multiwanbond.core.wire import (
    FORM_MASK,
    HEADER_SIZE,
    MAX_FLOW_DISTANCE,
    MIN_DATAGRAM,
    NONCE,
    OVERHEAD,
    TRANSPORT_HEADER,
    DataForm,
    DatagramType,
    pack_tail,
    ticks,
)

_LENGTH: Final = Struct("!H")
_SEQUENCE_MASK: Final = 0xFFFFFFFF
_PACKET: Final = DatagramType.DATA << 4 | DataForm.PACKET
_PARTIAL: Final = DatagramType.DATA << 4 | DataForm.PARTIAL
_CONTROL: Final = DatagramType.CONTROL << 4
_PARITY: Final = DatagramType.PARITY << 4


class Outbound:
    """The sending side of a bond: one global numbering, one outbox per path."""

    __slots__ = (
        "_boxes",
        "compressor",
        "encoder",
        "global_sequence",
        "parity_datagrams",
        "sent_bytes",
        "sent_packets",
    )

    def __init__(self, settings: EndpointSettings) -> None:
        self.compressor = Compressor(settings)
        self.encoder: ParityEncoder | None = None
        """Is shown every packet that leaves; None while no parity is wanted."""
        self.parity_datagrams = 0
        self._boxes: dict[Path, Outbox] = {}
        self.global_sequence = 0
        """The last one assigned."""
        self.sent_packets = 0
        self.sent_bytes = 0

    def send(
        self,
        piece: Piece,
        flow: Flow,
        path: Path,
        key: TransportKey,
        now: float,
        *,
        is_urgent: bool,
        is_ack: bool = False,
    ) -> int:
        """Number, seal and lay out a packet, or segments of a run, for one path.

        Args:
            piece: what leaves.
            flow: whose it is.
            path: where it leaves by.
            key: what it is sealed with.
            now: the caller's clock.
            is_urgent: it passed the queue, and goes before others should it be sent again.
            is_ack: it does nothing but acknowledge, so at the peer it does not wait for what its
                flow has sent, nor that for it.

        Returns:
            The bytes of all datagrams.
        """
        number = self.global_sequence + 1
        is_free = is_ack or not flow.waits_for_order(is_urgent=is_urgent)
        distance = 0 if is_free else self._distance(flow, number)
        run = SentRun(
            piece.burst,
            first=path.ledger.next_sequence,
            count=piece.segments,
            number=number,
            distance=distance,
            now=now,
            offset=piece.offset,
            is_urgent=is_urgent,
            wans=flow.traffic_class.wans,
        )
        if self.compressor.wants(flow, piece.segments, key.features):
            run.shrunk = self.compressor.shrink(flow, _plaintexts(piece))
        path.in_flight.on_sent(run)
        before = path.ledger.sent_bytes
        self.global_sequence += piece.segments
        self._lay_out(run, path, key, now)
        self.sent_packets += piece.segments
        self.sent_bytes += piece.octets
        if not is_ack:
            flow.last_sequence = self.global_sequence
        if self.encoder is not None and flow.traffic_class.is_protected:
            _protect(self.encoder, piece, number, distance, path, now)
        return path.ledger.sent_bytes - before

    def _distance(self, flow: Flow, sequence: int) -> int:
        """Return how far back the flow's previous packet is; 0 if it need not be waited for."""
        if not flow.last_sequence:
            return 0
        distance = sequence - flow.last_sequence
        return distance if distance <= MAX_FLOW_DISTANCE else 0

    def send_copy(self, run: SentRun, path: Path, key: TransportKey, now: float) -> int:
        """Send by one more path what has just left by another; return the bytes of all datagrams.

        It is not sent again when it is lost: what left by the other path is.
        """
        before = path.ledger.sent_bytes
        self._lay_out(run, path, key, now)
        return path.ledger.sent_bytes - before

    def _lay_out(self, run: SentRun, path: Path, key: TransportKey, now: float) -> None:
        """Seal a packet, or segments of a run, under their global sequences."""
        if run.shrunk is not None:
            self._lay_out_shrunk(run, run.shrunk, path, key, ticks(now))
        elif run.burst.segment_size:
            self._lay_out_run(run, path, key, ticks(now))
        else:
            burst = run.burst
            first = _PARTIAL if burst.is_checksum_partial else _PACKET
            tail = pack_tail(ticks(now), run.number, run.distance)
            self._send_datagram(first, tail, bytes(burst.packet), path, key)
        path.ledger.on_awaited(path.ledger.next_sequence - 1, now)

    def _lay_out_shrunk(
        self,
        run: SentRun,
        plaintexts: Sequence[tuple[int, bytes]],
        path: Path,
        key: TransportKey,
        timestamp: int,
    ) -> None:
        """Seal packets some of which are compressed; no two datagrams are of one size."""
        distance = run.distance
        for number, (first, plain) in enumerate(plaintexts, run.number):
            self._send_datagram(first, pack_tail(timestamp, number, distance), plain, path, key)
            distance = 1

    def _lay_out_run(self, run: SentRun, path: Path, key: TransportKey, timestamp: int) -> None:
        """Seal segments under their run's own header, as many by one call as lie in one buffer."""
        burst, offset, left = run.burst, run.offset, run.count
        number, distance = run.number, run.distance
        header_length, segment_size = burst.header_length, burst.segment_size
        overhead = OVERHEAD + header_length
        size = overhead + segment_size
        end = min(offset + left * segment_size, len(burst.packet) - header_length)
        last = overhead + end - offset - (left - 1) * segment_size
        path_id, ledger, box = path.path_id, path.ledger, self._box(path)
        sequence = ledger.next_sequence
        octets = (left - 1) * size + last
        while left:
            start, count = box.reserve_run(size, left, last)
            key.seal_run(
                box.view,
                start,
                burst,
                offset,
                count,
                path_id,
                sequence,
                number,
                distance,
                timestamp,
            )
            offset += count * segment_size
            sequence += count
            number += count
            left -= count
            distance = 1
        ledger.next_sequence = sequence
        ledger.on_sent(sequence - 1, octets)

    def send_again(self, lost: Lost, path: Path, key: TransportKey, now: float) -> int:
        """Seal a packet or segment once more, under its old global sequence; return its bytes."""
        burst = lost.burst
        before = path.ledger.sent_bytes
        first, plain = _plaintext(burst, lost.offset)
        self._send_datagram(
            first, pack_tail(ticks(now), lost.number, lost.distance), plain, path, key
        )
        sequence = path.ledger.next_sequence - 1
        path.ledger.on_awaited(sequence, now)
        path.in_flight.on_sent(
            SentRun(
                burst,
                first=sequence,
                count=1,
                number=lost.number,
                distance=lost.distance,
                now=now,
                offset=lost.offset,
                first_sent_at=lost.sent_at,
                is_urgent=lost.is_urgent,
                wans=lost.wans,
            )
        )
        return path.ledger.sent_bytes - before

    def send_parity(self, parity: Parity, path: Path, key: TransportKey, now: float) -> int:
        """Seal a parity shard; return the bytes of its datagram."""
        before = path.ledger.sent_bytes
        tail = pack_tail(ticks(now), self.global_sequence, 0)
        self._send_datagram(_PARITY, tail, encode_parity(parity), path, key)
        self.parity_datagrams += 1
        return path.ledger.sent_bytes - before

    def send_frames(
        self, frames: Sequence[Frame], path: Path, key: TransportKey, now: float, *, size: int = 0
    ) -> None:
        """Seal frames as one CONTROL datagram; it tells the last global sequence assigned.

        Args:
            frames: what it says.
            path: the path it leaves by.
            key: what it is sealed with.
            now: the caller's clock.
            size: bytes of the datagram at least; nobody waits for one that is padded.
        """
        tail = pack_tail(ticks(now), self.global_sequence, 0)
        plain = encode_frames(frames).ljust(size - OVERHEAD, b"\0")
        self._send_datagram(_CONTROL, tail, plain, path, key)
        if not size and any(type(frame) is Probe for frame in frames):
            path.ledger.on_awaited(path.ledger.next_sequence - 1, now)

    def _send_datagram(
        self, first: int, tail: int, plain: bytes, path: Path, key: TransportKey
    ) -> None:
        ledger, path_id = path.ledger, path.path_id
        sequence = ledger.next_sequence
        size = OVERHEAD + len(plain)
        assert size >= MIN_DATAGRAM
        box = self._box(path)
        start = box.reserve(size)
        view = box.view
        TRANSPORT_HEADER.pack_into(
            view, start, first, path_id, key.remote_id, sequence & _SEQUENCE_MASK, tail
        )
        view[start + HEADER_SIZE : start + HEADER_SIZE + len(plain)] = plain
        key.seal(view, start, len(plain), NONCE.pack(path_id, sequence))
        ledger.next_sequence = sequence + 1
        ledger.on_sent(sequence, size)

    def _box(self, path: Path) -> Outbox:
        box = self._boxes.get(path)
        if box is None:
            box = self._boxes[path] = Outbox()
        return box

    def poll_transmit(self) -> Iterator[Transmit]:
        """Yield the runs laid out since the last call; a path without an address loses its own."""
        for path, box in self._boxes.items():
            if path.remote is not None:
                yield from box.drain(path.remote, path.wan_id, path.local_host)


def _protect(
    encoder: ParityEncoder, piece: Piece, number: int, distance: int, path: Path, now: float
) -> None:
    """Show the encoder each packet as the peer will see it."""
    for index, (first, plain) in enumerate(_plaintexts(piece)):
        shard = Shard(DataForm(first & FORM_MASK), distance, plain)
        encoder.add(number + index, shard, path, now)
        distance = 1


def _plaintexts(piece: Piece) -> Iterator[tuple[int, bytes]]:
    """Yield what the datagrams of a piece carry, each with its first byte."""
    for index in range(piece.segments):
        yield _plaintext(piece.burst, piece.offset + index * piece.burst.segment_size)


def _plaintext(burst: Burst, offset: int) -> tuple[int, bytes]:
    """Return the first byte and the plaintext of a packet, or of the segment at `offset`."""
    if burst.segment_size:
        return _segment(burst, offset)
    return _PARTIAL if burst.is_checksum_partial else _PACKET, bytes(burst.packet)


def _segment(burst: Burst, offset: int) -> tuple[int, bytes]:
    """Return the first byte and the plaintext of one segment of a run."""
    packet = memoryview(burst.packet)
    header = bytearray(packet[: burst.header_length])
    _LENGTH.pack_into(header, LENGTH_POSITION[ip_version(header)], offset)
    start = burst.header_length + offset
    end = min(start + burst.segment_size, len(packet))
    return SEGMENT if end < len(packet) else LAST_SEGMENT, b"".join((header, packet[start:end]))
