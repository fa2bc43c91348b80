"""What became of sent datagrams, from the receiver's report."""

import pytest

from multiwanbond.core.ledger import Arrivals, Ledger, round_trip
from multiwanbond.core.wire import ticks


def exchange(ledger: Ledger, arrivals: Arrivals, *, lost: set[int], count: int, now: float) -> None:
    """Send `count` datagrams of 1000 bytes of which some never arrive."""
    for _ in range(count):
        sequence = ledger.next_sequence
        ledger.next_sequence += 1
        ledger.on_sent(sequence, 1000)
        if sequence not in lost:
            arrivals.on_datagram(sequence, ticks(now), 1000, now + 0.02)


def test_an_ack_settles_everything_up_to_the_newest_arrival() -> None:
    ledger, arrivals = Ledger(0.0), Arrivals()
    exchange(ledger, arrivals, lost={9, 10}, count=10, now=1.0)

    has_progressed = ledger.on_ack(arrivals.report(1, 1.02), 1.04)

    assert has_progressed
    assert ledger.in_flight_bytes == 2000
    assert ledger.sent_datagrams == 10


def lose(share: int, *, of: int, seconds: int) -> Ledger:
    """Let `share` of every `of` datagrams be lost for some seconds, beginning at 1.0."""
    ledger, arrivals = Ledger(0.0), Arrivals()
    for second in range(1, seconds + 1):
        first = ledger.next_sequence
        lost = {first + n for n in range(of) if n % (of // share) == 0}
        exchange(ledger, arrivals, lost=lost, count=of, now=float(second))
        ledger.on_ack(arrivals.report(1, second + 0.02), second + 0.04)
    return ledger


def test_loss_is_the_share_that_did_not_arrive() -> None:
    assert lose(20, of=200, seconds=3).loss(3.1) == pytest.approx(0.1)


def test_two_lost_of_ten_are_no_verdict() -> None:
    assert lose(2, of=10, seconds=2).loss(2.1) == pytest.approx(0.02)


def test_one_bad_second_is_no_verdict_either() -> None:
    assert lose(50, of=200, seconds=1).loss(1.1) == 0.0


def test_loss_is_forgotten_after_its_window() -> None:
    assert lose(20, of=200, seconds=3).loss(14.0) == 0.0


def test_an_old_ack_and_one_from_the_future_change_nothing() -> None:
    ledger, arrivals = Ledger(0.0), Arrivals()
    exchange(ledger, arrivals, lost=set(), count=5, now=1.0)
    old = arrivals.report(1, 1.02)
    exchange(ledger, arrivals, lost=set(), count=5, now=1.1)
    ledger.on_ack(arrivals.report(1, 1.12), 1.14)

    assert not ledger.on_ack(old, 1.15)
    assert not ledger.on_ack(old._replace(highest=11), 1.15)
    assert ledger.in_flight_bytes == 0


def test_the_round_trip_leaves_out_the_time_the_ack_was_held() -> None:
    arrivals = Arrivals()
    arrivals.on_datagram(1, ticks(100.0), 1000, now=7.0)

    report = arrivals.report(1, now=7.3)

    assert round_trip(report, now=100.35) == pytest.approx(0.05, abs=1e-4)


def test_an_ack_that_was_held_too_long_tells_no_round_trip() -> None:
    arrivals = Arrivals()
    arrivals.on_datagram(1, ticks(100.0), 1000, now=7.0)

    assert round_trip(arrivals.report(1, now=9.0), now=102.05) is None
