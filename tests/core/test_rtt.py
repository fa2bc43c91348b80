"""Round-trip time and one-way delay: smoothed, their spread, and the line's own."""

from random import Random

import pytest

from multiwanbond.core.minimum import WINDOW
from multiwanbond.core.rtt import DelayClock, OneWayDelay, RttEstimator
from multiwanbond.core.wire import TIME_UNIT, TIMESTAMP_MASK


def test_the_first_sample_is_the_estimate() -> None:
    rtt = RttEstimator()

    rtt.on_sample(0.05, now=0.0)

    assert (rtt.smoothed, rtt.base, rtt.jitter) == (0.05, 0.05, 0.0)


def test_a_steady_line_has_no_jitter_and_a_short_timeout() -> None:
    rtt = RttEstimator()

    for step in range(100):
        rtt.on_sample(0.05, now=step * 0.1)

    assert rtt.jitter == 0.0
    assert rtt.timeout(0.0, 1.0) == pytest.approx(0.05, abs=0.001)


def test_alternating_samples_show_their_difference_as_jitter() -> None:
    rtt = RttEstimator()

    for step in range(200):
        rtt.on_sample(0.05 if step % 2 else 0.07, now=step * 0.1)

    assert rtt.jitter == pytest.approx(0.02, rel=0.01)


def test_a_queue_that_fills_slowly_is_not_jitter_and_not_the_lines_own_delay() -> None:
    rtt = RttEstimator()

    for step in range(300):
        rtt.on_sample(0.02 + step * 0.0005, now=step * 0.01)

    assert rtt.jitter < 0.001
    assert rtt.base == 0.02


def test_the_base_forgets_a_route_that_is_gone() -> None:
    rtt = RttEstimator()
    rtt.on_sample(0.01, now=0.0)

    for step in range(1, 200):
        rtt.on_sample(0.08, now=step * WINDOW / 100)

    assert rtt.base == 0.08


def test_without_samples_the_longest_patience_holds() -> None:
    assert RttEstimator().timeout(0.1, 1.0) == 1.0


SPAN = 0.03


def test_clock_readings_of_all_paths_compare_whatever_the_clocks_say() -> None:
    clock = DelayClock()
    apart = 123_456_789
    quick, slow = 0.010, 0.045

    readings = [
        clock.unwrap(apart + round(delay / TIME_UNIT) & TIMESTAMP_MASK)
        for delay in (quick, slow, quick, slow)
    ]

    assert readings[1] - readings[0] == pytest.approx(slow - quick, abs=TIME_UNIT)
    assert readings[2:] == pytest.approx(readings[:2])


def test_clocks_that_drift_apart_through_the_wrap_never_jump() -> None:
    clock = DelayClock()
    raw = TIMESTAMP_MASK - 500
    before = clock.unwrap(raw)

    for step in range(1, 2000):
        reading = clock.unwrap(raw + step & TIMESTAMP_MASK)
        assert reading - before == pytest.approx(TIME_UNIT)
        before = reading


def test_a_clock_that_was_behind_is_followed_below_zero() -> None:
    clock = DelayClock()
    first = clock.unwrap(5)

    assert clock.unwrap(-5 & TIMESTAMP_MASK) - first == pytest.approx(-10 * TIME_UNIT)


def delay_of(samples: list[float]) -> OneWayDelay:
    """One sample every 10 ms."""
    delay = OneWayDelay()
    for step, sample in enumerate(samples):
        delay.on_sample(sample, SPAN, step * 0.01)
    return delay


def test_a_standing_queue_is_seen_within_its_span_and_its_end_at_once() -> None:
    delay = delay_of([0.02] * 100 + [0.05] * 5)
    assert delay.queue == pytest.approx(0.03)

    delay.on_sample(0.02, SPAN, 1.06)

    assert delay.queue == 0.0


def test_jitter_is_no_standing_queue() -> None:
    rng = Random(3)

    delay = delay_of([0.02 + (rng.uniform(0, 0.012) if n % 3 else 0.0) for n in range(300)])

    assert delay.queue < 0.001
    assert 0.001 < delay.jitter < 0.012


def test_a_negative_zero_of_the_clock_changes_nothing() -> None:
    delay = delay_of([-40.0] * 50 + [-39.97] * 5)

    assert delay.queue == pytest.approx(0.03)
    assert delay.smoothed == pytest.approx(-39.975, abs=0.01)


def test_the_delays_base_forgets_a_route_that_is_gone() -> None:
    delay = OneWayDelay()
    delay.on_sample(0.01, SPAN, 0.0)

    for step in range(1, 200):
        delay.on_sample(0.08, SPAN, step * WINDOW / 100)

    assert delay.queue == 0.0


def test_a_sample_after_a_long_silence_stands_for_itself() -> None:
    delay = delay_of([0.02] * 100)

    delay.on_sample(0.025, SPAN, 500.0)

    assert delay.queue == pytest.approx(0.005)
