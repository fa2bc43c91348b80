"""The rate controller of one path, against modelled lines."""

from collections.abc import Iterator
from math import inf

import pytest

from multiwanbond.core.capacity import (
    DATAGRAM,
    FLOOR,
    GROWTH,
    LEAST_RATE,
    MOST_JITTER,
    TARGET_QUEUE,
    Capacity,
)
from multiwanbond.core.pacer import TICK

from .modelled_line import MBIT, Line, Run

SETTLED = 2.0
"""Seconds of saturation after which the rate must have been found."""
QUEUE_ALLOWED = 3
"""Times the target that the queue may be in the mean: it is asked about every fourth round trip."""


def target_queue(rate: float) -> float:
    return max(TARGET_QUEUE, 3 * DATAGRAM / rate)


def told(line: Line, *, seed: int = 1) -> Run:
    """A sender whose train has just told it the line's rate."""
    run = Run(line, seed=seed)
    run.train(line.rate)
    return run


def shares(run: Run, seconds: int) -> Iterator[float]:
    """What gets through in each second, of what the line can carry."""
    for _ in range(seconds):
        yield run.run(1.0) / run.line.rate


# --- finding the rate


@pytest.mark.parametrize("has_train", [True, False])
@pytest.mark.parametrize("mbit", [1, 10, 100, 1000])
def test_any_line_is_filled_and_its_queue_stays_short(mbit: int, has_train: bool) -> None:
    run = Run(Line(rate=mbit * MBIT))
    if has_train:
        run.train(mbit * MBIT)
    run.run(SETTLED)

    delivered = run.run(1.0)

    assert delivered > 0.97 * mbit * MBIT
    assert run.mean_queue < QUEUE_ALLOWED * target_queue(mbit * MBIT)


@pytest.mark.parametrize("mbit", [1, 10, 100, 1000])
def test_asking_whether_a_full_line_takes_more_hardly_lengthens_its_queue(mbit: int) -> None:
    run = told(Line(rate=mbit * MBIT))
    run.run(SETTLED)

    delivered = run.run(4.0)

    assert delivered > 0.97 * mbit * MBIT
    assert run.mean_queue < 1.7 * target_queue(mbit * MBIT)


def test_a_train_saves_the_search() -> None:
    without = Run(Line(rate=300 * MBIT)).run(0.5)
    with_train = told(Line(rate=300 * MBIT)).run(0.5)

    assert with_train > 0.85 * 300 * MBIT
    assert without < 0.7 * with_train


@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_a_train_that_was_wrong_does_no_harm_for_long(factor: float) -> None:
    run = Run(Line(rate=40 * MBIT))
    run.train(factor * 40 * MBIT)
    run.run(SETTLED)

    assert run.run(1.0) > 0.97 * 40 * MBIT
    assert run.mean_queue < QUEUE_ALLOWED * TARGET_QUEUE


@pytest.mark.parametrize("delay", [0.002, 0.05, 0.15])
def test_the_distance_does_not_matter(delay: float) -> None:
    run = told(Line(rate=40 * MBIT, delay=delay))
    run.run(SETTLED + 10 * delay)

    assert run.run(2.0) > 0.95 * 40 * MBIT
    assert run.mean_queue < 2 * QUEUE_ALLOWED * TARGET_QUEUE


@pytest.mark.parametrize("mbit", [2, 10, 50])
def test_the_queue_does_not_grow_however_long_a_download_lasts(mbit: int) -> None:
    run = told(Line(rate=mbit * MBIT, queue=0.5))
    run.run(100.0)

    assert run.run(20.0) > 0.97 * mbit * MBIT
    assert run.mean_queue < QUEUE_ALLOWED * target_queue(mbit * MBIT)


def test_a_line_stays_full_when_the_quicker_one_that_brought_its_acks_is_gone() -> None:
    run = told(Line(rate=20 * MBIT, delay=0.05, way_back=0.01))
    run.run(SETTLED)

    run.line.way_back = 0.05
    run.capacity.on_way_back_changed()
    run.run(SETTLED)

    assert run.run(2.0) > 0.97 * 20 * MBIT


# --- loss


def test_a_policer_of_a_slow_line_is_found_too() -> None:
    run = told(Line(rate=5 * MBIT, policed=3 * MBIT))
    run.run(2 * SETTLED)

    sent = run.sent
    delivered = run.run(6.0)

    assert delivered > 0.9 * 3 * MBIT
    assert delivered * 6.0 > 0.95 * (run.sent - sent)


@pytest.mark.parametrize("loss", [0.01, 0.02])
def test_random_loss_does_not_lower_the_rate(loss: float) -> None:
    run = told(Line(rate=50 * MBIT, loss=loss))
    run.run(SETTLED)

    for share in shares(run, 5):
        assert share > 0.97


@pytest.mark.parametrize("mbit", [5, 7, 10, 20])
def test_random_loss_does_not_lower_a_low_rate_either(mbit: int) -> None:
    run = told(Line(rate=mbit * MBIT, loss=0.02))
    run.run(SETTLED)

    assert run.run(25.0) > 0.93 * mbit * MBIT


def test_a_policer_is_found_by_its_loss() -> None:
    run = told(Line(rate=100 * MBIT, policed=30 * MBIT))
    run.run(SETTLED)

    sent = run.sent
    delivered = run.run(6.0)

    assert delivered > 0.9 * 30 * MBIT
    assert delivered * 6.0 > 0.95 * (run.sent - sent)


def test_a_train_that_overshot_a_policer_does_harm_for_a_moment_only() -> None:
    run = Run(Line(rate=200 * MBIT, policed=40 * MBIT))
    run.train(100 * MBIT)

    run.run(0.5)
    sent = run.sent
    delivered = run.run(1.0)

    assert delivered > 0.9 * 40 * MBIT
    assert delivered > 0.95 * (run.sent - sent)


@pytest.mark.parametrize(
    ("line", "is_capped"),
    [
        (Line(rate=100 * MBIT, policed=30 * MBIT), True),
        (Line(rate=50 * MBIT, queue=0.002), True),
        (Line(rate=50 * MBIT, loss=0.02), False),
    ],
)
def test_loss_of_our_own_doing_is_told_from_the_lines(line: Line, *, is_capped: bool) -> None:
    run = told(line)
    run.run(SETTLED)
    capped = 0

    for _ in range(20):
        run.run(0.1)
        capped += run.capacity.is_capped

    assert (capped > 15) == is_capped
    assert is_capped or not capped


def test_a_very_short_queue_is_not_overflowed_for_long() -> None:
    run = told(Line(rate=50 * MBIT, queue=0.002))
    run.run(SETTLED)

    sent = run.sent
    delivered = run.run(5.0)

    assert delivered > 0.9 * 50 * MBIT
    assert delivered * 5.0 > 0.97 * (run.sent - sent)


def test_a_policer_that_is_gone_is_forgotten() -> None:
    run = told(Line(rate=40 * MBIT, policed=30 * MBIT))
    run.run(5.0)
    run.line.policed = inf
    run.run(8.0)

    assert run.run(1.0) > 0.97 * 40 * MBIT


# --- change


def test_a_rate_that_halves_is_followed_within_half_a_second() -> None:
    run = told(Line(rate=40 * MBIT))
    run.run(SETTLED)

    run.line.rate = 20 * MBIT
    run.run(0.5)
    delivered = run.run(0.5)

    assert delivered > 0.95 * 20 * MBIT
    assert run.mean_queue < 2 * QUEUE_ALLOWED * TARGET_QUEUE


def test_a_rate_that_falls_to_a_tenth_is_followed_within_a_second() -> None:
    run = told(Line(rate=40 * MBIT))
    run.run(SETTLED)

    run.line.rate = 4 * MBIT
    run.run(1.0)
    delivered = run.run(1.0)

    assert delivered > 0.9 * 4 * MBIT
    assert run.mean_queue < 0.05


def test_a_rate_that_doubles_is_found_within_a_second() -> None:
    run = told(Line(rate=40 * MBIT))
    run.run(SETTLED)

    run.line.rate = 80 * MBIT
    run.run(1.0)

    assert run.run(1.0) > 0.95 * 80 * MBIT


def test_the_queue_that_a_fall_left_is_emptied_by_a_retreat() -> None:
    run = told(Line(rate=40 * MBIT))
    run.run(SETTLED)

    run.line.rate = 20 * MBIT
    run.run(0.2)

    assert max(run.queued) > 2 * TARGET_QUEUE
    assert run.capacity.rate < run.line.rate


# --- little to send


def test_a_path_with_little_to_send_keeps_its_estimate() -> None:
    run = told(Line(rate=40 * MBIT))
    run.run(SETTLED)
    measured = run.capacity.measured
    run.demand = 0.5 * MBIT

    run.run(15.0)

    assert run.capacity.measured >= 0.97 * measured


def test_what_comes_in_bursts_does_not_make_the_line_seem_slower() -> None:
    """A download whose acks wait for a hole comes in bursts, and so does what it sends next."""
    run = told(Line(rate=40 * MBIT, delay=0.05))
    run.run(SETTLED)
    least = run.capacity.measured

    for step in range(6000):
        run.demand = 400 * MBIT if step % 700 < 15 else 0.0
        run.run(TICK)
        least = min(least, run.capacity.measured)

    assert least > 0.9 * 40 * MBIT


def test_a_path_with_nothing_to_send_for_long_begins_where_it_stopped() -> None:
    run = told(Line(rate=40 * MBIT))
    run.run(SETTLED)
    run.demand = 0.0
    run.run(30.0)
    run.demand = 1e9

    assert run.run(0.5) > 0.85 * 40 * MBIT


def test_little_traffic_never_makes_the_estimate_grow() -> None:
    run = told(Line(rate=40 * MBIT))
    run.demand = 2 * MBIT

    run.run(10.0)

    assert run.capacity.measured <= 40 * MBIT
    assert run.capacity.rate <= (1 + GROWTH[0]) * 40 * MBIT


# --- jitter and neighbours


def test_jitter_is_no_queue() -> None:
    run = told(Line(rate=50 * MBIT, jitter=0.012))
    run.run(SETTLED)

    for share in shares(run, 4):
        assert share > 0.9
    assert run.mean_queue < QUEUE_ALLOWED * TARGET_QUEUE + MOST_JITTER


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_download_beside_ours_leaves_us_almost_half(seed: int) -> None:
    run = told(Line(rate=40 * MBIT, queue=0.03), seed=seed)
    run.run(SETTLED)

    run.line.has_neighbour = True
    run.run(5.0)
    share = run.run(10.0) / run.line.rate

    assert 0.7 * FLOOR < share < 1.4 * FLOOR


def test_the_line_is_ours_again_when_the_neighbour_stops() -> None:
    run = told(Line(rate=40 * MBIT, queue=0.03))
    run.line.has_neighbour = True
    run.run(8.0)

    run.line.has_neighbour = False
    run.run(SETTLED)

    assert run.run(1.0) > 0.95 * 40 * MBIT


# --- after a silence


@pytest.mark.parametrize("share", [0.85, 0.5])
def test_after_a_silence_a_share_of_the_rate_is_used_at_once_and_all_of_it_soon(
    share: float,
) -> None:
    run = told(Line(rate=40 * MBIT))
    run.run(SETTLED)
    measured = run.capacity.measured

    run.capacity.on_return(share, run.now)

    assert run.capacity.rate == pytest.approx(share * measured)
    run.run(1.0)
    assert run.run(1.0) > 0.97 * 40 * MBIT


def test_a_path_of_which_nothing_is_known_may_always_send() -> None:
    capacity = Capacity()
    capacity.on_train(0.0, 1.0)

    assert capacity.rate >= LEAST_RATE
    assert capacity.window >= 6 * DATAGRAM


def test_a_line_that_carries_hardly_anything_is_not_given_up() -> None:
    run = told(Line(rate=0.1 * MBIT, queue=0.5))
    run.run(20.0)

    assert run.run(10.0) > 0.9 * 0.1 * MBIT
