"""Random mixes are within the limits that are promised, and the same every time."""

import pytest

from multiwanbond.sim.links import LinkSettings
from multiwanbond.sim.random_mixes import (
    MOST,
    random_names,
    random_scenario,
    scenario_named,
)
from multiwanbond.sim.scenarios import SCENARIOS

MBIT = 1e6 / 8
EVERY = [random_scenario(number) for number in range(1, MOST + 1)]
DOWN = [wan.down for scenario in EVERY for wan in scenario.wans]


def queue_seconds(link: LinkSettings) -> float:
    assert isinstance(link.rate, float)
    return link.queue / link.rate


def test_every_line_is_within_the_limits() -> None:
    assert {len(scenario.wans) for scenario in EVERY} == {2, 3, 4}
    for link in DOWN:
        assert isinstance(link.rate, float)
        assert 2 * MBIT <= link.rate <= 300 * MBIT
        assert 0.004 <= link.delay <= 0.080
        assert 0 <= link.jitter <= 0.015
        assert 0 <= link.loss <= 0.02
        assert 0.019 < queue_seconds(link) < 0.401


def test_small_and_large_are_both_drawn() -> None:
    rates = sorted(link.rate for link in DOWN if isinstance(link.rate, float))

    assert rates[0] < 3 * MBIT
    assert rates[-1] > 250 * MBIT
    assert 15 * MBIT < rates[len(rates) // 2] < 40 * MBIT


def test_the_way_up_is_a_quarter_but_never_less_than_a_megabit() -> None:
    for scenario in EVERY:
        for up, down in scenario.wans:
            assert isinstance(up.rate, float)
            assert isinstance(down.rate, float)
            assert up.rate == max(down.rate / 4, 1 * MBIT)
            assert up.delay == down.delay


def test_a_number_always_names_the_same_mix_and_no_two_are_alike() -> None:
    assert random_scenario(7) == scenario_named("random07") == EVERY[6]
    assert len({scenario.wans for scenario in EVERY}) == MOST
    # The figures promised for "the first thirty" are of these; drawing them anew would be another
    # promise.
    assert EVERY[0].purpose == "at random: 62 Mbit/s 6 ms +15; 11 Mbit/s 69 ms +10 0.2 %"


def test_standard_mixes_keep_their_names() -> None:
    assert scenario_named("geo") is SCENARIOS["geo"]
    assert not set(SCENARIOS) & set(random_names(MOST))


@pytest.mark.parametrize("name", ["random0", "random7", "random100", "randomly", "mix5"])
def test_there_are_no_others(name: str) -> None:
    with pytest.raises(KeyError):
        scenario_named(name)
