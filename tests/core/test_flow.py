"""Flows are remembered while they last, and no longer; and some may pass the queue."""

import pytest

from multiwanbond.core.flow import (
    IDLE_LIMIT,
    MOST_FLOWS,
    SMALL,
    SPARSE_BURST,
    SPARSE_DEBT,
    SPARSE_RATE,
    YOUNG_BYTES,
    Flow,
    FlowTable,
)
from multiwanbond.core.ip import flow_key

from .inner_packets import ICMP, TCP, UDP, Shape


def test_a_flow_is_the_same_as_long_as_it_is_used() -> None:
    table = FlowTable()
    flow = table.lookup(b"a", 0.0)
    flow.last_sequence = 5

    for second in range(1, 200):
        table.expire_idle(float(second))
        assert table.lookup(b"a", float(second)) is flow

    assert flow.last_used == 199.0


def test_another_key_is_another_flow() -> None:
    table = FlowTable()

    assert table.lookup(b"a", 0.0) is not table.lookup(b"b", 0.0)
    assert len(table) == 2


def test_a_new_flow_has_neither_a_past_nor_a_path() -> None:
    flow = FlowTable().lookup(b"a", 1.0)

    assert (flow.last_sequence, flow.path_id) == (0, None)


def test_an_idle_flow_is_forgotten_and_a_busy_one_is_not() -> None:
    table = FlowTable()
    idle = table.lookup(b"idle", 0.0)
    busy = table.lookup(b"busy", 0.0)
    table.lookup(b"busy", 1.0)

    table.expire_idle(IDLE_LIMIT)

    assert len(table) == 1
    assert table.lookup(b"busy", IDLE_LIMIT) is busy
    assert table.lookup(b"idle", IDLE_LIMIT) is not idle


def test_a_full_table_forgets_the_flow_unused_for_longest() -> None:
    table = FlowTable(capacity=3)
    flows = {key: table.lookup(key, 0.0) for key in (b"a", b"b", b"c")}
    table.lookup(b"a", 1.0)

    table.lookup(b"d", 2.0)

    assert len(table) == 3
    assert table.lookup(b"a", 3.0) is flows[b"a"]
    assert table.lookup(b"c", 3.0) is flows[b"c"]
    assert table.lookup(b"b", 3.0) is not flows[b"b"]


def test_a_flood_of_flows_takes_no_more_than_the_table_holds() -> None:
    table = FlowTable()

    for number in range(MOST_FLOWS + 5000):
        table.lookup(number.to_bytes(13, "big"), 0.0)

    assert len(table) == MOST_FLOWS


def flow_of(protocol: int) -> Flow:
    key = bytes([protocol]) + bytes(12)
    return Flow(key, 0.0)


def passed(flow: Flow, *, size: int, every: float, seconds: float) -> float:
    """The share of a steady stream's packets that may pass the queue."""
    count = round(seconds / every)
    return sum(flow.is_sparse(size, step * every) for step in range(count)) / count


@pytest.mark.parametrize("protocol", [TCP, UDP, ICMP])
def test_a_call_may_always_pass(protocol: int) -> None:
    assert passed(flow_of(protocol), size=200, every=0.02, seconds=60) == 1.0


def test_a_download_may_not_beyond_its_greeting() -> None:
    flow = flow_of(UDP)

    greeting = [flow.is_sparse(1000, 0.0) for _ in range(10)]

    assert greeting == [True] * (SPARSE_BURST // 1000) + [False] * 6
    # Nothing of it passes now and then: that would be disorder within the download.
    assert passed(flow, size=1400, every=0.001, seconds=20) == 0.0
    assert not flow.is_sparse(1000, 20.0 + 0.9 * SPARSE_DEBT / SPARSE_RATE)
    assert flow.is_sparse(1000, 20.0 + 3 * SPARSE_DEBT / SPARSE_RATE)


def test_a_flow_that_was_silent_may_greet_again_but_not_longer_than_before() -> None:
    flow = flow_of(UDP)
    while flow.is_sparse(1000, 0.0):
        pass

    greeting = [flow.is_sparse(1000, 3600.0) for _ in range(10)]

    assert sum(greeting) == SPARSE_BURST // 1000


def test_what_waits_is_not_overtaken_by_its_own_flow() -> None:
    flow = flow_of(TCP)
    flow.backlog = 1

    assert not flow.is_sparse(40, 0.0)


def test_an_ack_passes_however_many_there_are_and_a_datagram_does_not() -> None:
    tcp, udp = flow_of(TCP), flow_of(UDP)

    assert passed(tcp, size=SMALL, every=0.0001, seconds=1) == 1.0
    assert passed(udp, size=SMALL, every=0.0001, seconds=1) < 0.1


def test_a_clock_that_stands_still_gives_no_allowance() -> None:
    flow = flow_of(UDP)

    assert sum(flow.is_sparse(100, 5.0) for _ in range(1000)) <= (
        (SPARSE_BURST + 5.0 * SPARSE_RATE) / 100
    )


def test_a_flow_is_young_until_it_has_proved_to_be_bulk() -> None:
    flow = flow_of(TCP)

    flow.octets = YOUNG_BYTES
    assert flow.is_young
    flow.octets += 1
    assert not flow.is_young


@pytest.mark.parametrize("version", [4, 6])
def test_only_udp_need_not_wait_for_the_packet_before(version: int) -> None:
    def flow(protocol: int) -> Flow:
        return Flow(flow_key(Shape(version=version, protocol=protocol).packet(b"x")), 0.0)

    assert flow(TCP).is_ordered
    assert flow(ICMP).is_ordered
    assert not flow(UDP).is_ordered
    assert flow(TCP).is_tcp
    assert not flow(UDP).is_tcp


def test_of_a_sender_whose_acks_cannot_be_seen_nothing_more_is_expected() -> None:
    assert Flow(flow_key(Shape(protocol=UDP).packet(b"")), 0.0).is_content
    assert not Flow(flow_key(Shape().packet(b"")), 0.0).is_content
