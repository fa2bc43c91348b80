"""The bytes on the wire: what is written is what is read, and nothing else is."""

import pytest

from multiwanbond.core import frames, wire
from multiwanbond.core.frames import (
    Ack,
    Close,
    Frame,
    PathAck,
    Probe,
    ProbeReply,
    Train,
    TrainReport,
)
from multiwanbond.errors import DatagramError, DropReason

PATH_ACK = PathAck(
    path_id=3,
    highest=0xFFFFFFFF,
    echo=0xABCDEF,
    hold=frames.MAX_HOLD,
    datagrams=7,
    octets=10_000,
    received_at=0x123456,
    least_delay=0x0A0B0C,
    ranges=((3, 2), (0xFFFF, 0)),
)
FRAMES: list[Frame] = [
    Probe(65535),
    Ack((PATH_ACK, PATH_ACK._replace(path_id=4))),
    ProbeReply(1),
    Train(9),
    TrainReport(1, 9, 24, 25_000, 900),
]


def test_frames_are_read_as_they_were_written() -> None:
    plain = frames.encode_frames([*FRAMES, Close(2)])

    assert frames.decode_frames_untrusted(plain) == [*FRAMES, Close(2)]


def test_every_control_datagram_is_long_enough_for_carriers_that_drop_tiny_ones() -> None:
    plain = frames.encode_frames([Close(0)])

    assert len(plain) + wire.OVERHEAD >= wire.MIN_DATAGRAM


def test_the_golden_bytes_of_frames_do_not_change() -> None:
    plain = frames.encode_frames([Probe(0x0102), Ack((PATH_ACK,)), Close(1)])

    assert plain.hex() == (
        "010102" "0301"
        "03ffffffffabcdefffff00000007000027101234560a0b0c02" "000302" "ffff00"
        "0401"
    )  # fmt: skip


def test_a_truncated_frame_is_malformed() -> None:
    plain = frames.encode_frames(FRAMES)

    with pytest.raises(DatagramError) as caught:
        frames.decode_frames_untrusted(plain[:-1])

    assert caught.value.reason is DropReason.MALFORMED


def test_an_unknown_frame_type_is_malformed() -> None:
    with pytest.raises(DatagramError) as caught:
        frames.decode_frames_untrusted(b"\x7f" + bytes(20))

    assert caught.value.reason is DropReason.MALFORMED


def test_overhead_is_60_bytes_with_udp_and_ipv4() -> None:
    assert wire.OVERHEAD + 8 + 20 == 60


def test_the_tail_packs_what_fits_and_drops_what_does_not() -> None:
    tail = wire.pack_tail(0x1_123456, 0x1_ABCDEF, 0x1_0102)

    assert (tail >> 40, tail >> 16 & 0xFFFFFF, tail & 0xFFFF) == (0x123456, 0xABCDEF, 0x0102)


@pytest.mark.parametrize(
    ("truncated", "reference", "expected"),
    [
        (5, 0, 5),
        (0, 0xFF, 0x100),  # just wrapped
        (0xFF, 0x100, 0xFF),  # a late one from before the wrap
        (0x10, 0x1F0, 0x210),
        (0xF0, 0x10, 0xF0),  # cannot be negative
        (0x80, 0x100, 0x80),  # exactly half: the older one
    ],
)
def test_a_truncated_sequence_expands_to_the_nearest(
    truncated: int, reference: int, expected: int
) -> None:
    assert wire.expand(truncated, 8, reference) == expected


def test_handshake_messages_are_read_as_they_were_written() -> None:
    noise = bytes(range(200))
    macs = b"1" * 16 + b"2" * 16
    initiation = wire.encode_initiation(wire.Initiation(0xABCD, noise))
    response = wire.encode_response(wire.Response(1, 2, noise))
    cookie = wire.CookieReply(7, b"n" * 24, b"s" * 32)

    assert wire.decode_initiation_untrusted(initiation + macs) == (0xABCD, noise)
    assert wire.decode_response_untrusted(response + macs) == (1, 2, noise)
    assert wire.decode_cookie_reply_untrusted(wire.encode_cookie_reply(cookie)) == cookie
    assert wire.split_macs_untrusted(initiation + macs) == (
        initiation,
        b"1" * 16,
        initiation + b"1" * 16,
        b"2" * 16,
    )


def test_another_wire_version_is_told_from_garbage() -> None:
    message = bytearray(wire.encode_initiation(wire.Initiation(1, bytes(200))) + bytes(32))
    message[1] = wire.WIRE_VERSION + 1

    with pytest.raises(DatagramError) as caught:
        wire.decode_initiation_untrusted(message)

    assert caught.value.reason is DropReason.UNKNOWN_VERSION
