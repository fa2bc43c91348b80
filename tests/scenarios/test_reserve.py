"""A WAN that is paid for by the byte carries packets only while no other one does."""

from dataclasses import replace

import pytest

from multiwanbond.core.endpoint import Endpoint
from multiwanbond.core.path_state import PathState
from multiwanbond.core.settings import EndpointSettings
from multiwanbond.sim.links import LinkSettings
from multiwanbond.sim.network import WanLinks

from .bonded import Bonded

SEED = 6
RESERVE = 2
DAY = 86_400.0


def metered(settings: EndpointSettings) -> EndpointSettings:
    wans = [replace(wan, only_when_needed=wan.id == RESERVE) for wan in settings.wans]
    return replace(settings, wans=tuple(wans))


@pytest.fixture
def bonded() -> Bonded:
    """A cable and an LTE line that is kept in reserve, both of which are up."""
    links = [LinkSettings(rate=2.5e6, delay=delay, queue=100_000) for delay in (0.01, 0.03)]
    made = Bonded(SEED, wans=tuple(WanLinks(link, link) for link in links), adjust=metered)
    made.connect()
    made.world.run_for(3.0)
    return made


def keep_in_reserve(bonded: Bonded, *, wanted: bool) -> None:
    """Do what the client's daemon does when its operator, or a quota, wants the WAN so."""
    host = bonded.client.host
    assert isinstance(host.engine, Endpoint)
    settings = host.engine.settings
    wans = [
        replace(wan, only_when_needed=wanted) if wan.id == RESERVE else wan for wan in settings.wans
    ]
    host.engine.reconfigure(replace(settings, wans=tuple(wans)), bonded.world.now)
    host.poll()


def resting(bonded: Bonded) -> list[set[int]]:
    """Return which paths the client, and which the server, keeps in reserve now."""
    return [
        {path.path_id for path in statistics.peers[0].paths if path.is_resting}
        for statistics in (bonded.client.statistics, bonded.server_statistics)
    ]


def carried(bonded: Bonded) -> int:
    """Bytes that the reserve has carried, both ways."""
    path = bonded.client.path(RESERVE)
    return path.sent_bytes + path.received_bytes


@pytest.mark.parametrize("is_upload", [False, True], ids=["download", "upload"])
def test_while_another_works_the_reserve_carries_nothing(bonded: Bonded, is_upload: bool) -> None:
    before = carried(bonded)

    bonded.client.transfer(50_000_000, is_upload=is_upload)
    bonded.client.stream(10.0, size=160, interval=0.02)
    bonded.world.run_for(10.0)

    assert carried(bonded) - before < 3_000
    assert bonded.client.state(RESERVE) is PathState.UP


def test_when_no_other_works_the_reserve_takes_over_and_rests_again_later(bonded: Bonded) -> None:
    stream = bonded.client.stream(20.0, size=160, interval=0.02)
    bonded.world.run_for(2.0)

    bonded.client.uplinks[0].black_out()
    bonded.world.run_for(5.0)
    needed = carried(bonded)
    arrived = len(stream.arrivals)
    bonded.client.uplinks[0].restore()
    bonded.world.run_for(4.0)
    resting = carried(bonded)
    bonded.world.run_for(5.0)

    assert arrived > 0.9 * 7.0 / 0.02
    assert needed > 200 * 160
    assert carried(bonded) - resting < 2_000


def test_an_idle_reserve_costs_little(bonded: Bonded) -> None:
    bonded.world.run_for(60.0)
    before = carried(bonded)

    bonded.world.run_for(600.0)

    # With 28 bytes of IPv4 and UDP around each of some 2 x 2 datagrams in 20 s.
    assert (carried(bonded) - before) * DAY / 600.0 < 2_500_000


def test_both_ends_tell_whether_the_reserve_is_in_use(bonded: Bonded) -> None:
    at_first = resting(bonded)
    bonded.client.uplinks[0].black_out()
    bonded.world.run_for(3.0)
    needed = resting(bonded)
    bonded.client.uplinks[0].restore()
    bonded.world.run_for(5.0)

    assert at_first == [{RESERVE}, {RESERVE}]
    assert needed == [set(), set()]
    assert resting(bonded) == [{RESERVE}, {RESERVE}]


def test_a_wan_becomes_a_reserve_at_both_ends_in_the_middle_of_a_download(bonded: Bonded) -> None:
    keep_in_reserve(bonded, wanted=False)
    transfer = bonded.client.transfer(30_000_000)
    bonded.world.run_for(3.0)
    shared = carried(bonded)

    keep_in_reserve(bonded, wanted=True)
    bonded.world.run_for(1.0)
    before = carried(bonded)
    bonded.world.run_until(lambda: transfer.is_done, within=30.0)

    assert shared > 1_000_000
    assert carried(bonded) - before < 3_000
    assert resting(bonded) == [{RESERVE}, {RESERVE}]


def test_a_wan_that_became_a_reserve_while_it_was_dead_rests_when_it_is_back(
    bonded: Bonded,
) -> None:
    keep_in_reserve(bonded, wanted=False)
    bonded.client.uplinks[1].black_out()
    bonded.world.run_for(5.0)
    keep_in_reserve(bonded, wanted=True)
    bonded.client.uplinks[1].restore()
    bonded.world.run_for(60.0)
    before = carried(bonded)

    bonded.world.run_for(600.0)

    assert resting(bonded) == [{RESERVE}, {RESERVE}]
    assert (carried(bonded) - before) * DAY / 600.0 < 2_500_000
