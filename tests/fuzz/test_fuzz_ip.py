"""Any bytes at all as inner packets: refused by reason, or taken without harm."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multiwanbond.core import ip
from multiwanbond.core.burst import Bytes
from multiwanbond.core.join import Joiner
from multiwanbond.core.wire import DataForm
from multiwanbond.errors import DatagramError, DropReason
from tests.core.inner_packets import TCP, UDP, Shape


def damaged(packet: bytes, damage: list[tuple[int, int]], length: int) -> bytes:
    """A packet with some bytes overwritten, and cut to a length."""
    copy = bytearray(packet)
    for position, value in damage:
        copy[position % len(copy)] = value
    return bytes(copy[:length])


seeds = st.builds(Shape, version=st.sampled_from([4, 6]), protocol=st.sampled_from([TCP, UDP])).map(
    lambda shape: shape.packet(bytes(range(64)))
)
almost_packets = st.builds(
    damaged,
    seeds,
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=6),
    st.integers(0, 130),
)
packets = st.one_of(st.binary(max_size=120), seeds, almost_packets)


@settings(max_examples=500)
@pytest.mark.parametrize(
    "parse", [ip.source_untrusted, ip.check_packet_untrusted, ip.header_length_untrusted]
)
@given(packet=packets)
def test_a_parser_returns_or_says_malformed(
    parse: Callable[[Bytes], object], packet: bytes
) -> None:
    reason = None
    try:
        parse(packet)
    except DatagramError as error:
        reason = error.reason

    assert reason in (None, DropReason.MALFORMED)


@settings(max_examples=500)
@given(packet=packets)
def test_any_bytes_have_a_destination_and_a_flow(packet: bytes) -> None:
    assert len(ip.destination(packet)) in (0, 4, 16)
    assert len(ip.flow_key(packet)) in (0, 9, 13, 33, 37)
    assert ip.flow_key(memoryview(packet)) == ip.flow_key(packet)


@settings(max_examples=500)
@given(items=st.lists(st.tuples(st.sampled_from(list(DataForm)), packets), max_size=8))
def test_whatever_the_joiner_emits_is_a_packet(items: list[tuple[DataForm, bytes]]) -> None:
    joiner = Joiner()

    bursts = joiner.join(items)

    assert sum(burst.segment_count for burst in bursts) + joiner.malformed == len(items)
    for burst in bursts:
        ip.check_packet_untrusted(burst.packet)
        if burst.is_checksum_partial:
            assert ip.header_length_untrusted(burst.packet) == (
                burst.header_length or ip.header_length_untrusted(burst.packet)
            )
            for packet in ip.split_run(burst):
                ip.check_packet_untrusted(ip.complete_checksum(packet.packet))
