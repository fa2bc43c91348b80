"""Any WAN may fall silent, before the start or in the middle, and comes back by itself."""

import pytest

from multiwanbond.core.path_state import PathState
from tests.scenarios.bonded import Bonded

SEED = 32
EACH_WAN = pytest.mark.parametrize("wan_id", [1, 2, 3])


@EACH_WAN
def test_a_wan_that_is_black_from_the_start_is_done_without_and_joins_later(wan_id: int) -> None:
    bonded = Bonded(SEED)
    client = bonded.client
    dead = client.uplinks[wan_id - 1]
    dead.black_out()
    client.connect()

    transfer = client.transfer(2_000_000)
    bonded.world.run_until(lambda: transfer.is_done, within=30.0)

    assert client.is_connected
    assert client.state(wan_id) is not PathState.UP

    dead.restore()
    bonded.world.run_until(lambda: client.state(wan_id) is PathState.UP, within=5.0)


@EACH_WAN
def test_a_transfer_survives_a_wan_that_goes_black_in_its_midst(wan_id: int) -> None:
    bonded = Bonded(SEED)
    bonded.connect()
    client, world = bonded.client, bonded.world
    transfer = client.transfer(30_000_000)
    world.run_for(1.0)
    cut_at = world.now

    client.uplinks[wan_id - 1].black_out()
    world.run_until(lambda: client.state(wan_id) is PathState.DOWN, within=2.0)
    noticed_after = world.now - cut_at
    world.run_until(lambda: transfer.is_done, within=60.0)

    # Three probes 200 ms apart stay unanswered; the inner TCP's own timeout comes on top.
    assert noticed_after < 1.2
    assert transfer.longest_stall(cut_at, world.now) < 3.0


@EACH_WAN
def test_a_wan_that_returns_carries_traffic_within_two_seconds(wan_id: int) -> None:
    bonded = Bonded(SEED)
    bonded.connect()
    client, world = bonded.client, bonded.world
    stream = client.stream(60.0, interval=0.002)
    uplink = client.uplinks[wan_id - 1]
    uplink.black_out()
    world.run_until(lambda: client.state(wan_id) is PathState.DOWN, within=5.0)

    uplink.restore()
    world.run_until(lambda: client.state(wan_id) is PathState.UP, within=2.0)
    world.run_for(1.0)
    lost_until_now = stream.lost
    world.run_for(5.0)

    assert stream.lost - lost_until_now <= 20  # those on their way now
    # All others are black now: what arrives must have come by the one that returned.
    for other in client.uplinks:
        if other is not uplink:
            other.black_out()
    world.run_for(3.0)
    before = len(stream.arrivals)
    world.run_for(1.0)
    assert len(stream.arrivals) - before > 450


def test_a_stream_stalls_briefly_when_the_wan_it_uses_goes_black() -> None:
    bonded = Bonded(SEED)
    bonded.connect()
    stream = bonded.client.stream(10.0, interval=0.002)
    bonded.world.run_for(2.0)
    cut_at = bonded.world.now

    bonded.client.uplinks[0].black_out()
    bonded.world.run_for(5.0)

    assert stream.longest_silence(cut_at - 1.0, bonded.world.now) < 0.25
    assert stream.lost <= 60


def test_a_frozen_wan_loses_nothing() -> None:
    bonded = Bonded(SEED)
    bonded.connect()
    stream = bonded.client.stream(5.0)
    bonded.world.run_for(1.0)

    bonded.client.uplinks[0].freeze()
    bonded.world.run_for(0.15)
    bonded.client.uplinks[0].restore()
    bonded.world.run_for(6.0)

    assert stream.lost == 0
    assert stream.duplicates == 0
    # What the line held comes after what went around it meanwhile: at most 80 ms of packets.
    assert stream.out_of_order <= 10


def test_all_wans_black_for_ten_seconds_and_the_bond_goes_on() -> None:
    bonded = Bonded(SEED)
    bonded.connect()
    transfer = bonded.client.transfer(20_000_000)
    bonded.world.run_for(0.5)

    for uplink in bonded.client.uplinks:
        uplink.black_out()
    bonded.world.run_for(10.0)
    for uplink in bonded.client.uplinks:
        uplink.restore()
    bonded.world.run_until(lambda: transfer.is_done, within=60.0)

    assert bonded.server_statistics.peers[0].handshakes >= 1
