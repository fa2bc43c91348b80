"""Segments become runs again, whichever of them arrive and however they are grouped."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiwanbond.core import ip
from multiwanbond.core.burst import Burst
from multiwanbond.core.join import Joiner
from multiwanbond.core.reorder import Released
from multiwanbond.core.wire import DataForm

from .inner_packets import ACK, CWR, FIN, ICMP, PSH, TCP, UDP, Shape

BOTH = pytest.mark.parametrize("version", [4, 6])
PAYLOAD = Random(2).randbytes(4321)
SIZE = 1000


def datagrams(run: Burst) -> list[tuple[DataForm, bytes]]:
    """What the sender makes of a run (as `Outbound` does)."""
    header = bytearray(run.packet[: run.header_length])
    payload = bytes(run.packet[run.header_length :])
    position = ip.LENGTH_POSITION[ip.ip_version(header)]
    items: list[tuple[DataForm, bytes]] = []
    for offset in range(0, len(payload), run.segment_size):
        header[position : position + 2] = offset.to_bytes(2, "big")
        is_last = offset + run.segment_size >= len(payload)
        form = DataForm.LAST_SEGMENT if is_last else DataForm.SEGMENT
        items.append((form, bytes(header) + payload[offset : offset + run.segment_size]))
    return items


def on_the_wire(bursts: list[Burst]) -> list[bytes]:
    """The packets the kernel makes of what it is given."""
    return [
        ip.complete_checksum(packet.packet) if packet.is_checksum_partial else bytes(packet.packet)
        for burst in bursts
        for packet in ip.split_run(burst)
    ]


def unnumbered(packet: bytes) -> bytes:
    """The packet without IPv4's identification, and the checksum that covers it.

    A short last segment on its own cannot tell how many came before it, so its number is another
    than a network card's; it need only differ from the others'.
    """
    return packet[:4] + packet[6:10] + packet[12:] if packet[0] >> 4 == 4 else packet


shapes = st.builds(
    Shape,
    version=st.sampled_from([4, 6]),
    protocol=st.sampled_from([TCP, UDP]),
    sequence=st.integers(0, 2**32 - 1),
    flags=st.integers(0, 255),
    options=st.sampled_from([b"", b"\1\1\x08\x0a" + bytes(8)]),
    traffic_class=st.integers(0, 255),
)


@BOTH
@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_a_run_that_arrives_whole_is_the_run_that_left(version: int, protocol: int) -> None:
    run = Shape(version=version, protocol=protocol, flags=PSH | ACK | CWR).run(PAYLOAD, SIZE)

    (burst,) = Joiner().join(datagrams(run))

    assert burst.packet == run.packet
    assert (burst.segment_size, burst.header_length) == (SIZE, run.header_length)
    assert burst.is_checksum_partial


@given(
    shape=shapes,
    size=st.integers(1, 400),
    payload=st.binary(min_size=1, max_size=3000),
    data=st.data(),
)
def test_exactly_the_segments_that_arrive_are_delivered(
    shape: Shape, size: int, payload: bytes, data: st.DataObject
) -> None:
    items = datagrams(shape.run(payload, size))
    count = len(items)
    arrived = sorted(data.draw(st.sets(st.integers(0, count - 1)), label="arrived"))
    cuts = sorted(data.draw(st.sets(st.integers(0, count), max_size=4), label="batches end at"))
    joiner = Joiner()

    bursts: list[Burst] = []
    for start, end in zip([0, *cuts], [*cuts, count], strict=True):
        bursts += joiner.join([items[index] for index in arrived if start <= index < end])

    expected = [shape.segment(payload, size, index) for index in arrived]
    packets = on_the_wire(bursts)
    assert [unnumbered(packet) for packet in packets] == [unnumbered(packet) for packet in expected]
    assert len({packet[4:6] for packet in packets if packet[0] >> 4 == 4}) in (0, len(packets))
    assert joiner.malformed == 0


@BOTH
def test_a_lost_segment_leaves_two_bursts(version: int) -> None:
    shape = Shape(version=version, flags=FIN | PSH | ACK | CWR)
    items = datagrams(shape.run(PAYLOAD, SIZE))

    first, second = Joiner().join([*items[:2], *items[3:]])

    assert first.segment_count == 2
    assert second.segment_count == 2
    assert on_the_wire([first, second]) == [
        shape.segment(PAYLOAD, SIZE, index) for index in (0, 1, 3, 4)
    ]


@BOTH
def test_only_the_ends_of_a_run_keep_the_flags_of_its_ends(version: int) -> None:
    items = datagrams(Shape(version=version, flags=FIN | PSH | ACK | CWR).run(PAYLOAD, SIZE))
    flags_at = (20 if version == 4 else 40) + 13

    (head,) = Joiner().join(items[:2])
    (middle,) = Joiner().join(items[2:4])
    (tail,) = Joiner().join(items[4:])

    assert [burst.packet[flags_at] for burst in (head, middle, tail)] == [
        ACK | CWR,
        ACK,
        FIN | PSH | ACK,
    ]


@BOTH
def test_a_lone_segment_is_a_plain_packet(version: int) -> None:
    items = datagrams(Shape(version=version).run(PAYLOAD, SIZE))

    (burst,) = Joiner().join(items[2:3])

    assert burst.segment_size == 0
    assert burst.is_checksum_partial
    ip.check_packet_untrusted(burst.packet)


def test_packets_between_segments_stay_where_they_are() -> None:
    shape = Shape()
    items = datagrams(shape.run(PAYLOAD, SIZE))
    single = Shape(protocol=UDP).packet(b"between")
    partial = Shape(version=6).packet(b"partial", is_partial=True)

    bursts = Joiner().join(
        [*items[:2], (DataForm.PACKET, single), *items[2:], (DataForm.PARTIAL, partial)]
    )

    assert [burst.segment_count for burst in bursts] == [2, 1, 3, 1]
    assert bursts[1].packet == single
    assert not bursts[1].is_checksum_partial
    assert bursts[3].packet == partial
    assert bursts[3].is_checksum_partial


def test_two_runs_of_one_flow_stay_two() -> None:
    first = Shape(sequence=1000).run(PAYLOAD, SIZE)
    second = Shape(sequence=1000 + len(PAYLOAD)).run(PAYLOAD, SIZE)

    bursts = Joiner().join([*datagrams(first), *datagrams(second)])

    assert [burst.packet for burst in bursts] == [first.packet, second.packet]


def test_a_run_whose_end_was_lost_is_not_joined_with_the_next() -> None:
    first, second = (Shape(sequence=sequence).run(PAYLOAD, SIZE) for sequence in (1000, 9000))

    bursts = Joiner().join([*datagrams(first)[:3], *datagrams(second)])

    assert [burst.segment_count for burst in bursts] == [3, 5]


@BOTH
def test_no_burst_is_longer_than_an_ip_packet_may_be(version: int) -> None:
    shape = Shape(version=version)
    items = datagrams(shape.run(PAYLOAD[:1000] * 60, SIZE))
    position = ip.LENGTH_POSITION[version]
    beyond = [  # a peer may claim what no kernel reads: one endless run
        (DataForm.SEGMENT, packet[:position] + offset.to_bytes(2, "big") + packet[position + 2 :])
        for offset, (_, packet) in zip(range(0, 66_000, SIZE), items + items, strict=False)
        if offset < 65536
    ]

    bursts = Joiner().join(beyond)

    assert [burst.segment_count for burst in bursts] == [65, 1]
    assert all(len(burst.packet) <= 65535 for burst in bursts)
    for burst in bursts:
        ip.check_packet_untrusted(burst.packet)


@BOTH
def test_what_no_sender_makes_of_a_run_is_not_taken_for_its_next_segment(version: int) -> None:
    items = datagrams(Shape(version=version).run(PAYLOAD, SIZE))
    header_length = Shape(version=version).header_length
    position = ip.LENGTH_POSITION[version]
    (form, first), (_, second), (_, third) = items[:3]
    at_the_end = first[:position] + (65_000).to_bytes(2, "big") + first[position + 2 :]
    short = (form, second[:-1])
    empty = (form, second[:header_length])
    # Its length field says 1000, which is also the offset that is due.
    packet = (DataForm.PACKET, second[: 1000 + (40 if version == 6 else 0)])
    joiner = Joiner()

    groups = [
        joiner.join([(form, at_the_end), (form, at_the_end)]),
        joiner.join([(form, first), short, (form, third)]),
        joiner.join([(form, first), empty]),
        joiner.join([(form, first), packet]),
    ]

    assert [[burst.segment_count for burst in group] for group in groups] == [
        [1, 1],
        [2, 1],
        [1],
        [1, 1],
    ]
    assert groups[3][1].packet == packet[1]
    assert joiner.malformed == 1


@pytest.mark.parametrize(
    "item",
    [
        pytest.param((DataForm.SEGMENT, b""), id="nothing"),
        pytest.param((DataForm.SEGMENT, Shape().packet(b"")), id="no payload"),
        pytest.param((DataForm.SEGMENT, Shape().packet(b"x")[:30]), id="header cut short"),
        pytest.param((DataForm.LAST_SEGMENT, bytes(100)), id="no IP version"),
        pytest.param((DataForm.SEGMENT, Shape().packet(b"x") + bytes(65_500)), id="too long"),
        pytest.param((DataForm.PACKET, Shape().packet(b"x")[:-1]), id="packet cut short"),
        pytest.param(
            (DataForm.PARTIAL, Shape(protocol=ICMP).packet(b"x")), id="partial, but of no use"
        ),
    ],
)
def test_what_is_no_packet_is_counted_and_left_out(item: Released) -> None:
    good = (DataForm.PACKET, Shape().packet(b"good"))
    joiner = Joiner()

    bursts = joiner.join([good, item, good])

    assert [burst.packet for burst in bursts] == [good[1], good[1]]
    assert joiner.malformed == 1
