"""The backlog: whose turn it is, what is dropped or marked, and how runs are taken apart."""

from collections import Counter
from math import sqrt
from random import Random

import pytest

from multiwanbond.core.burst import Burst
from multiwanbond.core.flow import YOUNG_BYTES, Flow
from multiwanbond.core.queue import (
    FEW,
    INTERVAL,
    LEAST_LIMIT,
    QUANTUM,
    STALE,
    TARGET,
    YOUNG_SHARE,
    Codel,
    FairQueue,
    FlowQueue,
    Piece,
)

from .inner_packets import TCP, UDP, Shape, word_sum

ECT_0, ECT_1, CONGESTION_EXPERIENCED = 2, 1, 3
SEGMENT = 1400
RUN = Shape().run(bytes(40 * SEGMENT), SEGMENT)
GRANULARITY = 0.001
"""Seconds between two looks at a queue."""


def bulk(name: str) -> Flow:
    """A flow that has proved to be bulk."""
    flow = Flow(name.encode(), 0.0)
    flow.octets = YOUNG_BYTES + 1
    return flow


def young(name: str) -> Flow:
    return Flow(name.encode(), 0.0)


def packet(size: int, *, mark: int = 0, version: int = 4, protocol: int = UDP) -> Burst:
    """A packet of so many bytes, headers included."""
    shape = Shape(version=version, protocol=protocol, traffic_class=mark)
    return Burst(shape.packet(bytes(size - shape.header_length)))


def take(queue: FairQueue[str], budget: float, now: float = 0.0) -> tuple[Flow, Piece] | None:
    """Let the flow whose turn it is send by the one path there is."""
    while (turn := queue.next(lambda _flow: "path")) is not None:
        piece = queue.pull(turn[0], budget, now)
        if piece is not None:
            return turn[0].flow, piece
    return None


def served(queue: FairQueue[str], *, octets: int, budget: float) -> Counter[Flow]:
    """Inner bytes that each flow gets while so many leave."""
    got: Counter[Flow] = Counter()
    while got.total() < octets:
        taken = take(queue, budget)
        assert taken is not None
        got[taken[0]] += taken[1].octets
    return got


# --- turns


@pytest.mark.parametrize("budget", [1500.0, 20_000.0, 100_000.0])
def test_flows_get_equal_bytes_whatever_their_packets_are(budget: float) -> None:
    queue: FairQueue[str] = FairQueue()
    queue.limit = 10_000_000
    flows = [bulk("big packets"), bulk("small packets"), bulk("runs")]
    for _ in range(1000):
        queue.push(flows[0], packet(1500), 0.0)
    for _ in range(10_000):
        queue.push(flows[1], packet(150), 0.0)
    for _ in range(30):
        queue.push(flows[2], RUN, 0.0)

    got = served(queue, octets=1_500_000, budget=budget)

    largest = max(min(budget, len(RUN.packet)), QUANTUM)
    for flow in flows:
        assert got[flow] == pytest.approx(500_000, abs=largest + QUANTUM)


def test_a_new_flow_goes_before_those_that_have_had_their_turn() -> None:
    queue: FairQueue[str] = FairQueue()
    download, call = bulk("download"), young("call")
    for _ in range(100):
        queue.push(download, packet(1500), 0.0)
    served(queue, octets=10 * QUANTUM, budget=1500)

    queue.push(call, packet(200), 0.0)
    taken = take(queue, 1500)

    assert taken is not None
    assert taken[0] is call


def test_a_young_flow_may_send_its_first_packets_in_one_turn() -> None:
    queue: FairQueue[str] = FairQueue()
    download, page = bulk("download"), young("page")
    for _ in range(20):
        queue.push(download, packet(1500), 0.0)
        queue.push(page, packet(1500), 0.0)
    served(queue, octets=QUANTUM + 1, budget=1500)  # the download came first, and was new, too

    first = [taken[0] for _ in range(YOUNG_SHARE) if (taken := take(queue, 1500))]

    assert first.count(page) >= YOUNG_SHARE - 1


def test_a_flow_that_empties_is_not_new_again_at_once() -> None:
    queue: FairQueue[str] = FairQueue()
    download, trickle = bulk("download"), bulk("trickle")
    for _ in range(1000):
        queue.push(download, packet(1500), 0.0)
    served(queue, octets=10 * QUANTUM, budget=1500)

    got: Counter[Flow] = Counter()
    for _ in range(300):
        if not trickle.backlog:
            queue.push(trickle, packet(1500), 0.0)
        taken = take(queue, 1500)
        assert taken is not None
        got[taken[0]] += 1

    assert got[download] == pytest.approx(got[trickle], rel=0.05)


def test_a_flow_alone_may_go_on_whatever_it_has_just_sent() -> None:
    queue: FairQueue[str] = FairQueue()
    download = bulk("download")
    for _ in range(4):
        queue.push(download, RUN, 0.0)

    taken = [take(queue, 1e9) for _ in range(4)]

    assert [piece.segments for _, piece in filter(None, taken)] == [40] * 4


# --- waiting for a path


def test_a_flow_without_a_path_holds_up_nobody_and_keeps_its_place() -> None:
    queue: FairQueue[str] = FairQueue()
    flows = [bulk(name) for name in ("first", "second", "third")]
    for flow in flows:
        queue.push(flow, packet(1000), 0.0)

    turn = queue.next(lambda flow: None if flow is flows[0] else "path")
    assert turn is not None
    assert turn[0].flow is flows[1]
    queue.pull(turn[0], 1500, 0.0)
    turn = queue.next(lambda _flow: "path")

    assert turn is not None
    assert turn[0].flow is flows[0]


def test_with_no_path_for_anybody_nothing_changes() -> None:
    queue: FairQueue[str] = FairQueue()
    flows = [bulk(str(n)) for n in range(5)]
    for flow in flows:
        queue.push(flow, packet(1000), 0.0)

    for _ in range(10):
        assert queue.next(lambda _flow: None) is None
    order = [taken[0] for _ in flows if (taken := take(queue, 1500))]

    assert order == flows


def test_packets_of_a_flow_leave_in_the_order_they_came() -> None:
    queue: FairQueue[str] = FairQueue()
    flow = bulk("flow")
    packets = [packet(100 + n) for n in range(50)]
    for each in packets:
        queue.push(flow, each, 0.0)

    left = [taken[1].burst for _ in packets if (taken := take(queue, 1500))]

    assert left == packets


# --- runs


@pytest.mark.parametrize("seed", range(5))
def test_the_pieces_of_a_run_cover_it_exactly(seed: int) -> None:
    print(f"seed {seed}")
    rng = Random(seed)
    payload = rng.randrange(SEGMENT, 60_000)
    run = Shape().run(bytes(payload), SEGMENT)
    queue = FlowQueue(bulk("flow"))
    queue.push(run, 0.0)
    queue.push(packet(500), 0.0)

    pieces: list[Piece] = []
    while not pieces or pieces[-1].burst is run:
        piece = queue.pull(rng.choice([-5000.0, 0.0, 1500.0, rng.uniform(0, 20_000)]), 0.0)
        assert piece is not None
        pieces.append(piece)
    pieces.pop()

    expected_offset = 0
    for piece in pieces:
        assert piece.offset == expected_offset
        expected_offset += piece.segments * SEGMENT
    assert sum(piece.segments for piece in pieces) == run.segment_count
    headers = run.segment_count * run.header_length
    assert sum(piece.octets for piece in pieces) == payload + headers
    assert queue.octets == 0


def test_no_more_segments_leave_than_there_is_credit_for_but_one_always_does() -> None:
    queue = FlowQueue(bulk("flow"))
    queue.push(RUN, 0.0)
    size = SEGMENT + RUN.header_length

    counts = [
        piece.segments
        for budget in (3.9 * size, 0.0, -1e6, 1.0 * size, 1e9)
        if (piece := queue.pull(budget, 0.0))
    ]

    assert counts == [3, 1, 1, 1, 34]


# --- CoDel (RFC 8289)


def drops(codel: Codel, *, sojourn: float, seconds: float, backlog: int = 10 * FEW) -> list[float]:
    """When packets are dropped of a queue that always holds them for so long."""
    steps = round(seconds / GRANULARITY)
    return [
        now
        for step in range(steps)
        if codel.should_drop(sojourn, backlog, now := 10.0 + step * GRANULARITY)
    ]


def test_below_the_target_nothing_is_ever_dropped() -> None:
    assert drops(Codel(), sojourn=0.99 * TARGET, seconds=20) == []


def test_two_packets_are_no_queue_however_long_they_wait() -> None:
    assert drops(Codel(), sojourn=10 * TARGET, seconds=20, backlog=FEW - 1) == []


def test_the_first_drop_comes_after_an_interval_and_the_next_by_the_square_root_law() -> None:
    dropped_at = drops(Codel(), sojourn=2 * TARGET, seconds=3)

    expected = 10.0 + INTERVAL
    for count, at in enumerate(dropped_at, 1):
        assert at == pytest.approx(expected, abs=2 * GRANULARITY)
        expected += INTERVAL / sqrt(count)
    assert len(dropped_at) > 10


def test_a_queue_that_was_short_for_a_moment_gets_a_whole_interval_again() -> None:
    codel = Codel()
    drops(codel, sojourn=2 * TARGET, seconds=0.9 * INTERVAL)
    codel.should_drop(0.0, 10 * FEW, 10.0 + 0.9 * INTERVAL)

    assert not codel.should_drop(2 * TARGET, 10 * FEW, 10.0 + 0.95 * INTERVAL)
    assert not codel.should_drop(2 * TARGET, 10 * FEW, 10.0 + 1.9 * INTERVAL)
    assert codel.should_drop(2 * TARGET, 10 * FEW, 10.0 + 1.96 * INTERVAL)


def test_a_queue_that_soon_returns_is_met_with_nearly_the_rate_it_left_with() -> None:
    codel = Codel()
    first = drops(codel, sojourn=2 * TARGET, seconds=3)
    codel.should_drop(0.0, 10 * FEW, 13.0)
    entered = [
        now
        for step in range(1000)
        if codel.should_drop(2 * TARGET, 10 * FEW, now := 13.001 + step * GRANULARITY)
    ]

    assert entered[1] - entered[0] == pytest.approx(
        INTERVAL / sqrt(len(first) - 2), abs=2 * GRANULARITY
    )


def test_only_the_flow_that_waits_too_long_loses_packets() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.limit = 10_000_000
    download, call = bulk("download"), bulk("call")
    lost: Counter[Flow] = Counter()

    for step in range(4000):
        now = 10.0 + step * GRANULARITY
        for _ in range(2):
            queue.push(download, packet(1000), now)
        if step % 20 == 0:
            queue.push(call, packet(1000), now)
        turn = queue.next(lambda _flow: "path")
        assert turn is not None
        before = queue.dropped
        queue.pull(turn[0], 1500, now)
        lost[turn[0].flow] += queue.dropped - before

    assert lost[download] > 10
    assert lost[call] == 0


# --- marking (RFC 3168)


def overdue(burst: Burst) -> tuple[FlowQueue, Piece | None]:
    """A queue that has been too long for an interval, and what it lets leave then."""
    queue = FlowQueue(bulk("flow"))
    for _ in range(10):
        queue.push(burst, 10.0)
    queue.pull(0.0, 10.0 + 2 * TARGET)
    return queue, queue.pull(1e9, 10.0 + 2 * TARGET + 1.01 * INTERVAL)


def is_checksum_right(header: bytes) -> bool:
    return word_sum(header) == 0xFFFF


@pytest.mark.parametrize("mark", [ECT_0, ECT_1, CONGESTION_EXPERIENCED])
def test_an_ipv4_packet_whose_sender_understands_is_marked(mark: int) -> None:
    original = packet(1000, mark=0b1010_1100 & ~3 | mark)

    queue, piece = overdue(original)

    assert piece is not None
    marked = bytes(piece.burst.packet)
    assert queue.dropped == 0
    assert marked[1] == 0b1010_1100 | CONGESTION_EXPERIENCED
    assert is_checksum_right(marked[:20])
    assert (marked[2:10], marked[12:]) == (original.packet[2:10], original.packet[12:])


def test_an_ipv4_header_with_options_keeps_a_right_checksum() -> None:
    shape = Shape(ip_options=bytes([7, 7, 4, 0, 0, 0, 0, 0]), traffic_class=ECT_0)

    _, piece = overdue(Burst(shape.packet(bytes(1000))))

    assert piece is not None
    assert is_checksum_right(bytes(piece.burst.packet[:28]))


def test_every_checksum_of_a_marked_packet_is_right() -> None:
    for identification in range(0, 0x10000, 97):
        shape = Shape(identification=identification, traffic_class=ECT_0)
        _, piece = overdue(Burst(shape.packet(bytes(900))))
        assert piece is not None
        assert is_checksum_right(bytes(piece.burst.packet[:20]))


@pytest.mark.parametrize("mark", [ECT_0, ECT_1])
def test_an_ipv6_packet_whose_sender_understands_is_marked(mark: int) -> None:
    original = packet(1000, mark=0xB8 | mark, version=6, protocol=TCP)

    queue, piece = overdue(original)

    assert piece is not None
    marked = bytes(piece.burst.packet)
    assert queue.dropped == 0
    traffic_class = int.from_bytes(marked[:2], "big") >> 4 & 0xFF
    assert traffic_class == 0xB8 | CONGESTION_EXPERIENCED
    assert (marked[0] >> 4, marked[2:]) == (6, original.packet[2:])
    assert marked[1] & 15 == original.packet[1] & 15


@pytest.mark.parametrize("version", [4, 6])
def test_a_packet_whose_sender_would_not_understand_is_dropped(version: int) -> None:
    original = packet(1000, version=version)

    queue, piece = overdue(original)

    assert piece is not None
    assert queue.dropped == 1
    assert piece.burst is original


def test_one_segment_of_a_run_is_marked_and_the_rest_leaves_as_it_came() -> None:
    run = Shape(traffic_class=ECT_0).run(bytes(10 * SEGMENT), SEGMENT)

    queue, piece = overdue(run)  # one segment left before
    rest = queue.pull(1e9, 10.0 + 2 * TARGET + 1.01 * INTERVAL)

    assert piece is not None
    assert rest is not None
    assert (piece.offset, piece.segments) == (SEGMENT, 1)
    assert piece.burst.packet[1] == CONGESTION_EXPERIENCED
    assert (rest.offset, rest.segments) == (2 * SEGMENT, 8)
    assert rest.burst is run


def test_of_a_run_one_segment_is_dropped_and_not_all() -> None:
    run = Shape().run(bytes(10 * SEGMENT), SEGMENT)

    queue, piece = overdue(run)

    assert piece is not None
    assert queue.dropped == 1
    assert (piece.offset, piece.segments) == (2 * SEGMENT, 8)


# --- the limit


def test_twice_the_limit_takes_the_last_from_the_flow_that_has_most() -> None:
    queue: FairQueue[str] = FairQueue()
    greedy, modest = bulk("greedy"), bulk("modest")
    for _ in range(3):
        queue.push(modest, packet(1000), 0.0)
    while not queue.dropped:
        queue.push(greedy, packet(1000), 0.0)
    for _ in range(50):
        queue.push(modest, packet(1000), 0.0)

    assert LEAST_LIMIT < queue.octets <= 2 * LEAST_LIMIT
    assert modest.backlog == 53_000
    assert greedy.backlog + modest.backlog == queue.octets


def test_a_run_that_finds_no_room_counts_all_its_packets() -> None:
    queue: FairQueue[str] = FairQueue()
    flow = bulk("flow")
    queue.limit = len(RUN.packet) // 2
    queue.push(flow, RUN, 0.0)
    take(queue, 10 * (SEGMENT + RUN.header_length))

    queue.push(flow, RUN, 0.0)
    assert queue.dropped == 40
    queue.limit = 500
    queue.push(bulk("another"), packet(500), 0.0)

    assert queue.dropped == 40 + 30
    assert queue.octets == 500


def test_above_the_limit_the_longest_flow_is_told_without_waiting_for_an_interval() -> None:
    queue: FairQueue[str] = FairQueue()
    flow = bulk("flow")
    while queue.octets <= queue.limit:
        queue.push(flow, packet(1000), 0.0)
    turn = queue.next(lambda _flow: "path")
    assert turn is not None
    queue.pull(turn[0], 1000, TARGET)
    assert queue.dropped == 0

    queue.push(flow, packet(1000), TARGET)
    queue.pull(turn[0], 1000, TARGET + 0.001)

    assert queue.dropped == 1


def test_while_it_is_patient_nothing_is_dropped_and_then_a_whole_interval_passes() -> None:
    queue, flow = FairQueue[str](), bulk("download")
    for _ in range(100):
        queue.push(flow, packet(1500), 0.0)
    take(queue, 1.0, TARGET + GRANULARITY)  # CoDel begins to count
    queue.is_patient = True
    for number in range(10):
        take(queue, 1.0, 2 * INTERVAL + number * GRANULARITY)
    queue.is_patient = False

    take(queue, 1.0, 3 * INTERVAL)
    spared = queue.dropped
    take(queue, 1.0, 4 * INTERVAL + GRANULARITY)

    assert spared == 0
    assert queue.dropped == 1


def test_what_has_waited_for_seconds_is_not_sent_any_more() -> None:
    queue: FairQueue[str] = FairQueue()
    flow = bulk("flow")
    queue.push(flow, RUN, 0.0)
    queue.push(flow, packet(1000), STALE)
    turn = queue.next(lambda _flow: "path")
    assert turn is not None

    piece = queue.pull(turn[0], 1e9, STALE + 0.1)

    assert piece is not None
    assert len(piece.burst.packet) == 1000
    assert queue.dropped == RUN.segment_count
    assert queue.octets == 0


# --- accounts


@pytest.mark.parametrize("seed", range(8))
def test_no_byte_and_no_packet_is_ever_lost_from_the_accounts(seed: int) -> None:
    print(f"seed {seed}")
    rng = Random(seed)
    queue: FairQueue[str] = FairQueue()
    flows = [bulk(str(n)) if n % 2 else young(str(n)) for n in range(6)]
    ready = dict.fromkeys(flows, True)
    entered = left = 0
    now = 10.0

    for _ in range(4000):
        now += rng.expovariate(1 / 0.003)
        queue.limit = rng.choice([30_000, 200_000, 1_000_000])
        flow = rng.choice(flows)
        match rng.randrange(5):
            case 0 | 1:
                burst = Shape(traffic_class=rng.randrange(4)).run(
                    bytes(rng.randrange(1, 30_000)), rng.randrange(300, 1400)
                )
                queue.push(flow, burst, now)
                entered += burst.segment_count
            case 2:
                queue.push(flow, packet(rng.randrange(60, 1500), mark=rng.randrange(4)), now)
                entered += 1
            case 3:
                ready[flow] = not ready[flow]
            case _:
                while (turn := queue.next(lambda each: "path" if ready[each] else None)) and (
                    rng.random() < 0.9
                ):
                    piece = queue.pull(turn[0], rng.uniform(-1000, 40_000), now)
                    left += piece.segments if piece else 0
        assert queue.octets == sum(flow.backlog for flow in flows)
        assert min(flow.backlog for flow in flows) >= 0

    while (taken := take(queue, 40_000, now)) is not None:
        left += taken[1].segments
    assert (queue.octets, bool(queue)) == (0, False)
    assert entered == left + queue.dropped
    assert left > 1000
