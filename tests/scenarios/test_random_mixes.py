"""Mixes that nobody has tuned for: TCP gets through all of them."""

import pytest

from multiwanbond.sim.random_mixes import random_names, scenario_named
from multiwanbond.sim.scoreboard import Plan, measure
from tests.scenarios.bonded import Bonded

SEED = 33
SMALL = ["random15", "random17", "random18", "random26"]
"""Of at most 30 Mbit/s together: cheap to simulate for long."""


@pytest.mark.parametrize("name", random_names())
def test_a_transfer_completes_over_a_random_mix(name: str) -> None:
    bonded = Bonded(SEED, wans=scenario_named(name).wans)
    bonded.connect()

    transfer = bonded.client.transfer(500_000)
    bonded.world.run_until(lambda: transfer.is_done, within=20.0)

    assert transfer.receiver.expected == 500_000


@pytest.mark.parametrize("name", SMALL)
def test_a_download_is_not_far_below_its_best_line(name: str) -> None:
    print(f"seed {SEED}")

    figures = measure(name, scenario_named(name), Plan(seconds=8.0, seed=SEED))

    assert figures.ratio is not None
    assert figures.ratio > 0.7
