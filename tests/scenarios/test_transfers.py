"""Transfers over three unequal WANs: complete, undamaged, in every routing mode."""

import pytest

from multiwanbond.core.settings import RoutingMode
from multiwanbond.sim.scenarios import SCENARIOS, Scenario, play
from tests.scenarios.bonded import Bonded

SEED = 31


@pytest.mark.parametrize("mode", list(RoutingMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("is_upload", [False, True], ids=["download", "upload"])
def test_a_transfer_completes_in_every_routing_mode(mode: RoutingMode, is_upload: bool) -> None:
    bonded = Bonded(SEED, mode=mode)
    bonded.connect()

    transfer = bonded.client.transfer(5_000_000, is_upload=is_upload)
    bonded.world.run_until(lambda: transfer.is_done, within=60.0)

    assert transfer.receiver.expected == 5_000_000
    assert not bonded.server.strays
    assert not bonded.client.host.strays


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_a_transfer_completes_over_every_standard_mix(scenario: Scenario) -> None:
    bonded = Bonded(SEED, wans=scenario.wans)
    bonded.connect()

    transfer = bonded.client.transfer(1_000_000)
    questions = bonded.client.questions(20)
    bonded.world.run_until(lambda: transfer.is_done, within=60.0)
    bonded.world.run_for(2.0)

    assert transfer.receiver.expected == 1_000_000
    assert questions.unanswered <= 1  # some mixes lose packets, and nobody repairs UDP


@pytest.mark.parametrize("name", ["failover_best", "failover_slow", "freeze"])
def test_a_stream_goes_on_through_what_befalls_its_wans(name: str) -> None:
    scenario = SCENARIOS[name]
    bonded = Bonded(SEED, wans=scenario.wans)
    bonded.connect()
    start = bonded.world.now

    stream = bonded.client.stream(10.0)
    play(scenario, bonded.client.uplinks, bonded.world)
    bonded.world.run_for(12.0)

    assert stream.longest_silence(start + 1.0, start + 9.0) < 1.2
    assert stream.duplicates == 0
