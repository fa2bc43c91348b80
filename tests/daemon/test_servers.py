"""Several servers: which one a client uses, and when it changes its mind."""

from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from multiwanbond.config.notations import HostPort
from multiwanbond.core.burst import Burst
from multiwanbond.core.datagram import Address
from multiwanbond.core.handshake import public_key_of
from multiwanbond.daemon import servers
from multiwanbond.daemon.app import run_daemon
from multiwanbond.daemon.plan import ClientPlan, Plan, ServerPlan
from multiwanbond.daemon.servers import (
    FIRST_PATIENCE,
    LOOK_EVERY,
    PATIENCE,
    PROOFS,
    SETTLED,
    TRY_EVERY,
    Servers,
)
from multiwanbond.daemon.tunnel import Tunnel
from multiwanbond.errors import PlatformError
from tests.core.pair import udp_packet

from .machine import FakeMachine
from .sites import SERVER, Sites, client_plan, server_plan, wait_states
from .waiting import wait_until

SPARE = Address("198.51.100.2", 9000)
SPARE_KEY = bytes(range(7, 39))
PREFERRED_NAME = "server"


def plans(folder: Path, *names: str) -> Plan:
    """A client's plan with servers of these names."""
    base = client_plan(folder)
    made = [
        replace(
            base,
            endpoint=replace(
                base.endpoint,
                peers=(replace(base.server, name=name, public_key=name.encode().ljust(32)),),
            ),
        )
        for name in names
    ]
    return replace(made[0], standby=tuple(made[1:]))


class World:
    """Servers that are well or not, and lines that are there or not."""

    def __init__(self, plan: Plan) -> None:
        self.well: set[str] = set()
        self.has_lines = True
        self.refuses = False
        self.followed: list[str] = []
        self.called: list[str] = []
        self.servers = Servers(
            plan,
            follow=self._follow,
            is_connected=lambda: self.has_lines and self.used in self.well,
            is_trying=lambda: self.has_lines,
            answers=self._answers,
        )

    @property
    def used(self) -> str:
        return self.servers.plan.server.name

    async def _follow(self, plan: Plan) -> None:
        if self.refuses:
            raise PlatformError("No route.", "")
        self.followed.append(plan.server.name)

    async def _answers(self, plan: Plan) -> bool:
        self.called.append(plan.server.name)
        await trio.sleep(1)
        return plan.server.name in self.well


@pytest.fixture
async def world(tmp_path: Path, nursery: trio.Nursery) -> World:
    """Three servers, all well, and the choice among them; its tests run in virtual time."""
    made = World(plans(tmp_path, "one", "two", "three"))
    made.well = {"one", "two", "three"}
    nursery.start_soon(made.servers.run)
    return made


async def until_used(world: World, name: str) -> None:
    """Return when this server is used."""
    with trio.fail_after(10_000):
        while world.used != name:  # noqa: ASYNC110  # virtual time
            await trio.sleep(1)


WELL_AGAIN = PROOFS * (TRY_EVERY + 4)
"""Seconds after which a server that is well again is certainly used again."""


async def test_the_first_server_is_used_as_long_as_it_answers(
    world: World, autojump_clock: MockClock
) -> None:
    await trio.sleep(1000)

    assert world.used == "one"
    assert world.followed == []
    assert world.called == []


async def test_the_next_server_is_used_ten_seconds_after_the_last_answer(
    world: World, autojump_clock: MockClock
) -> None:
    await trio.sleep(20)

    world.well.remove("one")
    await trio.sleep(PATIENCE - 2 * LOOK_EVERY)
    before = world.used
    await trio.sleep(4 * LOOK_EVERY)

    assert (before, world.used) == ("one", "two")


async def test_a_server_that_restarts_is_waited_for(
    world: World, autojump_clock: MockClock
) -> None:
    for _ in range(10):
        await trio.sleep(20)
        world.well.remove("one")
        await trio.sleep(PATIENCE - 3 * LOOK_EVERY)
        world.well.add("one")

    assert world.followed == []


async def test_without_an_answer_all_servers_are_called_in_turn(
    world: World, autojump_clock: MockClock
) -> None:
    world.well.clear()

    await trio.sleep(6 * (FIRST_PATIENCE + 2 * LOOK_EVERY))

    assert (
        world.followed[:6] == ["two", "three", "one", "two", "three", "one"][: len(world.followed)]
    )
    assert len(world.followed) >= 5


async def test_without_a_line_no_server_is_given_up(
    world: World, autojump_clock: MockClock
) -> None:
    world.has_lines = False

    await trio.sleep(1000)

    assert world.followed == []


async def test_an_earlier_server_is_used_again_after_a_minute_of_answers(
    world: World, autojump_clock: MockClock
) -> None:
    await trio.sleep(SETTLED + 20)
    world.well.remove("one")
    await trio.sleep(PATIENCE + 5 * LOOK_EVERY)
    used_without = world.used

    world.well.add("one")
    await trio.sleep((PROOFS - 1) * TRY_EVERY - 2)
    used_soon = world.used
    await trio.sleep(WELL_AGAIN)

    assert (used_without, used_soon, world.used) == ("two", "two", "one")


async def test_the_earliest_server_that_is_well_is_returned_to(
    world: World, autojump_clock: MockClock
) -> None:
    world.well = {"three"}
    await trio.sleep(3 * FIRST_PATIENCE)
    used_without = world.used

    world.well = {"two", "three"}
    await trio.sleep(WELL_AGAIN)

    assert (used_without, world.used) == ("three", "two")


async def test_a_server_that_answers_now_and_then_is_not_returned_to(
    world: World, autojump_clock: MockClock
) -> None:
    world.well = {"two"}
    await trio.sleep(2 * FIRST_PATIENCE)
    followed = len(world.followed)

    for _ in range(20):
        world.well = {"two", *({"one"} - world.well)}
        await trio.sleep(TRY_EVERY)

    assert world.used == "two"
    assert len(world.followed) == followed


async def test_a_server_that_does_not_last_must_prove_itself_for_longer(
    world: World, autojump_clock: MockClock
) -> None:
    async def seconds_until_return() -> float:
        world.well = {"two"}
        await trio.sleep(30)
        assert world.used == "two"
        world.well = {"one", "two"}
        begun = trio.current_time()
        await until_used(world, "one")
        took = trio.current_time() - begun
        await trio.sleep(20)
        return took

    first = await seconds_until_return()
    second = await seconds_until_return()
    await trio.sleep(SETTLED)
    later = await seconds_until_return()

    assert second > 1.5 * first
    assert later < 1.5 * first


async def test_where_the_machine_cannot_follow_the_server_in_use_stays(
    world: World, autojump_clock: MockClock
) -> None:
    await trio.sleep(20)
    world.refuses = True
    world.well.remove("one")

    await trio.sleep(100)
    used_meanwhile = world.used
    world.refuses = False
    await trio.sleep(2 * PATIENCE)

    assert (used_meanwhile, world.used) == ("one", "two")


async def test_a_reload_keeps_the_server_in_use(
    world: World, autojump_clock: MockClock, tmp_path: Path
) -> None:
    world.well = {"two"}
    await trio.sleep(2 * FIRST_PATIENCE)

    await world.servers.reconfigure(plans(tmp_path, "zero", "two"))

    assert world.used == "two"
    assert [each["name"] for each in world.servers.describe()] == ["zero", "two"]
    assert [each["is_used"] for each in world.servers.describe()] == [False, True]


async def test_a_reload_without_the_server_in_use_begins_with_the_first(
    world: World, autojump_clock: MockClock, tmp_path: Path
) -> None:
    world.well = {"two"}
    await trio.sleep(2 * FIRST_PATIENCE)

    await world.servers.reconfigure(plans(tmp_path, "zero"))
    await trio.sleep(100)

    assert world.used == "zero"


async def test_a_refused_reload_changes_nothing(
    world: World, autojump_clock: MockClock, tmp_path: Path
) -> None:
    world.refuses = True

    with pytest.raises(PlatformError):
        await world.servers.reconfigure(plans(tmp_path, "zero"))

    assert world.used == "one"


# Daemons


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for longer than a test can bear."""
    monkeypatch.setattr(servers, "LOOK_EVERY", 0.1)
    monkeypatch.setattr(servers, "PATIENCE", 0.5)
    monkeypatch.setattr(servers, "FIRST_PATIENCE", 3.0)
    monkeypatch.setattr(servers, "TRY_EVERY", 0.5)


class TwoServers(Sites):
    """A second server beside the first."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.spare = FakeMachine(self.network.add_host({"eth0": [SPARE.host]}))

    async def start_spare(self, nursery: trio.Nursery) -> Tunnel:
        plan = server_plan(self.folder)
        plan = replace(
            plan,
            role=ServerPlan(listen=Address("0.0.0.0", SPARE.port)),
            control_socket=self.folder / "spare.sock",
            endpoint=replace(plan.endpoint, private_key=SPARE_KEY),
        )
        tunnel: Tunnel = await nursery.start(run_daemon, plan, self.spare)
        return tunnel

    def plan(self) -> Plan:
        """A client that knows both."""
        first = client_plan(self.folder)
        spare = replace(
            first,
            role=ClientPlan(
                wans=tuple((wish, HostPort(*SPARE)) for wish, _ in first.role.wans),
                discovery=None,
            )
            if isinstance(first.role, ClientPlan)
            else first.role,
            endpoint=replace(
                first.endpoint,
                peers=(replace(first.server, name="spare", public_key=public_key_of(SPARE_KEY)),),
            ),
        )
        return replace(first, standby=(spare,))


@pytest.mark.usefixtures("hurried")
async def test_traffic_goes_by_the_second_server_while_the_first_is_away(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    sites = TwoServers(tmp_path)
    preferred = await sites.start_server(nursery)
    await sites.start_spare(nursery)
    client = await sites.start_client(nursery, sites.plan())
    await wait_states(client, "Up", "Up")

    preferred.stop()
    await wait_until(lambda: client.status()["peers"][0]["name"] == "spare")
    await wait_states(client, "Up", "Up")
    assert sites.client.tun is not None
    assert sites.spare.tun is not None
    delivered = sites.spare.tun.delivered
    sites.client.tun.feed([Burst(udp_packet(b"hello"))])
    await wait_until(lambda: len(delivered) == 1)
    in_use = [each["is_used"] for each in client.status()["servers"]]

    await sites.start_server(nursery)
    await wait_until(lambda: client.status()["peers"][0]["name"] != "spare")
    await wait_states(client, "Up", "Up")
    await sites.send(udp_packet(b"hello again"))

    assert in_use == [False, True]
    assert [each["remote"] for each in client.status()["servers"]] == [str(SERVER), str(SPARE)]


@pytest.mark.usefixtures("hurried")
async def test_the_second_server_is_found_at_the_start(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    sites = TwoServers(tmp_path)
    await sites.start_spare(nursery)

    client = await sites.start_client(nursery, sites.plan())

    await wait_until(lambda: client.status()["is_ready"])
    assert client.status()["peers"][0]["name"] == "spare"


@pytest.mark.usefixtures("hurried")
async def test_everything_is_taken_back_whatever_server_was_in_use(tmp_path: Path) -> None:
    sites = TwoServers(tmp_path)
    async with trio.open_nursery() as nursery:
        spare = await sites.start_spare(nursery)
        client = await sites.start_client(nursery, sites.plan())
        await wait_until(lambda: client.status()["is_ready"])
        client.stop()
        spare.stop()

    assert sites.client.standing == []
