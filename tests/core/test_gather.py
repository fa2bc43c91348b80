"""Packets of a UDP flow become a run, and the run the same packets again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiwanbond.core import ip
from multiwanbond.core.burst import Burst
from multiwanbond.core.flow import Flow
from multiwanbond.core.gather import MOST_SEGMENTS
from multiwanbond.core.queue import FlowQueue

from .inner_packets import Shape

UDP_FLOW = Shape(protocol=17)


def arrivals(
    payloads: list[bytes], *, version: int = 4, is_partial: bool = True, is_verified: bool = False
) -> list[Burst]:
    """The packets of one flow, numbered as its host numbers them."""
    return [
        Burst(
            Shape(protocol=17, version=version, identification=7 + number).packet(
                payload, is_partial=is_partial
            ),
            is_checksum_partial=is_partial,
            is_checksum_verified=is_verified,
        )
        for number, payload in enumerate(payloads)
    ]


def a_queue() -> FlowQueue:
    return FlowQueue(Flow(ip.flow_key(UDP_FLOW.packet(b"")), 0.0))


def leaving(queue: FlowQueue) -> list[Burst]:
    """Everything that waits, pulled without a limit."""
    bursts = []
    while (piece := queue.pull(1e9, 0.0)) is not None:
        bursts.append(piece.burst)
    assert queue.octets == 0
    return bursts


def counts(bursts: list[Burst], *, at: list[float] | None = None) -> list[int]:
    """How many packets are in each burst that leaves."""
    queue = a_queue()
    for number, burst in enumerate(bursts):
        queue.push(burst, at[number] if at else 0.0)
    return [burst.segment_count for burst in leaving(queue)]


@given(
    payloads=st.lists(
        st.one_of(st.binary(max_size=30), st.binary(min_size=20, max_size=20)), max_size=80
    ),
    version=st.sampled_from([4, 6]),
    is_partial=st.booleans(),
)
def test_what_leaves_is_what_came(payloads: list[bytes], version: int, is_partial: bool) -> None:
    came = arrivals(payloads, version=version, is_partial=is_partial, is_verified=not is_partial)
    queue = a_queue()
    for burst in came:
        queue.push(burst, 0.0)

    left = [
        ip.complete_checksum(packet.packet) if packet.is_checksum_partial else packet.packet
        for burst in leaving(queue)
        for packet in ip.split_run(burst)
    ]

    assert left == [
        Shape(protocol=17, version=version, identification=7 + number).packet(payload)
        for number, payload in enumerate(payloads)
    ]


@pytest.mark.parametrize("version", [4, 6])
def test_packets_of_one_batch_leave_as_one_run(version: int) -> None:
    assert counts(arrivals([bytes(200)] * 10, version=version)) == [10]


def test_a_shorter_packet_ends_a_run_and_a_longer_one_begins_another() -> None:
    sizes = [200, 200, 50, 200, 200, 300, 300]

    assert counts(arrivals([bytes(size) for size in sizes])) == [3, 2, 2]


def test_a_run_is_no_longer_than_the_kernel_takes() -> None:
    assert counts(arrivals([bytes(20)] * (MOST_SEGMENTS + 5))) == [MOST_SEGMENTS, 5]
    assert counts(arrivals([bytes(1400)] * 50)) == [46, 4]


def test_packets_of_different_batches_stay_apart() -> None:
    assert counts(arrivals([bytes(200)] * 4), at=[0.0, 0.0, 0.001, 0.001]) == [2, 2]


def test_what_has_begun_to_leave_does_not_grow() -> None:
    queue = a_queue()
    first, second, third = arrivals([bytes(200)] * 3)
    queue.push(first, 0.0)
    queue.push(second, 0.0)
    queue.pull(0.0, 0.0)

    queue.push(third, 0.0)

    assert [burst.segment_count for burst in leaving(queue)] == [2, 1]


def test_a_checksum_that_nobody_has_found_right_is_left_as_it_is() -> None:
    assert counts(arrivals([bytes(200)] * 3, is_partial=False)) == [1, 1, 1]
    assert counts(arrivals([bytes(200)] * 3, is_partial=False, is_verified=True)) == [3]


def test_packets_without_a_checksum_stay_without() -> None:
    came = arrivals([bytes(200)] * 3, is_partial=False, is_verified=True)
    bare = [
        Burst(
            bytes(burst.packet[:26]) + b"\0\0" + bytes(burst.packet[28:]), is_checksum_verified=True
        )
        for burst in came
    ]

    assert counts(bare) == [1, 1, 1]


@pytest.mark.parametrize("version", [4, 6])
def test_a_marked_packet_stays_marked_alone(version: int) -> None:
    plain = Shape(protocol=17, version=version, traffic_class=2).packet(bytes(9), is_partial=True)
    marked = Shape(protocol=17, version=version, traffic_class=3).packet(bytes(9), is_partial=True)

    assert counts(
        [Burst(packet, is_checksum_partial=True) for packet in (plain, plain, marked, plain, plain)]
    ) == [2, 1, 2]


def test_empty_and_odd_packets_stay_packets() -> None:
    assert counts(arrivals([b"", b""])) == [1, 1]
    padded = [
        Burst(bytes(burst.packet) + b"\0", is_checksum_partial=True)
        for burst in arrivals([bytes(200)] * 2)
    ]
    assert counts(padded) == [1, 1]


def test_tcp_packets_stay_packets() -> None:
    queue = FlowQueue(Flow(ip.flow_key(Shape().packet(b"")), 0.0))
    for _ in range(3):
        queue.push(Burst(Shape().packet(bytes(100), is_partial=True), is_checksum_partial=True), 0)

    assert [burst.segment_count for burst in leaving(queue)] == [1, 1, 1]
