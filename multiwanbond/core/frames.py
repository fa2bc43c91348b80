"""The frames that CONTROL datagrams consist of, byte by byte; everything is big-endian.

`decode_frames_untrusted` raises `DatagramError`, nothing else, whatever the bytes are.
"""

from collections.abc import Sequence
from enum import IntEnum
from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple

from multiwanbond.core.burst import Bytes
from multiwanbond.core.wire import MIN_DATAGRAM, OVERHEAD
from multiwanbond.errors import DatagramError, DropReason

HOLD_UNIT: Final = 8e-6
"""Seconds per tick of a hold time: 16 bits reach 0.52 s, beyond any feedback delay of ours."""
MAX_HOLD: Final = 0xFFFF
"""As a hold time: too long to say; such an ack gives no round-trip time."""
MAX_RANGES: Final = 16
"""Ranges in one path's ack; each is repeated until so many newer ones have pushed it out."""
MAX_RANGE: Final = 0xFFFF
MAX_GAP: Final = 0xFF
MOST_GROUPS: Final = 24
"""Multicast groups in one frame: with the longest addresses it fits the smallest datagram."""


class FrameType(IntEnum):
    """First byte of a frame."""

    PADDING = 0
    PROBE = 1
    PROBE_REPLY = 2
    ACK = 3
    CLOSE = 4
    ABANDON = 5
    TRAIN = 6
    TRAIN_REPORT = 7
    TERMS = 8
    LEAVE = 9
    GROUPS = 10
    VIEW = 11
    SEEN = 12


class Probe(NamedTuple):
    """Asks the peer to answer at once on the same path; padded, whether so much passes (`pmtu`).

    1 type, 2 probe id
    """

    probe_id: int


class ProbeReply(NamedTuple):
    """Answers a probe on the path it came by; the ack beside it gives the round-trip time.

    1 type, 2 probe id
    """

    probe_id: int


class PathAck(NamedTuple):
    """What one path delivered, in an ack frame.

    1 path id, 4 highest, 3 timestamp echo, 2 hold, 4 datagrams, 4 bytes, 3 received at, 3 least
    delay, 1 count of ranges, then for each range: 2 length, 1 gap
    """

    path_id: int
    highest: int
    """Low 32 bits of the highest path sequence received."""
    echo: int
    """Timestamp that datagram carried."""
    hold: int
    """Ticks of 8 us from its arrival to this transmission; 65535: too long to say."""
    datagrams: int
    """Authentic datagrams received on this path so far, low 32 bits."""
    octets: int
    """Their bytes, headers included, low 32 bits."""
    received_at: int
    """Receiver's clock at the highest's arrival, 16 us ticks: a rate needs no ack timing."""
    least_delay: int
    """Least difference of arrival and timestamp since the last report, 16 us ticks, 24 bits: the
    one-way delay up to the unknown offset of both clocks."""
    ranges: tuple[tuple[int, int], ...]
    """Newest first, beginning with `highest`: how many were received in a row, and how many are
    missing below them. What lies below the last range is not reported any more."""


class Ack(NamedTuple):
    """Feedback about every path that received something since the last one.

    1 type, 1 count of paths, then the paths
    """

    paths: tuple[PathAck, ...]


class Close(NamedTuple):
    """The sender forgets the bond.

    1 type, 1 reason (`CloseReason`)
    """

    reason: int


class Abandon(NamedTuple):
    """Nothing the receiver sends on this path seems to arrive, or the sender lost the WAN.

    1 type, 1 path id
    """

    path_id: int


class Train(NamedTuple):
    """One of several full datagrams sent back to back; how they spread tells the line's rate.

    1 type, 1 train id; padding follows
    """

    train_id: int


class TrainReport(NamedTuple):
    """How far a train had spread when it arrived, as far as it has.

    1 type, 1 path id, 1 train id, 1 datagrams, 4 bytes, 4 span
    """

    path_id: int
    train_id: int
    datagrams: int
    """How many of the train have arrived."""
    octets: int
    """Bytes of all but the first quarter of them."""
    span: int
    """Ticks of 16 us in which these arrived."""


class Terms(NamedTuple):
    """How the sender's operator wants the path used that this comes by.

    1 type, 2 weight, 8 most bytes a second, 1 whether only when needed
    """

    weight: int
    """For the routing modes that share by weight; 0: the path is about to go, nothing new is to be
    sent by it."""
    max_bandwidth: int
    """0: no limit."""
    is_reserve: bool = False
    """It is to carry packets only while no other path does."""


class Leave(NamedTuple):
    """The sender takes the WAN of this path out of the bond: nothing new is to be sent by it.

    1 type, 1 path id
    """

    path_id: int


class Groups(NamedTuple):
    """Multicast groups the sender wants to have from now on, or no more (see `groups`).

    1 type, 1 wanted (1) or not (0), 1 count of IPv4 addresses, 1 count of IPv6 addresses, then the
    addresses
    """

    is_wanted: bool
    addresses: tuple[bytes, ...]
    """Of 4 or 16 bytes, the short ones first on the wire."""


class View(NamedTuple):
    """How the sender sees the path that this comes by (see `peer_view`).

    1 type, 1 state, 2 loss, 4 round trip, 4 jitter, 8 capacity
    """

    state: int
    loss: int
    """Share of the sender's datagrams that were lost, in 65535ths."""
    rtt_us: int
    """Microseconds; 0: not known yet."""
    jitter_us: int
    capacity: int
    """Bytes a second from the sender to the receiver."""


class Seen(NamedTuple):
    """Where the datagrams come from, as the sender sees it, that arrive on the path this comes by.

    1 type, 2 port, 1 length of the address (4 or 16), then the address
    """

    port: int
    address: bytes


Frame = (
    Probe
    | ProbeReply
    | Ack
    | Close
    | Abandon
    | Train
    | TrainReport
    | Terms
    | Leave
    | Groups
    | View
    | Seen
)

_PROBE: Final = Struct("!BH")
_PATH_ACK: Final = Struct("!BIBHHIIBHBHB")  # 24-bit numbers as 8 + 16
_RANGE: Final = Struct("!HB")
_TWO: Final = Struct("!BB")
_TRAIN_REPORT: Final = Struct("!BBBBII")
_TERMS: Final = Struct("!BHQ?")
_GROUPS: Final = Struct("!BBBB")
_VIEW: Final = Struct("!BBHIIQ")
_SEEN: Final = Struct("!BHB")


def encode_frames(frames: Sequence[Frame]) -> bytes:
    """Return the plaintext of a CONTROL datagram, padded to the least datagram size."""
    plain = b"".join(_encode_frame(frame) for frame in frames)
    return plain.ljust(MIN_DATAGRAM - OVERHEAD, b"\0")


def _encode_frame(frame: Frame) -> bytes:
    match frame:
        case Probe():
            return _PROBE.pack(FrameType.PROBE, frame.probe_id)
        case ProbeReply():
            return _PROBE.pack(FrameType.PROBE_REPLY, frame.probe_id)
        case Ack():
            head = _TWO.pack(FrameType.ACK, len(frame.paths))
            return head + b"".join(_encode_path_ack(path) for path in frame.paths)
        case Close():
            return _TWO.pack(FrameType.CLOSE, frame.reason)
        case Abandon():
            return _TWO.pack(FrameType.ABANDON, frame.path_id)
        case Train():
            return _TWO.pack(FrameType.TRAIN, frame.train_id)
        case TrainReport():
            return _TRAIN_REPORT.pack(FrameType.TRAIN_REPORT, *frame)
        case Terms():
            return _TERMS.pack(FrameType.TERMS, *frame)
        case Leave():
            return _TWO.pack(FrameType.LEAVE, frame.path_id)
        case Groups():
            return _encode_groups(frame)
        case View():
            return _VIEW.pack(FrameType.VIEW, *frame)
        case Seen():
            head = _SEEN.pack(FrameType.SEEN, frame.port, len(frame.address))
            return head + frame.address


def _encode_groups(frame: Groups) -> bytes:
    ordered = sorted(frame.addresses, key=len)
    short = sum(len(address) == 4 for address in ordered)
    head = _GROUPS.pack(FrameType.GROUPS, frame.is_wanted, short, len(ordered) - short)
    return head + b"".join(ordered)


def _encode_path_ack(path: PathAck) -> bytes:
    head = _PATH_ACK.pack(
        path.path_id,
        path.highest,
        path.echo >> 16,
        path.echo & 0xFFFF,
        path.hold,
        path.datagrams,
        path.octets,
        path.received_at >> 16,
        path.received_at & 0xFFFF,
        path.least_delay >> 16,
        path.least_delay & 0xFFFF,
        len(path.ranges),
    )
    return head + b"".join(_RANGE.pack(*each) for each in path.ranges)


def decode_frames_untrusted(plain: Bytes) -> list[Frame]:
    """Return the frames of a CONTROL datagram's plaintext; padding ends them."""
    frames: list[Frame] = []
    offset = 0
    try:
        while offset < len(plain) and plain[offset] != FrameType.PADDING:
            frame, offset = _decode_frame_untrusted(plain, offset)
            frames.append(frame)
    except (ValueError, struct_error):
        raise DatagramError(DropReason.MALFORMED) from None
    return frames


def _decode_frame_untrusted(plain: Bytes, offset: int) -> tuple[Frame, int]:
    match FrameType(plain[offset]):
        case FrameType.PROBE:
            return Probe(_PROBE.unpack_from(plain, offset)[1]), offset + _PROBE.size
        case FrameType.PROBE_REPLY:
            return ProbeReply(_PROBE.unpack_from(plain, offset)[1]), offset + _PROBE.size
        case FrameType.ACK:
            return _decode_ack_untrusted(plain, offset)
        case FrameType.CLOSE:
            return Close(_TWO.unpack_from(plain, offset)[1]), offset + _TWO.size
        case FrameType.ABANDON:
            return Abandon(_TWO.unpack_from(plain, offset)[1]), offset + _TWO.size
        case FrameType.TRAIN:
            return Train(_TWO.unpack_from(plain, offset)[1]), offset + _TWO.size
        case FrameType.TRAIN_REPORT:
            _, *fields = _TRAIN_REPORT.unpack_from(plain, offset)
            return TrainReport(*fields), offset + _TRAIN_REPORT.size
        case FrameType.TERMS:
            _, *fields = _TERMS.unpack_from(plain, offset)
            return Terms(*fields), offset + _TERMS.size
        case FrameType.LEAVE:
            return Leave(_TWO.unpack_from(plain, offset)[1]), offset + _TWO.size
        case FrameType.GROUPS:
            return _decode_groups_untrusted(plain, offset)
        case FrameType.VIEW:
            _, *fields = _VIEW.unpack_from(plain, offset)
            return View(*fields), offset + _VIEW.size
        case FrameType.SEEN:
            return _decode_seen_untrusted(plain, offset)
        case FrameType.PADDING:
            raise ValueError  # the caller stops at padding


def _decode_ack_untrusted(plain: Bytes, offset: int) -> tuple[Ack, int]:
    _, count = _TWO.unpack_from(plain, offset)
    offset += _TWO.size
    paths = []
    for _ in range(count):
        path_id, highest, high, low, hold, datagrams, octets, *times, range_count = (
            _PATH_ACK.unpack_from(plain, offset)
        )
        at_high, at_low, delay_high, delay_low = times
        offset += _PATH_ACK.size
        end = offset + range_count * _RANGE.size
        paths.append(
            PathAck(
                path_id=path_id,
                highest=highest,
                echo=high << 16 | low,
                hold=hold,
                datagrams=datagrams,
                octets=octets,
                received_at=at_high << 16 | at_low,
                least_delay=delay_high << 16 | delay_low,
                ranges=tuple(
                    _RANGE.unpack_from(plain, at) for at in range(offset, end, _RANGE.size)
                ),
            )
        )
        offset = end
    return Ack(tuple(paths)), offset


def _decode_seen_untrusted(plain: Bytes, offset: int) -> tuple[Seen, int]:
    _, port, size = _SEEN.unpack_from(plain, offset)
    offset += _SEEN.size
    address = bytes(plain[offset : offset + size])
    if size not in (4, 16) or len(address) != size:
        raise ValueError
    return Seen(port, address), offset + size


def _decode_groups_untrusted(plain: Bytes, offset: int) -> tuple[Groups, int]:
    _, is_wanted, short, long = _GROUPS.unpack_from(plain, offset)
    offset += _GROUPS.size
    addresses = []
    for size in (4,) * short + (16,) * long:
        addresses.append(bytes(plain[offset : offset + size]))
        offset += size
    if offset > len(plain):
        raise ValueError
    return Groups(bool(is_wanted), tuple(addresses)), offset
