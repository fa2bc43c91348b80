"""Flows are remembered while they last, and no longer."""

from multiwanbond.core.flow import IDLE_LIMIT, MOST_FLOWS, FlowTable


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
