"""Bulk UDP that behaves as QUIC does gets through a bond, complete and undamaged."""

import pytest

from multiwanbond.sim.scenarios import SCENARIOS
from tests.scenarios.bonded import Bonded

SEED = 34


@pytest.mark.parametrize("is_upload", [False, True], ids=["download", "upload"])
@pytest.mark.parametrize("name", ["three_unequal", "mix4", "no_anchor"])
def test_a_quic_transfer_completes(name: str, is_upload: bool) -> None:
    bonded = Bonded(SEED, wans=SCENARIOS[name].wans)
    bonded.connect()

    transfer = bonded.client.quic_transfer(1_000_000, is_upload=is_upload)
    bonded.world.run_until(lambda: transfer.is_done, within=20.0)

    assert transfer.progress[-1][1] == 1_000_000
    assert not bonded.server.strays
    assert not bonded.client.host.strays
