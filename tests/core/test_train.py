"""A train's spread on arrival tells the rate of the line it took."""

import pytest

from multiwanbond.core.frames import TrainReport, encode_frames
from multiwanbond.core.train import LEAST_COUNT, LENGTH, SETTLED_AFTER, Arriving, Sent

DATAGRAM = 1480
MBIT = 1e6 / 8


def departed(now: float = 10.0) -> Sent:
    sent = Sent()
    assert sent.take_wish(now, is_idle=True)
    return sent


def rate_of(sent: Sent, report: TrainReport, now: float = 10.1) -> float | None:
    found = sent.on_report(report, now)
    return None if found is None else found.octets_per_second


def arrived(rate: float, *, count: int = LENGTH, train_id: int = 1) -> Arriving:
    """The receiving end, after a line of that rate has spread the train."""
    arriving = Arriving()
    for number in range(count):
        arriving.on_datagram(train_id, DATAGRAM, 5000.0 + number * DATAGRAM / rate)
    return arriving


def report_of(arriving: Arriving) -> TrainReport:
    report = arriving.take_report(3)
    assert report is not None
    return report


@pytest.mark.parametrize("mbit", [0.25, 1, 10, 100])
def test_the_rate_is_what_the_spread_says(mbit: float) -> None:
    report = report_of(arrived(mbit * MBIT))

    assert rate_of(departed(), report) == pytest.approx(mbit * MBIT, rel=0.05)


def test_the_first_quarter_does_not_count_for_it_may_have_met_nobody() -> None:
    arriving = Arriving()
    for number in range(LENGTH):
        after_a_burst = max(number - LENGTH // 4, 0) * DATAGRAM / (10 * MBIT)
        arriving.on_datagram(1, DATAGRAM, 5000.0 + after_a_burst)

    rate = rate_of(departed(), report_of(arriving))

    assert rate == pytest.approx(10 * MBIT, rel=0.01)


@pytest.mark.parametrize("count", range(1, LEAST_COUNT))
def test_too_few_arrivals_say_nothing(count: int) -> None:
    report = report_of(arrived(10 * MBIT, count=count))

    assert report.datagrams == count
    assert rate_of(departed(), report) is None


def test_the_fewest_that_count_say_something() -> None:
    report = report_of(arrived(10 * MBIT, count=LEAST_COUNT))

    assert rate_of(departed(), report) == pytest.approx(10 * MBIT, rel=0.05)


def test_a_train_that_arrives_in_one_batch_is_fast_and_no_more_than_that() -> None:
    arriving = Arriving()
    for _ in range(LENGTH):
        arriving.on_datagram(1, DATAGRAM, 5000.0)

    rate = rate_of(departed(), report_of(arriving))

    assert rate is not None
    assert 100 * MBIT < rate < 10_000 * MBIT


def test_a_report_of_an_older_train_is_ignored() -> None:
    sent = departed()
    report = report_of(arrived(10 * MBIT, train_id=sent.train_id))
    sent.take_wish(10.6, is_idle=True)

    assert sent.on_report(report, 10.7) is None


def test_a_report_long_after_its_train_is_ignored() -> None:
    report = report_of(arrived(10 * MBIT))

    assert departed(10.0).on_report(report, 10.0 + 1.01 * SETTLED_AFTER) is None


def test_datagrams_of_another_train_begin_anew() -> None:
    arriving = arrived(1 * MBIT, train_id=1)

    for number in range(LENGTH):
        arriving.on_datagram(2, DATAGRAM, 5010.0 + number * DATAGRAM / (10 * MBIT))
    report = report_of(arriving)

    assert (report.train_id, report.datagrams) == (2, LENGTH)
    assert report.octets / (report.span * 16e-6) == pytest.approx(10 * MBIT, rel=0.05)


def test_everything_is_said_once() -> None:
    arriving = arrived(10 * MBIT)

    assert arriving.take_report(3) is not None
    assert arriving.take_report(3) is None


def test_the_rate_is_the_median_of_three_trains() -> None:
    sent = Sent()
    rates = []

    for number, mbit in enumerate([11, 150, 50]):
        assert sent.take_wish(10.0 + number, is_idle=True)
        report = report_of(arrived(mbit * MBIT, train_id=sent.train_id))
        rates.append(rate_of(sent, report, 10.1 + number))

    assert rates[-1] == pytest.approx(50 * MBIT, rel=0.05)


def test_a_report_that_grows_counts_once() -> None:
    sent = departed()
    reports = [report_of(arrived(10 * MBIT, count=count)) for count in (LEAST_COUNT, LENGTH)]

    rates = [rate_of(sent, report) for report in reports]

    assert rates == pytest.approx([10 * MBIT, 10 * MBIT], rel=0.05)


def test_three_trains_leave_per_wish_each_when_the_one_before_has_been_reported() -> None:
    sent = departed(10.0)
    left = [10.0]

    for tick in range(1, 30):
        now = 10.0 + tick / 10
        if tick == 2:
            sent.on_report(report_of(arrived(100 * MBIT)), now)
        if sent.take_wish(now, is_idle=True):
            left.append(now)

    assert left == pytest.approx([10.0, 10.2, 10.7])
    sent.want()
    assert sent.take_wish(20.0, is_idle=True)


def test_one_train_is_enough_of_a_slow_line() -> None:
    sent = departed(10.0)

    sent.on_report(report_of(arrived(2 * MBIT)), 10.2)

    assert not sent.take_wish(11.0, is_idle=True)


def test_only_the_first_train_leaves_beside_other_traffic() -> None:
    sent = Sent()

    assert sent.take_wish(10.0, is_idle=False)
    sent.on_report(report_of(arrived(100 * MBIT)), 10.1)
    assert not sent.take_wish(10.2, is_idle=False)
    assert not sent.take_wish(10.3, is_idle=True)


def test_names_begin_anew_after_the_last() -> None:
    sent = Sent()
    for number in range(600):
        sent.want()
        sent.take_wish(float(number), is_idle=True)
        assert 0 <= sent.train_id <= 255


def test_the_report_of_a_train_that_took_minutes_still_fits_its_frame() -> None:
    arriving = Arriving()
    for number in range(LENGTH):
        arriving.on_datagram(1, DATAGRAM, 5000.0 + number * 600.0)

    report = report_of(arriving)

    assert encode_frames([report])
