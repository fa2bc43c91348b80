"""What a download gets of the best of its lines, while one flow uses one line at a time."""

import pytest

from multiwanbond.sim.scenarios import SCENARIOS
from multiwanbond.sim.scoreboard import Plan, measure


@pytest.mark.parametrize(("name", "least"), [("three_unequal", 0.7), ("fibre_and_vdsl", 0.85)])
def test_a_download_is_not_moved_to_a_poorer_line_by_the_queue_it_overflows(
    name: str, least: float
) -> None:
    plan = Plan(seed=1)
    print(f"seed {plan.seed}")

    figures = measure(name, SCENARIOS[name], plan)

    assert figures.ratio is not None
    assert figures.ratio >= least
