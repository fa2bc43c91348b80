"""Which path each routing mode gives a packet, among paths that may all be used."""

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest

from multiwanbond.core.flow import YOUNG_BYTES, Flow
from multiwanbond.core.scheduling import SchedulablePath, Scheduler, make_scheduler
from multiwanbond.core.scheduling.adaptive import BULK_PERIOD, MARGIN, relief
from multiwanbond.core.settings import RoutingMode

ALL_MODES = pytest.mark.parametrize("mode", list(RoutingMode), ids=lambda mode: mode.value)


class Line:
    """A path as the modes see it."""

    def __init__(
        self,
        path_id: int,
        *,
        rtt: float | None = 0.02,
        rate: float = 1e6,
        waits: float = 0.0,
        has_credit: bool = True,
        lost: float = 0.0,
        weight: int = 10,
    ) -> None:
        self.path_id = path_id
        self.smoothed_rtt = self.base_rtt = rtt
        self.delay = None if rtt is None else rtt / 2
        self.rate = rate
        self.waits = waits
        self.has_credit = has_credit
        self.lost = lost
        self.weight = weight
        self.sent_bytes = 0

    def wait(self, now: float) -> float:
        return self.waits

    def loss(self, now: float) -> float:
        return self.lost


def flow_number(number: int) -> Flow:
    return Flow(number.to_bytes(13, "big"), 0.0)


def send(scheduler: Scheduler, flow: Flow, paths: Sequence[Line], now: float = 0.0) -> int:
    path = scheduler.choose(flow, paths, now)
    assert path is not None
    return path.path_id


def test_a_line_is_all_that_a_mode_may_know() -> None:
    path: SchedulablePath = Line(1)

    assert path.loss(0.0) == 0.0


@ALL_MODES
def test_the_only_path_is_taken_whatever_it_is_like(mode: RoutingMode) -> None:
    scheduler = make_scheduler(mode)
    worst = Line(9, rtt=None, rate=1.0, lost=1.0)

    assert {send(scheduler, flow_number(n), [worst], now=n / 10) for n in range(20)} == {9}


@ALL_MODES
def test_only_paths_that_are_offered_are_chosen(mode: RoutingMode) -> None:
    rng = Random(3)
    scheduler = make_scheduler(mode)
    flows = [flow_number(n) for n in range(10)]

    for step in range(2000):
        paths = [Line(n, rtt=rng.uniform(0.01, 0.1)) for n in rng.sample(range(1, 6), 2)]
        flow = rng.choice(flows)
        chosen = send(scheduler, flow, paths, now=step / 50)
        assert chosen in {path.path_id for path in paths}
        assert scheduler.choose_at_once(flow, paths, step / 50) in paths


# --- round_robin


def test_round_robin_gives_every_path_the_same_number_of_packets() -> None:
    scheduler = make_scheduler(RoutingMode.ROUND_ROBIN)
    paths = [Line(1, rtt=0.01), Line(2, rtt=0.5), Line(3, lost=0.5)]
    flow = flow_number(1)

    chosen = [send(scheduler, flow, paths) for _ in range(9)]

    assert chosen == [1, 2, 3] * 3


# --- weighted


def shares(scheduler: Scheduler, paths: Sequence[Line], packets: int = 2000) -> list[float]:
    """What share of the packets each path gets, one every 2 ms."""
    flow = flow_number(1)
    counts = Counter[int]()
    for number in range(packets):
        path = scheduler.choose(flow, [path for path in paths if path.has_credit], number / 500)
        assert path is not None
        path.sent_bytes += 1400
        counts[path.path_id] += 1
    return [counts[path.path_id] / packets for path in paths]


def test_weighted_shares_bytes_by_weight() -> None:
    paths = [Line(1, weight=10), Line(2, weight=30)]

    found = shares(make_scheduler(RoutingMode.WEIGHTED), paths)

    assert found == pytest.approx([0.25, 0.75], abs=0.01)


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        (Line(1), Line(2, rate=3e6)),
        (Line(1, rtt=0.06), Line(2, rtt=0.02)),
        (Line(1, lost=0.1), Line(2)),
    ],
    ids=["rate", "latency", "loss"],
)
def test_weighted_gives_the_better_line_three_times_as_much(worse: Line, better: Line) -> None:
    _, share = shares(make_scheduler(RoutingMode.WEIGHTED), [worse, better])

    assert share == pytest.approx(0.75, abs=0.01)


def test_weighted_counts_what_has_left_whatever_it_was() -> None:
    scheduler = make_scheduler(RoutingMode.WEIGHTED)
    paths = [Line(1), Line(2)]
    shares(scheduler, paths, 2)
    paths[0].sent_bytes += 100 * 1400

    assert shares(scheduler, paths, 100)[0] == 0


def test_weighted_lets_others_take_what_a_full_line_cannot() -> None:
    scheduler = make_scheduler(RoutingMode.WEIGHTED)
    full, free = Line(1, weight=100, has_credit=False), Line(2, weight=1)

    assert scheduler.choose(flow_number(1), [full, free], 0.0) is free
    assert scheduler.choose(flow_number(1), [full], 0.0) is None
    assert scheduler.choose_at_once(flow_number(1), [Line(3, waits=0.04), free], 0.0) is free


def test_weighted_does_not_flood_a_line_that_was_gone_for_long() -> None:
    scheduler = make_scheduler(RoutingMode.WEIGHTED)
    paths = [Line(1), Line(2)]
    shares(scheduler, paths, 10)
    shares(scheduler, paths[:1], 5000)

    back = shares(scheduler, paths, 1000)

    assert back[1] < 0.65


# --- least_used


def test_least_used_levels_how_far_lines_are_used() -> None:
    paths = [Line(1, rate=1e6), Line(2, rate=4e6)]

    found = shares(make_scheduler(RoutingMode.LEAST_USED), paths)

    assert found == pytest.approx([0.2, 0.8], abs=0.02)


def test_least_used_turns_to_a_line_that_was_idle() -> None:
    scheduler = make_scheduler(RoutingMode.LEAST_USED)
    paths = [Line(1), Line(2)]
    shares(scheduler, paths[:1], 500)

    assert send(scheduler, flow_number(2), paths, now=1.0) == 2
    assert scheduler.choose(flow_number(2), [Line(3, has_credit=False)], 1.0) is None


# --- least_latency


def test_least_latency_takes_the_quickest_path_for_everything() -> None:
    scheduler = make_scheduler(RoutingMode.LEAST_LATENCY)
    paths = [Line(1, rtt=None), Line(2, rtt=0.04), Line(3, rtt=0.01)]

    assert {send(scheduler, flow_number(n), paths) for n in range(5)} == {3}


def test_least_latency_does_not_flap_between_equal_paths() -> None:
    rng = Random(4)
    scheduler = make_scheduler(RoutingMode.LEAST_LATENCY)
    flow = flow_number(1)

    chosen = [
        send(scheduler, flow, [Line(n, rtt=0.02 + rng.uniform(-0.0015, 0.0015)) for n in (1, 2)])
        for _ in range(1000)
    ]

    assert len(set(chosen)) == 1


def test_least_latency_follows_a_clear_change_there_and_back() -> None:
    scheduler = make_scheduler(RoutingMode.LEAST_LATENCY)
    flow = flow_number(1)
    first, second = Line(1, rtt=0.02), Line(2, rtt=0.03)

    assert send(scheduler, flow, [first, second]) == 1
    first.smoothed_rtt = 0.06
    assert send(scheduler, flow, [first, second]) == 2
    first.smoothed_rtt = 0.02
    assert send(scheduler, flow, [first, second]) == 1


def test_least_latency_leaves_a_path_that_is_gone() -> None:
    scheduler = make_scheduler(RoutingMode.LEAST_LATENCY)
    flow = flow_number(1)
    first, second = Line(1, rtt=0.02), Line(2, rtt=0.3)

    assert send(scheduler, flow, [first, second]) == 1
    assert send(scheduler, flow, [second]) == 2


# --- per_flow


def test_per_flow_keeps_a_flow_on_its_path_whatever_that_is_like() -> None:
    rng = Random(5)
    scheduler = make_scheduler(RoutingMode.PER_FLOW)
    flow = flow_number(1)
    paths = [Line(1), Line(2), Line(3)]

    chosen = set()
    for _ in range(100):
        rng.shuffle(paths)
        rng.choice(paths).smoothed_rtt = rng.random()
        chosen.add(send(scheduler, flow, paths))

    assert len(chosen) == 1


def test_per_flow_chooses_the_same_in_every_process() -> None:
    """Python's own hash is seeded anew in each: with it, these figures would change."""
    scheduler = make_scheduler(RoutingMode.PER_FLOW)
    paths = [Line(1), Line(2), Line(3)]

    assert [send(scheduler, flow_number(n), paths) for n in range(12)] == [
        1,
        1,
        1,
        1,
        2,
        1,
        2,
        1,
        3,
        2,
        1,
        1,
    ]


def test_per_flow_spreads_flows_evenly() -> None:
    scheduler = make_scheduler(RoutingMode.PER_FLOW)
    paths = [Line(1), Line(2), Line(3)]

    counts = Counter(send(scheduler, flow_number(n), paths) for n in range(3000))

    assert all(900 < counts[path_id] < 1100 for path_id in (1, 2, 3))


def test_per_flow_gives_a_line_flows_as_it_has_weight_and_rate() -> None:
    scheduler = make_scheduler(RoutingMode.PER_FLOW)
    paths = [Line(1), Line(2, weight=20), Line(3, rate=5e6)]

    counts = Counter(send(scheduler, flow_number(n), paths) for n in range(3000))

    found = [counts[path.path_id] / 3000 for path in paths]
    assert found == pytest.approx([1 / 7, 2 / 7, 4 / 7], abs=0.03)


def test_a_dying_path_moves_only_its_own_flows_and_spreads_them() -> None:
    scheduler = make_scheduler(RoutingMode.PER_FLOW)
    flows = [flow_number(n) for n in range(3000)]
    paths = [Line(1), Line(2), Line(3)]
    before = [send(scheduler, flow, paths) for flow in flows]

    after = [send(scheduler, flow, paths[1:]) for flow in flows]

    stayed = [old == new for old, new in zip(before, after, strict=True) if old != 1]
    assert all(stayed)
    moved = Counter(new for old, new in zip(before, after, strict=True) if old == 1)
    assert all(400 < moved[path_id] < 600 for path_id in (2, 3))


def test_a_returning_path_takes_no_flow_away_but_gets_new_ones() -> None:
    scheduler = make_scheduler(RoutingMode.PER_FLOW)
    flows = [flow_number(n) for n in range(300)]
    paths = [Line(1), Line(2)]
    without = [send(scheduler, flow, paths[1:]) for flow in flows]

    again = [send(scheduler, flow, paths) for flow in flows]
    new = [send(scheduler, flow_number(n), paths) for n in range(300, 400)]

    assert again == without
    assert 1 in new


# --- adaptive


def bulk_flow(number: int = 1) -> Flow:
    flow = flow_number(number)
    flow.octets = YOUNG_BYTES + 1
    return flow


def greedy_flow(number: int = 1) -> Flow:
    """A bulk flow whose sender asks for more until something is lost, as CUBIC does."""
    flow = bulk_flow(number)
    flow.is_content = False
    return flow


def test_adaptive_gives_bulk_the_quickest_path_that_has_credit() -> None:
    scheduler = make_scheduler(RoutingMode.ADAPTIVE)
    spent = Line(1, rtt=0.01, has_credit=False)

    assert send(scheduler, bulk_flow(), [Line(1, rtt=0.01), Line(2, rtt=0.02)]) == 1
    assert send(scheduler, bulk_flow(), [spent, Line(2, rtt=0.02), Line(3, rtt=0.04)]) == 2
    assert scheduler.choose(bulk_flow(), [spent], 0.0) is None


@pytest.mark.parametrize(("is_content", "chosen"), [(False, 2), (True, None)])
def test_adaptive_sends_nothing_of_a_content_sender_by_a_very_much_longer_line(
    *, is_content: bool, chosen: int | None
) -> None:
    flow = bulk_flow()
    flow.is_content = is_content
    busy = Line(1, has_credit=False)

    path = make_scheduler(RoutingMode.ADAPTIVE).choose(flow, [busy, Line(2, rtt=0.6)], 0.0)

    assert (path.path_id if path else None) == chosen


def test_adaptive_leaves_out_a_line_whose_length_costs_more_than_it_brings() -> None:
    scheduler = make_scheduler(RoutingMode.ADAPTIVE)
    # In 0.3 s a window of 3 MB carries 10 MB/s; the quick line alone carries 20.
    spent, quick = Line(1, rtt=0.02, rate=20e6, has_credit=False), Line(3, rtt=0.03, rate=1e6)
    long = Line(2, rtt=0.3, rate=5e6)

    assert scheduler.choose(greedy_flow(), [spent, long], 0.0) is None
    assert send(scheduler, greedy_flow(), [long, spent, quick]) == 3


def test_adaptive_uses_a_long_line_for_several_flows_that_fill_it_together() -> None:
    scheduler = make_scheduler(RoutingMode.ADAPTIVE)
    paths = [Line(1, rtt=0.02, rate=20e6, has_credit=False), Line(2, rtt=0.32, rate=5e6)]
    flows = [greedy_flow(number) for number in (1, 2, 3)]

    chosen = [scheduler.choose(flow, paths, 0.0) for flow in flows]
    later = [scheduler.choose(flow, paths, 1.1 * BULK_PERIOD) for flow in flows]
    alone = [scheduler.choose(flows[0], paths, n * BULK_PERIOD) for n in (2.5, 4.0)]

    assert chosen == [None, None, paths[1]]
    assert later == 3 * [paths[1]]
    assert alone == [paths[1], None]


def test_adaptive_uses_a_line_whose_length_is_unknown_only_where_it_slows_nobody_down() -> None:
    scheduler = make_scheduler(RoutingMode.ADAPTIVE)
    unknown = Line(2, rtt=None, rate=1e6)
    slow, fast = Line(1, rate=1e6, has_credit=False), Line(1, rate=20e6, has_credit=False)

    assert send(scheduler, greedy_flow(), [slow, unknown]) == 2
    assert scheduler.choose(greedy_flow(), [fast, unknown], 0.0) is None


def test_adaptive_lets_a_young_flow_wait_for_the_path_that_finishes_it_soonest() -> None:
    scheduler = make_scheduler(RoutingMode.ADAPTIVE)
    fast = Line(1, rtt=0.01, rate=1e7, has_credit=False)
    slow = Line(2, rtt=0.06, rate=1e6)

    assert scheduler.choose(flow_number(1), [fast, slow], 0.0) is None


def test_adaptive_expects_a_young_flow_to_go_on_as_it_began() -> None:
    scheduler = make_scheduler(RoutingMode.ADAPTIVE)
    near, fast = Line(1, rtt=0.01, rate=1e6), Line(2, rtt=0.06, rate=1e7)
    begun = flow_number(1)

    assert send(scheduler, begun, [near, fast]) == 1
    begun.octets = 500_000
    assert send(scheduler, begun, [near, fast]) == 2


def test_adaptive_keeps_a_young_flow_where_it_is_while_that_is_about_as_good() -> None:
    rng = Random(6)
    scheduler = make_scheduler(RoutingMode.ADAPTIVE)
    flow = flow_number(1)

    chosen = [
        send(scheduler, flow, [Line(n, rtt=rng.uniform(0.02, 0.0209)) for n in (1, 2)])
        for _ in range(1000)
    ]

    assert len(set(chosen)) == 1


def test_adaptive_sends_what_must_not_wait_where_it_arrives_soonest() -> None:
    scheduler = make_scheduler(RoutingMode.ADAPTIVE)
    queued = [Line(1, rtt=0.01, waits=0.05), Line(2, rtt=0.04)]
    lossy = [Line(1, rtt=0.03, lost=0.05), Line(2, rtt=0.034)]
    unknown = [Line(1, rtt=None), Line(2, rtt=0.3)]

    assert scheduler.choose_at_once(flow_number(1), queued, 0.0).path_id == 2
    assert scheduler.choose_at_once(flow_number(1), lossy, 0.0).path_id == 2
    assert scheduler.choose_at_once(flow_number(1), unknown, 0.0).path_id == 2


# --- adaptive: what helps a young flow out


def waiting_flow(seconds: float, *, rate: float = 1e6) -> Flow:
    """A young flow of which so much waits for a path of that rate."""
    flow = flow_number(1)
    flow.backlog = round(seconds * rate)
    return flow


def test_another_path_helps_out_only_with_what_it_delivers_clearly_sooner() -> None:
    home, other = Line(1, rtt=0.02, has_credit=False), Line(2, rtt=0.06)
    even = 0.03 - 0.01

    assert relief(waiting_flow(even), home, [home, other]) is None
    assert relief(waiting_flow(even + 0.9 * MARGIN), home, [home, other]) is None
    assert relief(waiting_flow(even + 1.1 * MARGIN), home, [home, other]) is other


def test_the_quickest_path_with_credit_helps_out() -> None:
    home = Line(1, rtt=0.02, has_credit=False)
    spent, near, far = Line(2, rtt=0.03, has_credit=False), Line(3, rtt=0.04), Line(4, rtt=0.06)
    flow = waiting_flow(1.0)

    assert relief(flow, home, [far, spent, home, near]) is near
    assert relief(flow, home, [home, spent]) is None


def test_nothing_is_compared_with_a_path_of_unknown_delay() -> None:
    home, known, unknown = Line(1, has_credit=False), Line(2, rtt=0.03), Line(3, rtt=None)
    flow = waiting_flow(1.0)

    assert relief(flow, home, [home, unknown]) is None
    assert relief(flow, Line(1, rtt=None, has_credit=False), [known]) is None


def test_a_path_that_carries_hardly_anything_is_helped_out() -> None:
    home, other = Line(1, rtt=0.02, rate=0.0, has_credit=False), Line(2, rtt=0.06)

    assert relief(waiting_flow(0.0), home, [home, other]) is None
    assert relief(waiting_flow(1.0), home, [home, other]) is other


def test_a_young_flow_that_is_helped_out_has_moved_but_stays_at_home() -> None:
    scheduler = make_scheduler(RoutingMode.ADAPTIVE)
    home, other = Line(1, rtt=0.02, rate=1e7, has_credit=False), Line(2, rtt=0.06)
    flow = waiting_flow(0.05, rate=1e7)

    assert send(scheduler, flow, [home, other]) == 2

    assert flow.has_moved
    assert flow.path_id == 1
    flow.backlog = 0
    home.has_credit = True
    assert send(scheduler, flow, [home, other]) == 1


def test_a_young_flow_that_waits_at_home_has_not_moved() -> None:
    scheduler = make_scheduler(RoutingMode.ADAPTIVE)
    home, other = Line(1, rtt=0.02, rate=1e7, has_credit=False), Line(2, rtt=0.06)
    flow = waiting_flow(0.001, rate=1e7)

    assert scheduler.choose(flow, [home, other], 0.0) is None

    assert not flow.has_moved
    assert flow.path_id == 1


def test_a_young_flow_has_moved_once_another_path_is_its_home() -> None:
    scheduler = make_scheduler(RoutingMode.ADAPTIVE)
    near, fast = Line(1, rtt=0.01, rate=1e6), Line(2, rtt=0.06, rate=1e7)
    flow = flow_number(1)

    assert send(scheduler, flow, [near, fast]) == 1
    assert not flow.has_moved
    flow.octets = 500_000
    assert send(scheduler, flow, [near, fast]) == 2

    assert flow.has_moved
    assert flow.path_id == 2


def test_a_young_flow_whose_path_is_gone_has_moved() -> None:
    scheduler = make_scheduler(RoutingMode.ADAPTIVE)
    near, far = Line(1, rtt=0.02), Line(2, rtt=0.3)
    flow = flow_number(1)

    assert send(scheduler, flow, [near, far]) == 1
    assert send(scheduler, flow, [far]) == 2

    assert flow.has_moved
