"""No bytes whatever make a wire parser do anything but return or raise DatagramError."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiwanbond.core import frames, wire
from multiwanbond.core.fec.shards import decode_parity_untrusted, unpack_shard_untrusted
from multiwanbond.core.membership import Report, decode_igmp_untrusted, decode_mld_untrusted
from multiwanbond.errors import DatagramError

PARSERS: list[Callable[[bytes], object]] = [
    frames.decode_frames_untrusted,
    wire.decode_initiation_untrusted,
    wire.decode_response_untrusted,
    wire.decode_cookie_reply_untrusted,
    wire.split_macs_untrusted,
    decode_parity_untrusted,
    decode_igmp_untrusted,
    decode_mld_untrusted,
]


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)
@given(data=st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(parse: Callable[[bytes], object], data: bytes) -> None:
    try:
        result = parse(data)
    except DatagramError:
        return

    assert result is not None


@given(first=st.integers(0, 255))
def test_any_first_byte_names_a_type_or_is_refused(first: int) -> None:
    try:
        found = wire.datagram_type_untrusted(first)
    except DatagramError:
        assert first >> 4 not in set(wire.DatagramType)
        return

    assert found == first >> 4


@given(data=st.binary(min_size=1, max_size=200).map(lambda tail: b"\x03" + tail))
def test_any_ack_is_read_or_refused(data: bytes) -> None:
    try:
        found = frames.decode_frames_untrusted(data)
    except DatagramError:
        return

    assert isinstance(found[0], frames.Ack)


@given(data=st.binary(min_size=1, max_size=200).map(lambda tail: b"\x0a" + tail))
def test_any_wish_for_groups_is_read_or_refused(data: bytes) -> None:
    try:
        found = frames.decode_frames_untrusted(data)
    except DatagramError:
        return

    assert isinstance(found[0], frames.Groups)
    assert all(len(address) in (4, 16) for address in found[0].addresses)


@given(data=st.binary(max_size=200).map(lambda tail: b"\x8f\0\0\0\0\0\0" + tail))
def test_any_multicast_report_is_read_or_refused(data: bytes) -> None:
    try:
        found = decode_mld_untrusted(data)
    except DatagramError:
        return

    assert isinstance(found, Report)
    assert all(len(group) == 16 for group in found.wanted + found.left)


@given(data=st.binary(min_size=5, max_size=60))
def test_any_recovered_shard_is_read_or_refused(data: bytes) -> None:
    try:
        shard = unpack_shard_untrusted(data)
    except DatagramError:
        return

    assert len(shard.plain) <= len(data) - 5
