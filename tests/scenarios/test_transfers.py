"""Transfers over three unequal WANs: complete, undamaged, in every routing mode."""

import pytest

from multiwanbond.core.settings import RoutingMode
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
