"""Short downloads over a bond: what browsing feels like."""

import pytest

from multiwanbond.sim.fetches import LONGEST, FetchFigures, measure_fetches
from multiwanbond.sim.scenarios import SCENARIOS
from multiwanbond.sim.scoreboard import InnerSender

SEED = 1


@pytest.fixture(scope="module", params=["no_anchor", "geo"])
def figures(request: pytest.FixtureRequest) -> FetchFigures:
    print(f"seed {SEED}")
    return measure_fetches(request.param, SCENARIOS[request.param], InnerSender.CUBIC, SEED)


def test_every_fetch_ends(figures: FetchFigures) -> None:
    kinds = [*figures.fetches.values(), figures.page, figures.beside]

    assert all(kind.bond < LONGEST for kind in kinds)


def test_a_small_fetch_does_not_wait_for_the_slowest_line(figures: FetchFigures) -> None:
    assert figures.fetches[10_000].ratio < 2


def test_a_page_is_not_much_slower_than_over_the_best_line(figures: FetchFigures) -> None:
    assert figures.page.ratio < 1.5
