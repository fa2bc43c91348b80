"""The standard mixes are what the study used."""

import pytest

from multiwanbond.sim.scenarios import SCENARIOS, Incident, Scenario

MBIT = 1e6 / 8


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_a_scenario_has_wans_and_its_happenings_strike_them(scenario: Scenario) -> None:
    assert len(scenario.wans) >= 2
    assert all(0 <= happening.wan < len(scenario.wans) for happening in scenario.happenings)
    assert 0 < scenario.rate_up <= scenario.rate_down


def test_rates_add_up() -> None:
    assert SCENARIOS["three_unequal"].rate_down == 160 * MBIT
    assert SCENARIOS["policer"].rate_down == 50 * MBIT
    assert SCENARIOS["square"].rate_down == 127.5 * MBIT
    # The first four lines: 100, 50, 10 and an LTE walk between 5 and 30.
    assert 165 * MBIT < SCENARIOS["mix4"].rate_down < 190 * MBIT


def test_the_failovers_differ_in_whom_they_strike() -> None:
    best, slow = SCENARIOS["failover_best"], SCENARIOS["failover_slow"]

    assert [happening.wan for happening in best.happenings] == [0]
    assert [happening.wan for happening in slow.happenings] == [1]
    assert best.happenings[0].incident is Incident.BLACK_OUT
