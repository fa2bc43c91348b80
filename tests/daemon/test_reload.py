"""A daemon that reads its file again: all of it counts, or nothing does.

Real files and sockets, so time is real here and limits are generous.
"""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from multiwanbond.config.keys import encode_key
from multiwanbond.config.load import load
from multiwanbond.config.model import Mode
from multiwanbond.config.runnable import require_runnable
from multiwanbond.config.walk import Setting
from multiwanbond.control.client import ask
from multiwanbond.control.protocol import Command
from multiwanbond.control.status import ReloadDocument
from multiwanbond.core.handshake import public_key_of
from multiwanbond.core.settings import CipherCosts
from multiwanbond.daemon import wans
from multiwanbond.daemon.app import run_daemon
from multiwanbond.daemon.plan import plan_for
from multiwanbond.daemon.quota_file import Count, read_counts, write_counts
from multiwanbond.daemon.reload import Reloader
from multiwanbond.daemon.tunnel import Tunnel
from multiwanbond.errors import ControlError
from tests.config.every_setting import (
    IDENTITIES,
    VALUES,
    another_value,
    at,
    base,
    by_key,
    changed,
)
from tests.core.pair import CLIENT_KEY, PSK, SERVER_KEY, udp_packet

from .machine import FakeMachine
from .sites import SERVER, Sites, wait_states
from .waiting import wait_until

COSTS = CipherCosts(aes_gcm_ns=1300, chacha20_ns=2000)
FIBRE = "- {id: 1, name: Fibre, interface: eth0}"
LTE = "- {id: 2, name: LTE, interface: wwan0}"


def client_text(*wan_lines: str, more: str = "", routes: str = "[10.9.0.0/16]") -> str:
    """A client's file; without WANs it looks for them itself."""
    listed = "wans:\n" + "".join(f"  {line}\n" for line in wan_lines) if wan_lines else ""
    return f"""\
mode: client
session: {{remote_endpoint: "{SERVER}"}}
{listed}tunnel: {{address: [10.77.0.2/24], routes: {routes}}}
security:
  private_key: "{encode_key(CLIENT_KEY)}"
  peers:
    - name: vps
      public_key: "{encode_key(public_key_of(SERVER_KEY))}"
      preshared_key: "{encode_key(PSK)}"
      allowed_ips: [0.0.0.0/0]
{more}"""


def server_text(*, allowed: str = "[10.77.0.2/32]", more: str = "") -> str:
    return f"""\
mode: server
session: {{local_endpoint: "0.0.0.0:{SERVER.port}"}}
tunnel: {{address: [10.77.0.1/24], mtu: 1400}}
security:
  private_key: "{encode_key(SERVER_KEY)}"
  peers:
    - name: laptop
      public_key: "{encode_key(public_key_of(CLIENT_KEY))}"
      preshared_key: "{encode_key(PSK)}"
      allowed_ips: {allowed}
{more}"""


class Site:
    """One daemon by its file."""

    def __init__(self, folder: Path, name: str, machine: FakeMachine) -> None:
        self.file = folder / f"{name}.yaml"
        self.socket = folder / f"{name}.sock"
        self.machine = machine
        self.tunnel: Tunnel

    def write(self, text: str) -> None:
        self.file.touch(mode=0o600)
        folder = self.file.parent
        self.file.write_text(
            f"{text}control: {{socket: {self.socket}, state_directory: {folder}}}\n"
        )

    async def start(self, nursery: trio.Nursery, text: str, *, mode: Mode | None = None) -> None:
        self.write(text)
        configuration = require_runnable(load(self.file, mode=mode))
        reloader = Reloader(
            configuration, lambda: require_runnable(load(self.file, mode=mode)), COSTS
        )

        async def run(task_status: trio.TaskStatus[Tunnel]) -> None:
            plan = plan_for(configuration, COSTS)
            await run_daemon(plan, self.machine, reloader=reloader, task_status=task_status)

        self.tunnel = await nursery.start(run)

    async def reload(self, text: str) -> ReloadDocument:
        self.write(text)
        return await self.tunnel.reload()

    def states(self) -> dict[str, str]:
        peers = self.tunnel.status()["peers"]
        return {path["wan"]: path["state"] for path in peers[0]["paths"]}


class Both:
    """A client and a server, each by its file."""

    def __init__(self, folder: Path) -> None:
        self.sites = Sites(folder)
        self.client = Site(folder, "client", self.sites.client)
        self.server = Site(folder, "server", self.sites.server)

    async def start(self, nursery: trio.Nursery, text: str | None = None) -> None:
        await self.server.start(nursery, server_text())
        await self.client.start(nursery, text or client_text(FIBRE, LTE))
        await wait_states(self.client.tunnel, "Up", "Up")
        await wait_until(lambda: "route 10.9.0.0/16" in self.sites.client.standing)
        # What the server's MTU brings about, a thread later.
        await wait_until(lambda: "mtu 1400 of mwb0" in self.sites.client.log)


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Both:
    monkeypatch.setattr(wans, "LONGEST_PAUSE", 0.1)
    return Both(tmp_path)


async def test_a_file_that_says_the_same_changes_nothing(both: Both, nursery: trio.Nursery) -> None:
    await both.start(nursery)
    before = list(both.sites.client.log)

    answer = await both.client.reload("# a comment\n" + client_text(LTE, FIBRE))

    assert answer == {"outcome": "unchanged", "file": str(both.client.file), "lines": []}
    assert [each for each in both.sites.client.log[len(before) :] if "locate" not in each] == []


async def test_a_wan_is_taken_out_and_its_kernel_state_with_it(
    both: Both, nursery: trio.Nursery
) -> None:
    await both.start(nursery)

    answer = await both.client.reload(client_text(FIBRE))
    await wait_until(lambda: "table of wwan0" not in both.sites.client.standing)

    assert answer["outcome"] == "applied"
    assert answer["lines"] == ["wans[1]: removed (id 2, name LTE)"]
    assert both.client.states() == {"Fibre": "Up"}
    await wait_until(lambda: both.server.states() == {"path 1": "Up"})
    assert [wan["name"] for wan in both.client.tunnel.status()["wans"]] == ["Fibre"]
    await both.sites.send(udp_packet(b"by the other"))


async def test_a_wan_that_leaves_is_listened_to_until_nothing_more_comes(
    both: Both, nursery: trio.Nursery
) -> None:
    await both.start(nursery)

    await both.client.reload(client_text(FIBRE))
    await trio.sleep(0.2)

    assert "table of wwan0" in both.sites.client.standing
    assert 2 in both.client.tunnel.dataplane.sockets


async def test_a_wan_is_added(both: Both, nursery: trio.Nursery) -> None:
    await both.server.start(nursery, server_text())
    await both.client.start(nursery, client_text(FIBRE))
    await wait_states(both.client.tunnel, "Up")

    answer = await both.client.reload(client_text(FIBRE, LTE))

    assert answer["lines"] == ["wans[1]: added (id 2, name LTE)"]
    await wait_states(both.client.tunnel, "Up", "Up")


async def test_a_wan_is_disabled_and_enabled_again_later(both: Both, nursery: trio.Nursery) -> None:
    await both.start(nursery)

    off = await both.client.reload(client_text(FIBRE, LTE.replace("}", ", enabled: no}")))
    await wait_until(lambda: "undo table of wwan0" in both.sites.client.log)
    on = await both.client.reload(client_text(FIBRE, LTE))

    assert off["lines"] == ["wans[1].enabled: true -> false"]
    assert on["lines"] == ["wans[1].enabled: false -> true"]
    await wait_states(both.client.tunnel, "Up", "Up")
    assert "table of wwan0" in both.sites.client.standing


async def test_a_wan_that_is_wanted_again_before_it_is_gone_stays(
    both: Both, nursery: trio.Nursery
) -> None:
    await both.start(nursery)
    socket = both.client.tunnel.dataplane.sockets[2]

    await both.client.reload(client_text(FIBRE))
    await trio.sleep(0.1)
    await both.client.reload(client_text(FIBRE, LTE))
    await trio.sleep(1.5)

    assert both.client.tunnel.dataplane.sockets[2] is socket
    assert "undo table of wwan0" not in both.sites.client.log
    await wait_states(both.client.tunnel, "Up", "Up")
    await wait_until(lambda: both.server.states() == {"path 1": "Up", "path 2": "Up"})


async def test_what_is_exchanged_twice_ends_as_the_last_file_says(
    both: Both, nursery: trio.Nursery
) -> None:
    both.sites.client.host.interfaces.update({"eth8": ["192.0.2.88"], "eth9": ["192.0.2.99"]})
    await both.start(nursery)

    await both.client.reload(client_text(FIBRE, LTE.replace("wwan0", "eth8")))
    await both.client.reload(client_text(FIBRE, LTE.replace("wwan0", "eth9")))
    await wait_until(lambda: "table of eth9" in both.sites.client.standing)

    assert "table of eth8" not in both.sites.client.log
    assert "table of wwan0" not in both.sites.client.standing
    await wait_states(both.client.tunnel, "Up", "Up")


async def test_a_wan_moves_to_another_interface_under_its_number(
    both: Both, nursery: trio.Nursery
) -> None:
    both.sites.client.host.interfaces["eth9"] = ["192.0.2.99"]
    await both.start(nursery)

    answer = await both.client.reload(client_text(FIBRE, LTE.replace("wwan0", "eth9")))
    await wait_until(lambda: "table of eth9" in both.sites.client.standing)

    assert answer["lines"] == ["wans[1].interface: wwan0 -> eth9"]
    assert "table of wwan0" not in both.sites.client.standing
    await wait_states(both.client.tunnel, "Up", "Up")


async def test_a_renamed_wan_stays_as_it_is(both: Both, nursery: trio.Nursery) -> None:
    await both.start(nursery)
    sockets = dict(both.client.tunnel.dataplane.sockets)

    await both.client.reload(client_text(FIBRE, LTE.replace("LTE", "Mobile")))

    assert both.client.states() == {"Fibre": "Up", "Mobile": "Up"}
    assert dict(both.client.tunnel.dataplane.sockets) == sockets


@pytest.mark.parametrize("wan_lines", [(FIBRE, LTE), ()], ids=["listed", "discovered"])
async def test_a_server_that_has_moved_is_followed(
    both: Both, nursery: trio.Nursery, wan_lines: tuple[str, ...]
) -> None:
    await both.start(nursery, client_text(*wan_lines))
    both.sites.server.host.interfaces["eth0"] = ["198.51.100.77"]

    moved = client_text(*wan_lines).replace(SERVER.host, "198.51.100.77")
    answer = await both.client.reload(moved)

    assert answer["lines"] == [f"session.remote_endpoint: {SERVER} -> 198.51.100.77:{SERVER.port}"]
    remote = f"198.51.100.77:{SERVER.port}"
    await wait_until(
        lambda: [wan["remote"] for wan in both.client.tunnel.status()["wans"]] == [remote] * 2
    )
    await wait_states(both.client.tunnel, "Up", "Up")
    await both.sites.send(udp_packet(b"to another place"))


async def test_from_discovered_wans_to_listed_ones_and_back(
    both: Both, nursery: trio.Nursery
) -> None:
    await both.start(nursery, client_text())
    found = both.client.states()

    await both.client.reload(client_text(FIBRE))
    await wait_until(lambda: both.client.states() == {"Fibre": "Up"})
    await both.client.reload(client_text())
    await wait_until(lambda: both.client.states() == {"eth0": "Up", "wwan0": "Up"})

    assert found == {"eth0": "Up", "wwan0": "Up"}
    assert both.sites.client.log.count("undo table of eth0") == 0


async def test_routes_come_and_go(both: Both, nursery: trio.Nursery) -> None:
    await both.start(nursery)

    answer = await both.client.reload(client_text(FIBRE, LTE, routes="[10.8.0.0/16, 10.7.0.0/16]"))

    assert answer["lines"] == ["tunnel.routes: [10.9.0.0/16] -> [10.8.0.0/16, 10.7.0.0/16]"]
    routes = [each for each in both.sites.client.standing if each.startswith("route")]
    assert routes == ["route 10.8.0.0/16", "route 10.7.0.0/16"]


async def test_a_route_that_cannot_be_set_takes_everything_else_back(
    both: Both, nursery: trio.Nursery
) -> None:
    await both.start(nursery)
    before = sorted(both.sites.client.standing)
    both.sites.client.fails_at = "route 10.7."

    answer = await both.client.reload(
        client_text(FIBRE, routes="[10.8.0.0/16, 10.7.0.0/16]", more="routing: {mode: per_flow}\n")
    )

    assert answer["outcome"] == "refused"
    assert answer["lines"] == ["route 10.7.0.0/16 failed. It was told to."]
    assert sorted(both.sites.client.standing) == before
    assert both.client.states() == {"Fibre": "Up", "LTE": "Up"}


async def test_a_client_is_added_with_its_routes_and_removed(
    both: Both, nursery: trio.Nursery
) -> None:
    await both.start(nursery)
    other = f"""\
    - name: branch
      public_key: "{encode_key(public_key_of(bytes([9]) * 32))}"
      allowed_ips: [10.88.0.0/24]
"""

    await both.server.reload(server_text(more=other))
    with_it = [peer["name"] for peer in both.server.tunnel.status()["peers"]]
    routed = "route 10.88.0.0/24" in both.sites.server.standing
    answer = await both.server.reload(server_text())

    assert with_it == ["laptop", "branch"]
    assert routed
    assert answer["lines"] == [
        f"security.peers[1]: removed (name branch, public_key "
        f"{encode_key(public_key_of(bytes([9]) * 32))})"
    ]
    assert "route 10.88.0.0/24" not in both.sites.server.standing
    assert both.client.states() == {"Fibre": "Up", "LTE": "Up"}


async def test_settings_of_the_core_are_followed(both: Both, nursery: trio.Nursery) -> None:
    await both.start(nursery)
    strict = LTE.replace("}", ", max_latency: 1ms}")

    await both.client.reload(
        client_text(FIBRE, strict, more="routing: {mode: round_robin}\n").replace(
            "session: {", "session: {reorder_timeout: 1s, "
        )
    )

    settings = both.client.tunnel.plan.endpoint
    assert settings.routing_mode.value == "round_robin"
    assert settings.reorder.reorder_timeout == 1.0
    assert settings.wans[1].max_latency == 0.001


def in_reserve(tunnel: Tunnel) -> list[bool]:
    """Which paths wait until they are needed, by their numbers."""
    return [path["in_reserve"] for path in tunnel.status()["peers"][0]["paths"]]


def metered(quota: str, *, action: str = "reserve") -> str:
    """The WAN that is paid for by the byte."""
    return LTE.replace("}", f", quota: {quota}, quota_action: {action}}}")


def carried(site: Site, octets: int) -> Path:
    """Let an earlier run have carried so much by that WAN."""
    file = site.file.parent / "mwb0.quota.json"
    write_counts(file, {2: Count(used=octets, rule="month 1")})
    return file


async def test_a_wan_whose_quota_is_used_up_waits_in_reserve_until_it_has_a_larger_one(
    both: Both, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    file = carried(both.client, 999_000)
    await both.start(nursery, client_text(FIBRE, metered("1MB")))
    tunnels = both.client.tunnel, both.server.tunnel

    # By what probes take alone.
    await wait_until(lambda: [in_reserve(each) for each in tunnels] == [[False, True]] * 2)
    said = caplog.text.count("WAN LTE has used up its quota of 1MB: it is in reserve until")
    answer = await both.client.reload(client_text(FIBRE, metered("2MB")))
    await wait_until(lambda: [in_reserve(each) for each in tunnels] == [[False, False]] * 2)
    (quota,) = both.client.tunnel.status()["quotas"]
    both.client.tunnel.stop()
    await wait_until(lambda: not both.client.socket.exists())

    assert said == 1
    assert answer["lines"] == ["wans[1].quota: 1MB -> 2MB"]
    assert 1_000_000 <= quota["used_bytes"] < 1_900_000
    assert read_counts(file)[2].used >= quota["used_bytes"]


async def test_or_leaves_the_bond_and_comes_back(both: Both, nursery: trio.Nursery) -> None:
    carried(both.client, 999_000)
    await both.start(nursery, client_text(FIBRE, metered("1MB", action="off")))

    await wait_until(lambda: "undo table of wwan0" in both.sites.client.log)
    without = both.client.states()
    await both.client.reload(client_text(FIBRE, metered("2MB", action="off")))
    await wait_states(both.client.tunnel, "Up", "Up")

    assert without == {"Fibre": "Up"}
    await wait_until(lambda: both.server.states() == {"path 1": "Up", "path 2": "Up"})


async def test_a_quota_that_was_used_up_before_the_start_counts_from_the_start(
    both: Both, nursery: trio.Nursery
) -> None:
    carried(both.client, 1_000_000)
    await both.server.start(nursery, server_text())

    await both.client.start(nursery, client_text(FIBRE, metered("1MB", action="off")))
    await wait_states(both.client.tunnel, "Up")

    assert "table of wwan0" not in both.sites.client.log
    assert [wan["name"] for wan in both.client.tunnel.status()["wans"]] == ["Fibre"]


async def test_what_takes_a_restart_is_refused_and_nothing_else_is_applied(
    both: Both, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    await both.start(nursery)
    new = client_text(FIBRE, more="routing: {mode: per_flow}\n")

    answer = await both.client.reload(new.replace("10.77.0.2/24", "10.78.0.2/24"))
    await trio.sleep(0.1)

    place = f"{both.client.file}:5:19: tunnel.address: cannot be changed in a running tunnel"
    assert answer["outcome"] == "refused"
    assert [line.startswith(place) for line in answer["lines"]] == [True]
    assert both.client.states() == {"Fibre": "Up", "LTE": "Up"}
    assert both.client.tunnel.plan.endpoint.routing_mode.value == "adaptive"
    assert f"Reload of {both.client.file} refused; everything stays as it was:" in caplog.text
    assert place in caplog.text


async def test_a_broken_file_changes_nothing_and_the_next_good_one_counts(
    both: Both, nursery: trio.Nursery
) -> None:
    await both.start(nursery)

    broken = await both.client.reload(client_text(FIBRE) + "rooting: {mode: per_flow}\n")
    missing = await both.client.reload(f"mode: client\nsession: {{remote_endpoint: '{SERVER}'}}\n")
    stayed = both.client.states()
    good = await both.client.reload(client_text(FIBRE))

    assert broken["outcome"] == missing["outcome"] == "broken"
    assert "Did you mean 'routing'?" in broken["lines"][0]
    assert len(missing["lines"]) > 2
    assert stayed == {"Fibre": "Up", "LTE": "Up"}
    assert good["outcome"] == "applied"


async def test_the_mode_given_on_the_command_line_stays(both: Both, nursery: trio.Nursery) -> None:
    text = client_text(FIBRE, LTE).replace("mode: client\n", "")
    await both.client.start(nursery, text, mode=Mode.CLIENT)

    answer = await both.client.reload(text + "routing: {mode: per_flow}\n")

    assert answer["lines"] == ["routing.mode: adaptive -> per_flow"]


async def test_reload_is_a_command_on_the_control_socket(
    both: Both, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await both.start(nursery)
    both.client.write(client_text(FIBRE, LTE, more="routing: {mode: per_flow}\n"))

    answer = await trio.to_thread.run_sync(ask, both.client.socket, Command.RELOAD)

    assert answer["outcome"] == "applied"
    assert both.client.tunnel.status()["config"] == str(both.client.file)
    assert f"Reloaded {both.client.file}. | changes=1" in caplog.text
    assert "Changed: routing.mode: adaptive -> per_flow" in caplog.text


async def test_reloads_at_once_follow_each_other(both: Both, nursery: trio.Nursery) -> None:
    await both.start(nursery)
    both.client.write(client_text(FIBRE))
    answers: list[str] = []

    async def reload() -> None:
        answers.append((await both.client.tunnel.reload())["outcome"])

    async with trio.open_nursery() as several:
        for _ in range(3):
            several.start_soon(reload)

    assert sorted(answers) == ["applied", "unchanged", "unchanged"]


async def test_a_tunnel_without_a_file_says_so(both: Both, nursery: trio.Nursery) -> None:
    tunnel = await both.sites.start_client(nursery)

    with pytest.raises(ControlError, match="was not started from a file"):
        await tunnel.reload()


async def test_the_end_takes_back_what_a_reload_has_made(both: Both, tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        await both.start(nursery)
        await both.client.reload(client_text(FIBRE, routes="[10.8.0.0/16]"))
        both.client.tunnel.stop()
        both.server.tunnel.stop()

    assert both.sites.client.standing == []


_ONLY_FOR_PEOPLE_AND_FILES = {
    "wans[].type",
    "security.private_key_file",
    "security.peers[].preshared_key_file",
}
"""What a change of means nothing by itself: a label, and where a key is kept."""


@pytest.mark.parametrize(
    "setting", [each for each in VALUES if each.key not in IDENTITIES], ids=by_key
)
def test_every_setting_changes_what_a_daemon_does(setting: Setting) -> None:
    assert has_effect(setting) or setting.key in _ONLY_FOR_PEOPLE_AND_FILES


def has_effect(setting: Setting) -> bool:
    """Whether another value means another plan, at a client or at a server."""
    if setting.key == "mode":
        return True  # the plans of both have little in common
    steps = setting.key.split(".")
    plans = []
    for mode in Mode:
        old = changed(replace(base(), mode=mode), ["security", "private_key"], SERVER_KEY)
        new = changed(old, steps, another_value(setting, at(old, steps)))
        plans.append((plan_for(old, COSTS), plan_for(new, COSTS)))
    return any(old != new for old, new in plans)
