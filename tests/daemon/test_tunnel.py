"""Two daemons in one process: from bring-up to clean-up, and all that can happen in between.

Real sockets serve the control commands, so time is real here and limits are generous.
"""

import errno
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from socket import AF_INET

import pytest
import trio

from multiwanbond.config.model import OnFailure
from multiwanbond.config.notations import HostPort
from multiwanbond.control.client import ask
from multiwanbond.control.protocol import Command
from multiwanbond.core.datagram import Address
from multiwanbond.daemon import listener, steering, wans
from multiwanbond.daemon.app import run_daemon
from multiwanbond.errors import PlatformError
from tests.core.pair import udp_packet

from .sites import SERVER, Sites, client_plan, server_plan, wait_states
from .waiting import wait_until


@pytest.fixture
def sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sites:
    """Two machines without daemons; nothing is waited for longer than a test can bear."""
    monkeypatch.setattr(wans, "LONGEST_PAUSE", 0.1)
    monkeypatch.setattr(listener, "REOPEN_PAUSE", 0.1)
    return Sites(tmp_path)


async def test_packets_travel_between_two_daemons(sites: Sites, nursery: trio.Nursery) -> None:
    await sites.start_server(nursery)
    client = await sites.start_client(nursery)
    await wait_states(client, "Up", "Up")

    await sites.send(udp_packet(b"hello"))

    await wait_until(lambda: client.status()["is_ready"])


async def test_the_full_tunnel_is_routed_once_the_server_answers(
    sites: Sites, nursery: trio.Nursery
) -> None:
    remote = HostPort("vps.example.net", SERVER.port)
    client = await sites.start_client(nursery, client_plan(sites.folder, remote=remote))
    sites.client.names["vps.example.net"] = [SERVER]
    await wait_until(
        lambda: [wan["waiting_for"] for wan in client.status()["wans"]] == [None, None]
    )
    routed_early = "route 0.0.0.0/0" in sites.client.standing

    await sites.start_server(nursery)
    await wait_until(lambda: "route 0.0.0.0/0" in sites.client.standing)

    assert not routed_early
    await wait_until(lambda: client.status()["is_ready"])


async def test_everything_leaves_by_the_wans_while_the_server_is_away_for_long(
    sites: Sites, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steering, "PATIENCE", 0.3)
    server = await sites.start_server(nursery)
    plan = client_plan(sites.folder)
    plan = replace(plan, tunnel=replace(plan.tunnel, dns=(ip_address("10.77.0.1"),)))
    client = await sites.start_client(nursery, plan)
    steered = {"route 0.0.0.0/0", "names from 10.77.0.1"}
    await wait_until(lambda: steered <= set(sites.client.standing))

    server.stop()
    await wait_until(lambda: not steered & set(sites.client.standing))
    is_ready_without = client.status()["is_ready"]
    await sites.start_server(nursery)
    await wait_until(lambda: steered <= set(sites.client.standing))

    assert not is_ready_without


async def test_a_block_comes_first_and_goes_last(sites: Sites, nursery: trio.Nursery) -> None:
    plan = client_plan(sites.folder, on_failure=OnFailure.BLOCK)

    client = await sites.start_client(nursery, plan)
    await wait_until(lambda: "route 0.0.0.0/0" in sites.client.standing)
    client.stop()
    await wait_until(lambda: sites.client.standing == [])

    done = [entry for entry in sites.client.log if entry not in {"check", "discover"}]
    assert done[:3] == ["lock mwb0", "block", "clean up"]
    assert done[-2:] == ["undo block", "undo lock mwb0"]


async def test_a_name_that_does_not_resolve_is_what_the_wans_wait_for(
    sites: Sites, nursery: trio.Nursery
) -> None:
    remote = HostPort("vps.example.net", SERVER.port)
    client = await sites.start_client(nursery, client_plan(sites.folder, remote=remote))
    await wait_until(lambda: "resolve vps.example.net" in sites.client.log)
    await wait_until(lambda: "first look" not in str(client.status()["wans"]))

    assert [wan["waiting_for"] for wan in client.status()["wans"]] == [
        "The name 'vps.example.net' does not resolve (yet)."
    ] * 2


async def test_a_name_that_has_no_address_of_the_wans_family_falls_back_to_the_other(
    sites: Sites, nursery: trio.Nursery
) -> None:
    sites.client.names["vps.example.net"] = [Address("2001:db8::1", 0), SERVER]
    remote = HostPort("vps.example.net", SERVER.port)
    await sites.start_server(nursery)

    client = await sites.start_client(nursery, client_plan(sites.folder, remote=remote))

    await wait_states(client, "Up", "Up")


async def test_an_address_that_does_not_answer_is_left_for_another(
    sites: Sites, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wans, "TRY_OTHER", 0.2)
    sites.client.names["vps.example.net"] = [Address("198.51.100.77", 0), SERVER]
    remote = HostPort("vps.example.net", SERVER.port)
    await sites.start_server(nursery)

    client = await sites.start_client(nursery, client_plan(sites.folder, remote=remote))

    await wait_states(client, "Up", "Up")
    assert {wan["remote"] for wan in client.status()["wans"]} == {str(SERVER)}


async def test_the_interface_follows_a_peer_with_a_smaller_mtu(
    sites: Sites, nursery: trio.Nursery
) -> None:
    await sites.start_server(nursery)  # its MTU is 1400

    client = await sites.start_client(nursery)
    await wait_until(lambda: "mtu 1400 of mwb0" in sites.client.log)

    assert client.status()["tunnel"]["mtu"] == 1400


async def test_an_unplugged_wan_is_taken_down_and_comes_back(
    sites: Sites, nursery: trio.Nursery
) -> None:
    await sites.start_server(nursery)
    client = await sites.start_client(nursery)
    await wait_states(client, "Up", "Up")

    sites.client.host.down.add("eth0")
    sites.client.announce()
    await wait_states(client, "Down", "Up")
    waiting_for = client.status()["wans"][0]["waiting_for"]
    await wait_until(lambda: "table of eth0" not in sites.client.standing)
    await sites.send(udp_packet(b"by the other"))
    sites.client.host.down.clear()
    sites.client.announce()
    await wait_states(client, "Up", "Up")

    assert waiting_for == "No interface 'eth0'."
    assert "table of eth0" in sites.client.standing


async def test_a_route_that_somebody_removed_is_added_again(
    sites: Sites, nursery: trio.Nursery
) -> None:
    client = await sites.start_client(nursery)
    await wait_until(lambda: "table of eth0" in sites.client.standing)

    sites.client.standing.remove("table of eth0")
    sites.client.announce()
    await wait_until(lambda: "table of eth0" in sites.client.standing)
    client.stop()
    await wait_until(lambda: not sites.client.standing)

    assert sites.client.log.count("undo table of eth0") == 1


async def test_a_new_address_replaces_the_socket(sites: Sites, nursery: trio.Nursery) -> None:
    await sites.start_server(nursery)
    client = await sites.start_client(nursery)
    await wait_states(client, "Up", "Up")

    sites.client.host.interfaces["eth0"][:] = ["192.0.2.99"]
    sites.client.announce()

    await wait_until(lambda: client.status()["wans"][0]["local"] == "192.0.2.99")
    assert {opened.local.host for opened in sites.client.host.sockets} == {
        "192.0.2.99",
        "203.0.113.1",
    }
    await wait_states(client, "Up", "Up")
    sites.client.host.interfaces["eth0"][:] = ["192.0.2.1"]


async def test_wans_are_discovered_also_those_plugged_in_later(
    sites: Sites, nursery: trio.Nursery
) -> None:
    await sites.start_server(nursery)
    sites.client.host.down.add("wwan0")
    client = await sites.start_client(nursery, client_plan(sites.folder, is_discovering=True))
    await wait_states(client, "Up")

    sites.client.host.down.clear()
    sites.client.announce()
    await wait_states(client, "Up", "Up")

    assert [wan["name"] for wan in client.status()["wans"]] == ["eth0", "wwan0"]


async def test_a_wans_socket_that_breaks_is_replaced(sites: Sites, nursery: trio.Nursery) -> None:
    await sites.start_server(nursery)
    client = await sites.start_client(nursery)
    await wait_states(client, "Up", "Up")
    before = client.dataplane.sockets[1]

    client.dataplane.detach(1)
    client.sockets.on_socket_broken(1, OSError(errno.EIO, "plug pulled"))

    await wait_until(lambda: client.dataplane.sockets.get(1, before) is not before)
    await wait_states(client, "Up", "Up")


async def test_a_servers_socket_that_breaks_is_replaced(
    sites: Sites, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    server = await sites.start_server(nursery)
    client = await sites.start_client(nursery)
    await wait_states(client, "Up", "Up")

    server.dataplane.detach(0)
    server.sockets.on_socket_broken(0, OSError(errno.EIO, "plug pulled"))
    await wait_until(lambda: "Listening on 0.0.0.0:9000 again" in caplog.text)
    await wait_states(client, "Up", "Up")
    await sites.send(udp_packet(b"back again"))


async def test_stopping_tells_the_peer_and_takes_everything_back(
    sites: Sites, nursery: trio.Nursery
) -> None:
    server = await sites.start_server(nursery)
    client = await sites.start_client(nursery)
    await wait_states(client, "Up", "Up")
    await wait_until(lambda: "route 0.0.0.0/0" in sites.client.standing)
    changes = list(sites.client.standing)

    client.stop()
    await wait_until(lambda: not sites.client.standing)
    await wait_until(lambda: not server.status()["peers"][0]["is_connected"])

    assert {change for change in changes if "table" not in change} == {
        "lock mwb0",
        "address 10.77.0.2/24",
        "up mwb0 mtu 1440",
        "route 0.0.0.0/0",
    }
    undone = [entry[5:] for entry in sites.client.log if entry.startswith("undo ")]
    assert undone[-3:] == ["up mwb0 mtu 1440", "address 10.77.0.2/24", "lock mwb0"]
    assert sites.client.host.sockets == []
    assert not client.plan.control_socket.exists()


async def test_a_route_that_fails_ends_the_daemon_and_takes_everything_back(sites: Sites) -> None:
    sites.client.fails_at = "route"

    with trio.fail_after(10), pytest.raises(PlatformError, match=r"route 0\.0\.0\.0/0 failed"):
        await run_daemon(client_plan(sites.folder, on_failure=OnFailure.BLOCK), sites.client)

    assert sites.client.standing == []
    assert sites.client.host.sockets == []


async def test_a_port_in_use_ends_the_start_and_takes_everything_back(sites: Sites) -> None:
    taken = sites.server.host.open_socket(family=AF_INET, local=Address("0.0.0.0", SERVER.port))

    with trio.fail_after(10), pytest.raises(PlatformError, match="in use"):
        await run_daemon(server_plan(sites.folder), sites.server)

    assert sites.server.standing == []
    assert sites.server.host.sockets == [taken]
    assert not server_plan(sites.folder).control_socket.exists()


async def test_a_daemon_that_is_cancelled_takes_everything_back(sites: Sites) -> None:
    async with trio.open_nursery() as nursery:
        client = await sites.start_client(nursery)
        await wait_until(lambda: "table of eth0" in sites.client.standing)
        nursery.cancel_scope.cancel()

    assert sites.client.standing == []
    assert not client.plan.control_socket.exists()


async def test_commands_are_answered_while_packets_flow(
    sites: Sites, nursery: trio.Nursery
) -> None:
    await sites.start_server(nursery)
    client = await sites.start_client(nursery)
    await wait_states(client, "Up", "Up")
    path = client.plan.control_socket

    with trio.fail_after(10):
        status = await trio.to_thread.run_sync(lambda: ask(path, Command.STATUS))
        answer = await trio.to_thread.run_sync(lambda: ask(path, Command.STOP))
    await wait_until(lambda: not sites.client.standing)

    assert status["peers"][0]["paths"][0]["wan"] == "Fibre"
    assert status["sockets"][0]["sent_datagrams"] > 0
    assert answer["pid"] == status["pid"]
