"""A link does what its settings say: on average where chance is in it, exactly where not."""

from itertools import pairwise
from random import Random

import pytest

from multiwanbond.sim.links import (
    BurstLoss,
    Link,
    LinkSettings,
    LossCause,
    Policer,
    RateTrace,
)

SEED = 4711


def make_link(settings: LinkSettings) -> Link[int]:
    return Link(settings, Random(SEED))


def arrivals(link: Link[int], until: float) -> list[tuple[float, int]]:
    """Take out everything that arrives, each at the time `next_due` names, to the nanosecond."""
    taken: list[tuple[float, int]] = []
    while (due := link.next_due()) is not None and due <= until:
        taken += [(round(due, 9), item) for item in link.pop_due(due)]
    return taken


def test_a_packet_arrives_after_its_sending_time_and_the_delay() -> None:
    link = make_link(LinkSettings(rate=1000.0, delay=0.25))

    link.push(1, 500, 10.0)

    assert link.pop_due(10.7499) == []
    assert link.next_due() == pytest.approx(10.75)
    assert link.pop_due(10.75) == [1]
    assert link.next_due() is None


def test_packets_wait_for_one_another() -> None:
    link = make_link(LinkSettings(rate=1000.0, delay=0.0, queue=10_000))

    for item in range(3):
        link.push(item, 500, 0.0)

    assert arrivals(link, 10.0) == [(0.5, 0), (1.0, 1), (1.5, 2)]


def test_an_unlimited_link_only_delays() -> None:
    link = make_link(LinkSettings(rate=None, delay=0.1))

    for item in range(50):
        link.push(item, 1500, 1.0)

    assert link.pop_due(1.1) == list(range(50))


def test_the_queue_drops_what_does_not_fit_and_takes_more_when_it_has_drained() -> None:
    link = make_link(LinkSettings(rate=1000.0, delay=0.0, queue=1000))
    for item in range(3):
        link.push(item, 500, 0.0)

    link.push(3, 500, 0.5)

    assert arrivals(link, 10.0) == [(0.5, 0), (1.0, 1), (1.5, 3)]
    assert link.statistics.lost[LossCause.QUEUE_FULL] == 1
    assert link.statistics.queued_bytes == 0


def test_packets_above_the_mtu_are_dropped() -> None:
    link = make_link(LinkSettings(rate=None, delay=0.0, mtu=1500))

    link.push(1, 1501, 0.0)
    link.push(2, 1500, 0.0)

    assert link.pop_due(0.0) == [2]
    assert link.statistics.lost[LossCause.TOO_BIG] == 1


def test_a_saturated_link_delivers_its_rate() -> None:
    link = make_link(LinkSettings(rate=1_250_000.0, delay=0.02))
    now = 0.0

    while now < 10.0:
        link.push(0, 1500, now)
        now += 0.0005
        link.pop_due(now)

    assert link.statistics.delivered_bytes / 10.0 == pytest.approx(1_250_000.0, rel=0.005)


def test_jitter_is_bounded_and_keeps_the_order() -> None:
    link = make_link(LinkSettings(rate=None, delay=0.02, jitter=0.012))
    sent: list[float] = []
    got: list[tuple[float, int]] = []

    for item in range(5000):
        now = item * 0.001
        got += arrivals(link, now)
        link.push(item, 200, now)
        sent.append(now)
    got += arrivals(link, 100.0)
    extra = [at - sent[item] - 0.02 for at, item in got]

    assert [item for _, item in got] == list(range(5000))
    assert min(extra) >= -1e-9
    assert 0.008 < max(extra) <= 0.012 + 1e-9
    assert sum(extra) / len(extra) == pytest.approx(0.012 / 3, rel=0.25)


def test_random_loss_takes_its_share() -> None:
    link = make_link(LinkSettings(rate=None, delay=0.0, loss=0.02))

    for item in range(20_000):
        link.push(item, 100, item * 0.001)
    link.pop_due(100.0)

    assert link.statistics.lost[LossCause.RANDOM] == pytest.approx(400, rel=0.15)
    assert link.statistics.delivered + link.statistics.lost[LossCause.RANDOM] == 20_000


def test_burst_loss_comes_in_bursts() -> None:
    burst_loss = BurstLoss(to_bad=0.001, to_good=0.1, loss_in_bad=0.5)
    link = make_link(LinkSettings(rate=None, delay=0.0, burst_loss=burst_loss))

    for item in range(50_000):
        link.push(item, 100, item * 0.001)
    got = set(link.pop_due(100.0))
    lost = sorted(set(range(50_000)) - got)
    near = sum(1 for left, right in pairwise(lost) if right - left <= 10)

    # The bad share of the time is 0.001 / 0.101; half of that is lost.
    assert len(lost) == pytest.approx(50_000 * 0.00495, rel=0.35)
    assert near > 0.5 * len(lost)
    assert link.statistics.lost[LossCause.BURST] == len(lost)


def test_a_black_link_swallows_what_it_is_given_and_what_waits() -> None:
    settings = LinkSettings(rate=1000.0, delay=0.1)
    link = make_link(settings)
    link.push(0, 100, 0.0)
    link.push(1, 100, 0.0)

    link.reconfigure(LinkSettings(rate=1000.0, delay=0.1, is_black=True), 0.1)
    link.push(2, 100, 0.1)
    link.pop_due(1.0)
    link.reconfigure(settings, 1.0)
    link.push(3, 100, 1.0)

    assert arrivals(link, 10.0) == [(1.2, 3)]
    assert link.statistics.delivered == 2
    assert link.statistics.lost[LossCause.BLACK] == 2


def test_a_frozen_link_holds_packets_and_then_sends_them_in_order() -> None:
    link = make_link(LinkSettings(rate=1000.0, delay=0.0, is_frozen=True))
    for item in range(3):
        link.push(item, 100, 0.0)
    assert link.next_due() is None
    assert link.pop_due(5.0) == []

    link.reconfigure(LinkSettings(rate=1000.0, delay=0.0), 5.0)

    assert arrivals(link, 10.0) == [
        (5.1, 0),
        (5.2, 1),
        (5.3, 2),
    ]


def test_a_frozen_queue_overflows() -> None:
    link = make_link(LinkSettings(rate=1000.0, delay=0.0, queue=1000, is_frozen=True))

    for item in range(12):
        link.push(item, 100, 0.0)

    assert link.statistics.lost[LossCause.QUEUE_FULL] == 2
    assert link.statistics.queued_bytes == 1000


def test_a_new_rate_holds_for_what_already_waits() -> None:
    link = make_link(LinkSettings(rate=1000.0, delay=0.0))
    for item in range(3):
        link.push(item, 1000, 0.0)

    link.reconfigure(LinkSettings(rate=10_000.0, delay=0.0), 1.0)

    assert arrivals(link, 10.0) == [(1.0, 0), (1.1, 1), (1.2, 2)]


def test_a_rate_trace_is_followed_across_its_steps() -> None:
    trace = RateTrace(rates=(1000.0, 100.0), step=1.0)
    link = make_link(LinkSettings(rate=trace, delay=0.0))

    link.push(0, 500, 0.5)
    link.push(1, 100, 0.5)
    link.push(2, 200, 0.5)

    assert arrivals(link, 10.0) == [
        (1.0, 0),
        (2.0, 1),
        (2.2, 2),
    ]


def test_a_rate_trace_begins_when_it_says() -> None:
    trace = RateTrace(rates=(1000.0, 100.0), step=1.0, start=7.25)
    link = make_link(LinkSettings(rate=trace, delay=0.0))

    link.push(0, 1000, 7.25)
    link.push(1, 100, 7.25)

    assert arrivals(link, 20.0) == [(8.25, 0), (9.25, 1)]


def test_a_policer_passes_its_bucket_and_then_its_rate() -> None:
    policer = Policer(rate=1000.0, bucket=2000)
    link = make_link(LinkSettings(rate=None, delay=0.0, policer=policer))

    for item in range(5):
        link.push(item, 500, 0.0)
    link.push(5, 500, 0.4)
    link.push(6, 500, 0.6)

    assert link.pop_due(0.6) == [0, 1, 2, 3, 6]
    assert link.statistics.lost[LossCause.POLICED] == 2


def test_the_same_seed_loses_the_same_packets() -> None:
    settings = LinkSettings(rate=None, delay=0.01, jitter=0.02, loss=0.1)
    runs = []

    for _ in range(2):
        link = make_link(settings)
        for item in range(1000):
            link.push(item, 100, item * 0.001)
        runs.append(arrivals(link, 100.0))

    assert runs[0] == runs[1]
