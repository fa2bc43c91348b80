"""A path sends at its rate, in small bursts, also when it is woken late."""

from random import Random

import pytest

from multiwanbond.core.pacer import AHEAD, BEHIND, TICK, Pacer

DATAGRAM = 1460
RATES = [30e3, 1e6, 12.5e6, 125e6]


def paced(rate: float, *, seconds: float, most_late: float) -> list[tuple[float, int]]:
    """When how many bytes leave, of a sender that always has some and wakes up late."""
    rng = Random(5)
    pacer = Pacer(100.0)
    now, left = 100.0, []
    while now < 100.0 + seconds:
        octets = 0
        credit = pacer.credit(rate, now)
        while credit > octets:
            octets += DATAGRAM
            pacer.on_sent(DATAGRAM, rate, now)
        left.append((now, octets))
        now = max(pacer.next_at, now + TICK) + rng.uniform(0, most_late)
    return left


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("most_late", [0.0, BEHIND])
def test_over_a_long_time_the_rate_is_kept(rate: float, most_late: float) -> None:
    left = paced(rate, seconds=20.0, most_late=most_late)

    total = sum(octets for _, octets in left)
    assert total == pytest.approx(20.0 * rate, rel=0.005, abs=2 * DATAGRAM)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("most_late", [BEHIND, 5 * BEHIND])
def test_a_burst_is_no_more_than_was_missed_and_a_moment_ahead(
    rate: float, most_late: float
) -> None:
    left = paced(rate, seconds=5.0, most_late=most_late)

    most = (AHEAD + BEHIND) * rate + DATAGRAM
    sent_before: list[tuple[float, int]] = []
    for at, octets in left:
        assert octets <= most
        sent_before = [each for each in sent_before if each[0] > at - 0.05]
        sent_before.append((at, octets))
        span = at - sent_before[0][0]
        assert sum(each for _, each in sent_before) <= rate * span + most


def test_who_wakes_much_too_late_has_lost_that_time() -> None:
    pacer = Pacer(100.0)

    assert pacer.credit(1e6, 200.0) == pytest.approx((AHEAD + BEHIND) * 1e6)


def test_what_leaves_beyond_the_credit_is_paid_back() -> None:
    pacer = Pacer(100.0)

    pacer.on_sent(100_000, 1e6, 100.0)

    assert pacer.wait(100.0) == pytest.approx(0.1, abs=BEHIND)
    assert pacer.credit(1e6, 100.09) == 0.0
    assert pacer.credit(1e6, 100.11) > 0


def test_a_new_rate_holds_for_what_leaves_from_then_on() -> None:
    pacer = Pacer(100.0)
    pacer.on_sent(10_000, 1e6, 100.0)
    paid_at = pacer.next_at

    pacer.on_sent(10_000, 10e6, paid_at)

    assert pacer.next_at - paid_at == pytest.approx(0.001)
