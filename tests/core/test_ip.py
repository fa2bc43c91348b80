"""What is read from inner packets, and how a run falls apart into them."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiwanbond.core import ip
from multiwanbond.core.burst import Burst
from multiwanbond.errors import DatagramError, DropReason

from .inner_packets import (
    ACK,
    CWR,
    ECE,
    FIN,
    HOSTS,
    ICMP,
    PORTS,
    PSH,
    SYN,
    TCP,
    UDP,
    Shape,
    word_sum,
)

SHAPES = [
    pytest.param(Shape(version=version, protocol=protocol), id=f"{name} in IPv{version}")
    for version in (4, 6)
    for protocol, name in ((TCP, "TCP"), (UDP, "UDP"))
]


def reversed_flow(packet: bytes) -> bytes:
    """A packet of the opposite direction."""
    if packet[0] >> 4 == 4:
        return packet[:12] + packet[16:20] + packet[12:16] + packet[22:24] + packet[20:22]
    return packet[:8] + packet[24:40] + packet[8:24] + packet[42:44] + packet[40:42]


# --- addresses


@pytest.mark.parametrize("shape", SHAPES)
def test_addresses_are_read_from_any_kind_of_buffer(shape: Shape) -> None:
    packet = shape.packet(b"x")
    source, target = HOSTS[shape.version]

    for buffer in (packet, bytearray(packet), memoryview(packet)):
        assert ip.source_untrusted(buffer) == source
        assert ip.destination(buffer) == target


@pytest.mark.parametrize("junk", [b"", b"E", bytes(20), b"\x45" + bytes(18), b"\x60" + bytes(38)])
def test_what_is_no_packet_has_no_destination_and_its_source_is_malformed(junk: bytes) -> None:
    assert ip.destination(junk) == b""
    with pytest.raises(DatagramError) as caught:
        ip.source_untrusted(junk)
    assert caught.value.reason is DropReason.MALFORMED


# --- flow key


@pytest.mark.parametrize("shape", SHAPES)
def test_a_flow_is_named_by_protocol_addresses_and_ports(shape: Shape) -> None:
    source, target = HOSTS[shape.version]

    key = ip.flow_key(shape.packet(b"payload"))

    assert key == bytes([shape.protocol]) + source + target + PORTS
    assert len(key) == {4: 13, 6: 37}[shape.version]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_a_run_has_the_key_of_its_packets(shape: Shape, kind: type[bytearray | memoryview]) -> None:
    payload = bytes(5000)

    assert ip.flow_key(kind(shape.run(payload, 1000).packet)) == ip.flow_key(shape.packet(b"x"))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_two_directions_of_a_conversation_are_two_flows(shape: Shape) -> None:
    packet = shape.packet(b"x")

    assert ip.flow_key(reversed_flow(packet)) != ip.flow_key(packet)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_reversed_key_is_that_of_the_answers(shape: Shape) -> None:
    packet = shape.packet(b"x")

    assert ip.reverse_key(ip.flow_key(packet)) == ip.flow_key(reversed_flow(packet))
    assert ip.reverse_key(ip.reverse_key(ip.flow_key(packet))) == ip.flow_key(packet)


@pytest.mark.parametrize("version", [4, 6])
def test_a_tcp_header_says_its_numbers_and_how_much_follows(version: int) -> None:
    shape = Shape(version=version, sequence=0xFFFFFFF0, flags=ACK | PSH, options=bytes(12))

    fields = ip.tcp_fields(shape.packet(bytes(100)))

    assert fields == ip.TcpFields(
        sequence=0xFFFFFFF0, ack=77, flags=ACK | PSH, length=32, payload=100
    )


@pytest.mark.parametrize("version", [4, 6])
def test_a_pure_ack_has_no_data_and_neither_opens_nor_closes(version: int) -> None:
    def is_pure(payload: bytes = b"", *, flags: int = ACK, protocol: int = TCP) -> bool:
        shape = Shape(version=version, protocol=protocol, flags=flags, options=bytes(12))
        return ip.is_pure_ack(shape.packet(payload))

    assert is_pure()
    assert is_pure(flags=ACK | ECE | PSH)
    assert not is_pure(b"x")
    assert not is_pure(flags=ACK | FIN)
    assert not is_pure(flags=ACK | SYN)
    assert not is_pure(flags=PSH)
    assert not is_pure(protocol=UDP)


def test_what_is_not_a_whole_tcp_header_has_no_tcp_fields() -> None:
    whole = Shape(protocol=TCP).packet(b"")

    assert ip.tcp_fields(Shape(protocol=UDP).packet(bytes(100))) is None
    for length in range(len(whole)):
        assert ip.tcp_fields(whole[:length]) is None
    fragment = bytearray(whole)
    fragment[6:8] = b"\x00\x10"
    assert ip.tcp_fields(fragment) is None


def test_ipv4_options_do_not_change_the_key() -> None:
    with_options = Shape(ip_options=b"\x94\x04\0\0").packet(b"x")

    assert ip.flow_key(with_options) == ip.flow_key(Shape().packet(b"x"))


@pytest.mark.parametrize("fragment", [0x2000, 0x2001, 0x0010])
@pytest.mark.parametrize("options", [b"", b"\x94\x04\0\0"])
def test_all_fragments_share_a_flow_without_ports(fragment: int, options: bytes) -> None:
    packet = bytearray(Shape(protocol=UDP, ip_options=options).packet(b"x" * 16))
    packet[6:8] = fragment.to_bytes(2, "big")

    assert ip.flow_key(packet) == bytes([UDP]) + b"".join(HOSTS[4])


@pytest.mark.parametrize("version", [4, 6])
def test_a_protocol_without_ports_has_a_flow_per_pair_of_hosts(version: int) -> None:
    packet = bytearray(Shape(version=version).packet(b"x"))
    packet[9 if version == 4 else 6] = ICMP

    assert ip.flow_key(packet) == bytes([ICMP]) + b"".join(HOSTS[version])


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_the_key_depends_on_nothing_behind_the_ports(head: bytes, tail: bytes) -> None:
    packet = Shape(version=6).packet(b"")[:44] + head
    other = Shape(version=6).packet(b"")[:44] + tail

    assert ip.flow_key(packet) == ip.flow_key(other)


# --- lengths


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", [b"", b"\1\1\1\1" * 3, b"\1\1\1\1" * 10])
def test_the_header_ends_where_the_payload_begins(shape: Shape, options: bytes) -> None:
    shape = Shape(version=shape.version, protocol=shape.protocol, options=options)
    packet = shape.packet(b"payload")

    assert packet[ip.header_length_untrusted(packet) :] == b"payload"


@pytest.mark.parametrize("shape", SHAPES)
def test_a_header_cut_short_is_malformed(shape: Shape) -> None:
    packet = shape.packet(b"")

    for length in range(len(packet)):
        with pytest.raises(DatagramError, match="malformed"):
            ip.header_length_untrusted(packet[:length])
        with pytest.raises(DatagramError, match="malformed"):
            ip.check_packet_untrusted(packet[:length])
    ip.check_packet_untrusted(packet)


@pytest.mark.parametrize(
    ("position", "value"),
    [(0, 0x44), (0, 0x75), (6, 0x20), (7, 0x01), (9, ICMP), (32, 0x40)],
    ids=["IP header", "version", "more fragments", "fragment offset", "protocol", "TCP header"],
)
def test_what_has_no_transport_header_to_speak_of_is_malformed(position: int, value: int) -> None:
    packet = bytearray(Shape().packet(b"payload"))
    packet[position] = value

    with pytest.raises(DatagramError, match="malformed"):
        ip.header_length_untrusted(packet)


# --- checksums


@given(st.binary(max_size=300))
def test_the_fast_sum_is_the_slow_one(data: bytes) -> None:
    assert ip.internet_sum(data) == word_sum(data) % 0xFFFF


@pytest.mark.parametrize("shape", SHAPES)
@given(payload=st.binary(max_size=200))
def test_a_completed_checksum_is_what_the_kernel_would_have_computed(
    shape: Shape, payload: bytes
) -> None:
    partial = shape.packet(payload, is_partial=True)

    assert ip.complete_checksum(partial) == shape.packet(payload)


def test_a_udp_checksum_of_zero_is_sent_as_all_ones() -> None:
    shape = Shape(protocol=UDP)
    sum_without = word_sum(
        shape.packet(b"\0\0")[20:26] + shape.packet(b"\0\0", is_partial=True)[26:]
    )
    payload = (0xFFFF - sum_without).to_bytes(2, "big")

    completed = ip.complete_checksum(shape.packet(payload, is_partial=True))

    assert completed[26:28] == b"\xff\xff"


def test_a_packet_of_another_protocol_has_no_checksum_to_complete() -> None:
    packet = bytearray(Shape().packet(b"x"))
    packet[9] = ICMP

    assert ip.complete_checksum(packet) == packet


# --- runs


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [3000, 3001, 2999, 1000, 1])
def test_a_run_is_split_as_a_network_card_would(shape: Shape, size: int) -> None:
    shape = Shape(
        version=shape.version,
        protocol=shape.protocol,
        options=b"\1\1\x08\x0a" + bytes(8) if shape.protocol == TCP else b"",
        sequence=0xFFFFFF00,  # it wraps within the run
        flags=FIN | PSH | ACK | ECE | CWR,
        identification=0xFFFF,
        traffic_class=0x2A,
    )
    payload = Random(size).randbytes(size)
    run = shape.run(payload, 1000)

    packets = ip.split_run(run)

    assert [ip.complete_checksum(packet.packet) for packet in packets] == [
        shape.segment(payload, 1000, index) for index in range(run.segment_count)
    ]
    assert all(packet.is_checksum_partial and not packet.segment_size for packet in packets)


def test_a_single_packet_splits_into_itself() -> None:
    burst = Burst(Shape().packet(b"x"))

    assert ip.split_run(burst) == [burst]
