"""What became of sent datagrams, from the receiver's report."""

import pytest

from multiwanbond.core.ledger import REPETITIONS, Arrivals, Ledger, Settled, round_trip
from multiwanbond.core.wire import TIME_UNIT, TIMESTAMP_MASK, ticks


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


def test_an_ack_says_how_many_of_what_was_sent_since_the_last_one_arrived() -> None:
    ledger, arrivals = Ledger(0.0), Arrivals()
    exchange(ledger, arrivals, lost={2, 3}, count=10, now=1.0)
    first = ledger.on_ack(arrivals.report(1, 1.02), 1.04)
    exchange(ledger, arrivals, lost=set(), count=5, now=1.1)

    assert first == Settled(expected=10, received=8)
    assert ledger.on_ack(arrivals.report(1, 1.12), 1.14) == Settled(expected=5, received=5)


def test_what_came_late_is_settled_with_what_came_after_it() -> None:
    ledger, arrivals = Ledger(0.0), Arrivals()
    exchange(ledger, arrivals, lost={2}, count=5, now=1.0)
    ledger.on_ack(arrivals.report(1, 1.02), 1.04)
    arrivals.on_datagram(2, ticks(1.0), 1000, 1.03)
    exchange(ledger, arrivals, lost=set(), count=5, now=1.1)

    assert ledger.on_ack(arrivals.report(1, 1.12), 1.14) == Settled(expected=5, received=6)


def test_a_loss_that_is_our_own_is_settled_and_not_held_against_the_line() -> None:
    ledger, arrivals = Ledger(0.0), Arrivals()
    for second in range(1, 4):
        first = ledger.next_sequence
        lost = set(range(first, first + 100, 5))
        exchange(ledger, arrivals, lost=lost, count=100, now=float(second))
        report = arrivals.report(1, second + 0.02)
        settled = ledger.on_ack(report, second + 0.04, counts_loss=False)
        assert settled is not None
        assert settled.received < settled.expected

    assert ledger.loss(3.1) == 0.0


def test_the_report_tells_bytes_and_when_the_newest_came_so_that_a_rate_needs_no_ack_timing() -> (
    None
):
    arrivals = Arrivals()
    for number in range(1, 11):
        arrivals.on_datagram(number, 0, 1480, 300.0 + number * 0.001)
    first = arrivals.report(1, 300.02)
    for number in range(11, 21):
        arrivals.on_datagram(number, 0, 1480, 300.0 + number * 0.001)
    second = arrivals.report(1, 300.5)

    elapsed = (second.received_at - first.received_at & TIMESTAMP_MASK) * TIME_UNIT
    assert (second.octets - first.octets) / elapsed == pytest.approx(1.48e6, rel=0.01)


def test_a_late_arrival_counts_its_bytes_and_does_not_turn_the_clock_back() -> None:
    arrivals = Arrivals()
    arrivals.on_datagram(1, 0, 1000, 300.0)
    arrivals.on_datagram(3, 0, 1000, 300.01)
    arrivals.on_datagram(2, 0, 1000, 300.02)

    report = arrivals.report(1, 300.03)

    assert (report.highest, report.octets, report.datagrams) == (3, 3000, 3)
    assert report.received_at == ticks(300.01) & TIMESTAMP_MASK


def test_the_least_delay_is_that_of_the_quickest_since_the_last_report() -> None:
    arrivals = Arrivals()
    for number, delay in enumerate((0.050, 0.020, 0.035), 1):
        sent_at = 100.0 + number
        arrivals.on_datagram(number, ticks(sent_at) & TIMESTAMP_MASK, 1000, sent_at + delay)
    first = arrivals.report(1, 103.1)
    arrivals.on_datagram(4, ticks(104.0) & TIMESTAMP_MASK, 1000, 104.045)
    second = arrivals.report(1, 104.1)

    assert first.least_delay * TIME_UNIT == pytest.approx(0.020, abs=2 * TIME_UNIT)
    assert second.least_delay * TIME_UNIT == pytest.approx(0.045, abs=2 * TIME_UNIT)


def test_the_least_delay_is_found_also_when_the_clocks_differ_by_less_than_nothing() -> None:
    arrivals = Arrivals()
    ahead = 7.0  # the sender's clock
    for number, delay in enumerate((0.050, 0.020, 0.035), 1):
        sent_at = 100.0 + number
        timestamp = ticks(sent_at + ahead) & TIMESTAMP_MASK
        arrivals.on_datagram(number, timestamp, 1000, sent_at + delay)

    least = arrivals.report(1, 103.1).least_delay

    assert (least + round(ahead / TIME_UNIT) & TIMESTAMP_MASK) * TIME_UNIT == pytest.approx(
        0.020, abs=3 * TIME_UNIT
    )


def test_a_gap_is_told_of_many_times_and_not_for_ever() -> None:
    arrivals = Arrivals()
    for sequence in (1, 2, 5, 6):
        arrivals.on_datagram(sequence, 0, 1000, 1.0)

    reports = [arrivals.report(1, 1.0).ranges for _ in range(REPETITIONS + 1)]
    arrivals.on_datagram(9, 0, 1000, 2.0)

    assert set(reports[:-1]) == {((2, 2), (2, 0))}
    assert reports[-1] == ((2, 0),)
    assert arrivals.report(1, 2.0).ranges == ((1, 2), (2, 0))
