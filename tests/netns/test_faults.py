"""Whatever happens to lines, interfaces and daemons: transfers end, and nothing stays behind."""

import pytest

from multiwanbond.lab.topology import Topology, line

from .conftest import BuildBond
from .faults import FaultRun

pytestmark = pytest.mark.netns

SEED = 20261123
"""Of what happens. When exactly it meets the daemons differs from run to run all the same."""


def test_a_bond_survives_a_row_of_random_faults_and_leaves_nothing_behind(
    kernel: None, build_bond: BuildBond
) -> None:
    with Topology([line(20, 0.01), line(10, 0.04), line(5, 0.025)], purpose="faults") as lab:
        run = FaultRun(lab, build_bond(lab), SEED)

        outcome = run.run(30)

        assert [each for each in outcome.transfers if not each.is_intact] == [], run.story
        assert outcome.transfers != []
        assert outcome.leftovers == []
        assert outcome.most_descriptors < 40
        assert outcome.most_memory < 120_000
