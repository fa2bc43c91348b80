"""Short fetches are timed as a user would, on lines whose outcome is known beforehand."""

import pytest

from multiwanbond.sim import fetches_report
from multiwanbond.sim.fetches import SIZES, FetchFigures, FetchTimes, measure_fetches
from multiwanbond.sim.links import LinkSettings
from multiwanbond.sim.network import WanLinks
from multiwanbond.sim.scenarios import Scenario
from multiwanbond.sim.scoreboard import InnerSender

MBIT = 1e6 / 8
SEED = 43
NEAR = LinkSettings(rate=10 * MBIT, delay=0.010, queue=100_000)
FAR = LinkSettings(rate=30 * MBIT, delay=0.060, queue=400_000)
TWO = Scenario(purpose="one near, one wide", wans=(WanLinks(FAR, FAR), WanLinks(NEAR, NEAR)))


@pytest.fixture(scope="module")
def figures() -> FetchFigures:
    print(f"seed {SEED}")
    return measure_fetches("two", TWO, InnerSender.CUBIC, SEED)


def test_the_best_line_is_chosen_per_kind_of_fetch(figures: FetchFigures) -> None:
    assert figures.fetches[10_000].line == 2
    assert figures.page.line == 1


def test_a_small_fetch_takes_two_round_trips_and_the_time_to_send_it(figures: FetchFigures) -> None:
    expected = 2 * 0.020 + 10_000 / (10 * MBIT)

    assert figures.fetches[10_000].best_line == pytest.approx(expected, rel=0.1)


def test_larger_fetches_take_longer(figures: FetchFigures) -> None:
    times = [figures.fetches[size] for size in SIZES]

    assert [each.bond for each in times] == sorted(each.bond for each in times)
    assert [each.best_line for each in times] == sorted(each.best_line for each in times)


def test_no_fetch_is_given_up_and_company_makes_none_faster(figures: FetchFigures) -> None:
    kinds = [*figures.fetches.values(), figures.page, figures.beside]

    assert all(0.040 < kind.bond < 10.0 for kind in kinds)
    assert figures.page.bond > figures.fetches[100_000].bond
    assert figures.disturbance > 0.9


def test_rows_of_the_table_fit_a_terminal_and_its_header(figures: FetchFigures) -> None:
    rows = [fetches_report.row(figures), *fetches_report.HEADER.splitlines()]

    assert {len(line) for line in rows} == {77}
    assert max(map(len, fetches_report.LEGEND)) <= 100


def test_a_ratio_below_one_means_that_the_bond_is_sooner() -> None:
    assert FetchTimes(bond=0.1, best_line=0.2, line=1).ratio == 0.5
