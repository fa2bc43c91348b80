"""Lines that swallow large packets, from the start or from one moment to the next."""

import pytest

from multiwanbond.core.pmtu import MtuState
from tests.scenarios.bonded import Bonded

SEED = 35
EACH_WAN = pytest.mark.parametrize("wan_id", [1, 2, 3])
FULL = 1440
"""Bytes of the largest inner packet; 60 more on a line."""


def inner_mtus(bonded: Bonded) -> list[int | None]:
    """What is in force at the client and at the server."""
    (here,), (there,) = bonded.client.statistics.peers, bonded.server_statistics.peers
    return [here.inner_mtu, there.inner_mtu]


@EACH_WAN
def test_a_line_that_is_narrow_from_the_start_narrows_the_tunnel_within_two_seconds(
    wan_id: int,
) -> None:
    bonded = Bonded(SEED)
    bonded.client.uplinks[wan_id - 1].change(mtu=1428)

    bonded.connect()
    bonded.world.run_for(2.0)

    assert bonded.client.path(wan_id).mtu == 1428
    assert inner_mtus(bonded) == [1368, 1368]


@EACH_WAN
def test_a_line_that_becomes_narrow_costs_a_stream_of_full_packets_next_to_nothing(
    wan_id: int,
) -> None:
    bonded = Bonded(SEED)
    bonded.connect()
    client, world = bonded.client, bonded.world
    stream = client.stream(10.0, interval=0.002, size=FULL)
    world.run_for(5.0)

    client.uplinks[wan_id - 1].change(mtu=1400)
    world.run_for(6.0)

    assert stream.lost <= 0.01 * stream.sent


def test_what_fits_takes_all_lines_again() -> None:
    bonded = Bonded(SEED)
    bonded.connect()
    client, world = bonded.client, bonded.world
    client.stream(5.0, interval=0.0005, size=FULL)
    world.run_for(1.0)
    client.uplinks[0].change(mtu=1400)
    world.run_for(6.0)
    (peer,) = bonded.server_statistics.peers
    before = next(path.sent_bytes for path in peer.paths if path.path_id == 1)

    stream = client.stream(5.0, interval=0.0005, size=FULL - 100)
    world.run_for(6.0)

    (peer,) = bonded.server_statistics.peers
    path = next(path for path in peer.paths if path.path_id == 1)
    assert stream.lost == 0
    assert path.mtu == 1400
    assert path.black_holes == 1
    assert path.sent_bytes - before > 0.2 * stream.sent * FULL


def test_the_tunnel_widens_again_once_the_line_has() -> None:
    bonded = Bonded(SEED)
    bonded.client.uplinks[1].change(mtu=1400)
    bonded.connect()
    bonded.world.run_for(10.0)
    before = inner_mtus(bonded)

    bonded.client.uplinks[1].change(mtu=1500)
    bonded.world.run_for(640.0)

    assert before == [1340, 1340]
    assert inner_mtus(bonded) == [FULL, FULL]


@pytest.mark.parametrize("loss", [0.02, 0.1])
def test_a_line_that_merely_loses_packets_is_not_taken_for_narrow(loss: float) -> None:
    bonded = Bonded(SEED)
    for uplink in bonded.client.uplinks:
        uplink.change(loss=loss)
    bonded.connect()

    bonded.client.stream(40.0, interval=0.01, size=FULL)
    bonded.world.run_for(41.0)

    for statistics in (bonded.client.statistics, bonded.server_statistics):
        (peer,) = statistics.peers
        assert [path.mtu for path in peer.paths] == [1500] * 3
        assert {path.mtu_state for path in peer.paths} == {MtuState.FOUND}
        assert [path.black_holes for path in peer.paths] == [0] * 3


def test_an_idle_line_that_is_narrow_costs_next_to_nothing() -> None:
    bonded = Bonded(SEED)
    bonded.client.uplinks[0].change(mtu=1428)
    bonded.connect()
    bonded.world.run_for(60.0)
    wires = (bonded.client.uplinks[0].up, bonded.client.uplinks[0].down)
    before = [wire.statistics.pushed_bytes for wire in wires]

    bonded.world.run_for(1200.0)

    assert bonded.client.path(1).mtu == 1428
    for wire, octets in zip(wires, before, strict=True):
        assert (wire.statistics.pushed_bytes - octets) * 8 / 1200.0 < 2000
