"""A train's spread on arrival tells the rate of the line it took."""

import pytest

from multiwanbond.core.train import LEAST_COUNT, LENGTH, SETTLED_AFTER, Arriving, Sent
from multiwanbond.core.wire import TrainReport, encode_frames

DATAGRAM = 1480
MBIT = 1e6 / 8


def departed(now: float = 10.0) -> Sent:
    sent = Sent()
    assert sent.take_wish(now)
    return sent


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

    assert departed().rate(report, 10.1) == pytest.approx(mbit * MBIT, rel=0.05)


def test_the_first_quarter_does_not_count_for_it_may_have_met_nobody() -> None:
    arriving = Arriving()
    for number in range(LENGTH):
        after_a_burst = max(number - LENGTH // 4, 0) * DATAGRAM / (10 * MBIT)
        arriving.on_datagram(1, DATAGRAM, 5000.0 + after_a_burst)

    rate = departed().rate(report_of(arriving), 10.1)

    assert rate == pytest.approx(10 * MBIT, rel=0.01)


@pytest.mark.parametrize("count", range(1, LEAST_COUNT))
def test_too_few_arrivals_say_nothing(count: int) -> None:
    report = report_of(arrived(10 * MBIT, count=count))

    assert report.datagrams == count
    assert departed().rate(report, 10.1) is None


def test_the_fewest_that_count_say_something() -> None:
    report = report_of(arrived(10 * MBIT, count=LEAST_COUNT))

    assert departed().rate(report, 10.1) == pytest.approx(10 * MBIT, rel=0.05)


def test_a_train_that_arrives_in_one_batch_is_fast_and_no_more_than_that() -> None:
    arriving = Arriving()
    for _ in range(LENGTH):
        arriving.on_datagram(1, DATAGRAM, 5000.0)

    rate = departed().rate(report_of(arriving), 10.1)

    assert rate is not None
    assert 100 * MBIT < rate < 10_000 * MBIT


def test_a_report_of_an_older_train_is_ignored() -> None:
    sent = departed()
    report = report_of(arrived(10 * MBIT, train_id=sent.train_id))
    sent.want()
    sent.take_wish(10.2)

    assert sent.rate(report, 10.3) is None


def test_a_report_long_after_its_train_is_ignored() -> None:
    report = report_of(arrived(10 * MBIT))

    assert departed(10.0).rate(report, 10.0 + 1.01 * SETTLED_AFTER) is None


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


def test_a_train_leaves_once_per_wish() -> None:
    sent = Sent()

    assert sent.take_wish(1.0)
    assert not sent.take_wish(1.1)
    sent.want()
    assert sent.take_wish(1.2)


def test_names_begin_anew_after_the_last() -> None:
    sent = Sent()
    for number in range(600):
        sent.want()
        sent.take_wish(float(number))
        assert 0 <= sent.train_id <= 255


def test_the_report_of_a_train_that_took_minutes_still_fits_its_frame() -> None:
    arriving = Arriving()
    for number in range(LENGTH):
        arriving.on_datagram(1, DATAGRAM, 5000.0 + number * 600.0)

    report = report_of(arriving)

    assert encode_frames([report])
