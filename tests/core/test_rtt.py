"""Round-trip time: smoothed, its spread, and the line's own."""

import pytest

from multiwanbond.core.minimum import WINDOW
from multiwanbond.core.rtt import RttEstimator


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
