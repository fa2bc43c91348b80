"""New settings in the middle of a download: nothing is lost, nothing is sent again for it.

The simulated TCP checks every byte it receives; a transfer that is done is intact.
"""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from multiwanbond.core.datagram import LinkDown
from multiwanbond.core.endpoint import Endpoint
from multiwanbond.core.path_state import PathState
from multiwanbond.core.settings import RoutingMode, WanSettings
from multiwanbond.sim.host import Host
from multiwanbond.sim.tcp import Transfer
from tests.scenarios.bonded import Bonded

SEED = 41
SIZE = 25_000_000
"""Bytes: about a second and a half of the three lines together."""
EACH_WAN = pytest.mark.parametrize("wan_id", [1, 2, 3])


def engine_of(host: Host) -> Endpoint:
    assert isinstance(host.engine, Endpoint)
    return host.engine


def reload(host: Host, **changes: Any) -> None:
    """Do what a daemon does when its file has changed."""
    engine = engine_of(host)
    engine.reconfigure(replace(engine.settings, **changes), host.world.now)
    host.poll()


def take_out(bonded: Bonded, wan_id: int) -> None:
    """Take a WAN out of the client's configuration, and close its socket when it may be."""
    host = bonded.client.host
    engine = engine_of(host)
    reload(host, wans=tuple(wan for wan in engine.settings.wans if wan.id != wan_id))
    bonded.world.run_until(lambda: engine.has_left(wan_id, bonded.world.now), within=6.0)
    host.change_link(wan_id, LinkDown(reason="taken out"))
    bonded.client.uplinks[wan_id - 1].black_out()


def repaired(bonded: Bonded) -> int:
    """Return how many packets the server has sent again."""
    return bonded.server_statistics.peers[0].repaired_packets


def finish(bonded: Bonded, transfer: Transfer) -> None:
    bonded.world.run_until(lambda: transfer.is_done, within=60.0)


@cache
def undisturbed() -> tuple[Transfer, int]:
    """Return the same download without a reload, and what the bond sent again for it."""
    bonded = Bonded(SEED)
    bonded.connect()
    transfer = bonded.client.transfer(SIZE)
    finish(bonded, transfer)
    return transfer, repaired(bonded)


@pytest.mark.parametrize("mode", list(RoutingMode))
def test_a_download_survives_a_change_of_its_routing_mode_and_back(mode: RoutingMode) -> None:
    bonded = Bonded(SEED)
    bonded.connect()
    transfer = bonded.client.transfer(SIZE)
    stream = bonded.client.stream(4.0, interval=0.005)
    bonded.world.run_for(0.5)
    begun_at = bonded.world.now

    for host in (bonded.server, bonded.client.host):
        reload(host, routing_mode=mode)
    bonded.world.run_for(0.5)
    for host in (bonded.server, bonded.client.host):
        reload(host, routing_mode=RoutingMode.ADAPTIVE)
    finish(bonded, transfer)
    stall = transfer.longest_stall(begun_at, bonded.world.now)
    bonded.world.run_for(4.0)

    assert transfer.timeouts == 0
    assert stall < 0.3
    assert stream.lost == 0


@EACH_WAN
def test_a_wan_leaves_a_download_without_a_storm_of_repairs(wan_id: int) -> None:
    plain, plainly_repaired = undisturbed()
    bonded = Bonded(SEED)
    bonded.connect()
    transfer = bonded.client.transfer(SIZE)
    stream = bonded.client.stream(4.0, interval=0.005)
    bonded.world.run_for(0.5)
    begun_at = bonded.world.now

    take_out(bonded, wan_id)
    finish(bonded, transfer)
    stall = transfer.longest_stall(begun_at, bonded.world.now)
    bonded.world.run_for(4.0)

    assert transfer.timeouts == 0
    assert stall < 0.3
    assert stream.lost == 0
    # What the lines held would be several times as many.
    assert repaired(bonded) <= plainly_repaired + 50
    assert transfer.resent <= plain.resent + 5
    left = {path.path_id for path in bonded.server_statistics.peers[0].paths}
    assert left == {1, 2, 3} - {wan_id}


@EACH_WAN
def test_a_wan_that_is_added_carries_its_share_of_a_download(wan_id: int) -> None:
    bonded = Bonded(SEED)
    everything = engine_of(bonded.client.host).settings.wans
    reload(bonded.client.host, wans=tuple(wan for wan in everything if wan.id != wan_id))
    for uplink in bonded.client.uplinks:
        uplink.connect()  # the one without configuration is not used
    bonded.world.run_for(1.0)
    transfer = bonded.client.transfer(SIZE)
    bonded.world.run_for(1.0)
    had = {path.path_id for path in bonded.client.statistics.peers[0].paths}

    reload(bonded.client.host, wans=everything)
    bonded.client.uplinks[wan_id - 1].connect()
    finish(bonded, transfer)

    assert had == {1, 2, 3} - {wan_id}
    assert bonded.client.state(wan_id) is PathState.UP
    assert bonded.client.path(wan_id).received_bytes > 200_000
    assert transfer.timeouts == 0


def test_a_cap_set_during_a_download_is_kept_to_by_the_server() -> None:
    bonded = Bonded(SEED)
    bonded.connect()
    transfer = bonded.client.transfer()
    bonded.world.run_for(2.0)

    wans = engine_of(bonded.client.host).settings.wans
    capped = WanSettings(id=1, max_bandwidth=500e3)
    reload(bonded.client.host, wans=(capped, *wans[1:]))
    bonded.world.run_for(0.5)
    before = bonded.client.path(1).received_bytes
    bonded.world.run_for(2.0)

    rate = (bonded.client.path(1).received_bytes - before) / 2.0
    assert rate <= 550e3
    assert transfer.timeouts == 0
