"""Short downloads over emulated lines and their bond, few of each."""

import json

import pytest

from multiwanbond.lab import bench_fetches_report
from multiwanbond.lab.bench_fetches import FetchPlan, measure
from multiwanbond.sim.fetches import PAGE_FETCHES, SHORT_SIZE
from multiwanbond.sim.scenarios import SCENARIOS

pytestmark = pytest.mark.netns


@pytest.mark.usefixtures("kernel")
def test_every_fetch_over_lines_and_bond_arrives_in_full() -> None:
    plan = FetchPlan(repeats=2, page_repeats=1, short_flows=3, pings=3)

    figures = measure("fibre_and_vdsl", SCENARIOS["fibre_and_vdsl"], plan)

    assert len(figures.lines) == 2
    for way in (*figures.lines, figures.bond):
        assert {size: said.received for size, said in way.fetches.items()} == {
            size: 2 * size for size in way.fetches
        }
        assert way.page.received == PAGE_FETCHES * SHORT_SIZE
        assert sum(said.given_up for said in way.kinds) == 0
    for said in (figures.undisturbed, figures.beside):
        assert said.received == 3 * SHORT_SIZE
        assert said.given_up == 0
    assert figures.beside.bulk > 0
    (run,) = json.loads(json.dumps(bench_fetches_report.document([(plan, figures)])))["fetches"]
    assert run["given_up"] == 0
    assert bench_fetches_report.row(figures).startswith("fibre_and_vdsl")
