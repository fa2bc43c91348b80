"""Reloads of real daemons while packets travel: none is lost, or nothing changes."""

import copy
import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import pytest

from multiwanbond.config.keys import encode_key
from multiwanbond.core.handshake import public_key_of
from multiwanbond.lab.bond import Bond, Daemon, Document, path_of
from multiwanbond.lab.topology import Topology

from .inner import echo, echoed
from .kernel_state import kernel_state
from .test_bond import download, wait_received

pytestmark = pytest.mark.netns

INTERVAL = 0.004
"""Seconds between two datagrams of the stream, which come back: 500 a second in all."""


class Stream:
    """Datagrams to the server that come back, until so many have."""

    def __init__(self, count: int, came_back: "Future[int]") -> None:
        self.count = count
        self._came_back = came_back

    def lost(self) -> int:
        """Return how many did not come back, once all have been sent."""
        return self.count - self._came_back.result(timeout=60)

    @property
    def is_over(self) -> bool:
        return self._came_back.done()


@contextmanager
def stream(lab: Topology, seconds: float) -> Iterator[Stream]:
    """Send from another thread while the test goes on."""
    count = int(seconds / INTERVAL)
    with echo(lab) as near, ThreadPoolExecutor(1) as thread:
        came_back = thread.submit(echoed, near, 200, count, interval=INTERVAL)
        yield Stream(count, came_back)


def reload(daemon: Daemon, **sections: object) -> str:
    """Change the file and let the daemon follow; return what `mwb reload` says."""
    daemon.document.update(sections)
    daemon.write_config()
    return daemon.mwb("reload").stdout


def path_ids(status: Document | None) -> set[int]:
    """Return the numbers of the paths that a status shows."""
    return {path["id"] for path in status["peers"][0]["paths"]} if status else set()


def test_wans_and_modes_change_without_losing_a_datagram(lab: Topology, bond: Bond) -> None:
    for wan in lab.wans:
        bond.wait_state(wan.number, "Up")
    wans = bond.client.document["wans"]

    with stream(lab, 8.0) as datagrams:
        time.sleep(0.5)
        said = reload(bond.client, wans=wans[1:])
        bond.wait_until(lambda status: path_ids(status) == {2, 3}, 5.0, "without WAN 1")
        reload(bond.server, routing={"mode": "round_robin"})
        reload(bond.client, wans=wans, routing={"mode": "round_robin"})
        bond.wait_state(1, "Up")
        reload(bond.server, routing={"mode": "adaptive"})
        reload(bond.client, wans=[{**wans[0], "enabled": False}, *wans[1:]])
        bond.wait_until(lambda status: path_ids(status) == {2, 3}, 5.0, "without WAN 1 again")
        is_over = datagrams.is_over
        lost = datagrams.lost()

    assert not is_over
    assert lost == 0
    assert "wans[0]: removed (id 1, name Fibre)" in said
    assert path_ids(bond.server.status()) == {2, 3}


def test_what_a_removed_wan_had_in_the_kernel_goes_with_it_and_comes_back(
    lab: Topology, bond: Bond
) -> None:
    for wan in lab.wans:
        bond.wait_state(wan.number, "Up")
    before = _kernel_state(lab)
    wans = bond.client.document["wans"]

    reload(bond.client, wans=wans[:2])
    bond.wait_until(lambda status: path_ids(status) == {1, 2}, 5.0, "without WAN 3")
    without = _wait_rules(lab, lab.wan(3).client_ipv4, 0)
    reload(bond.client, wans=wans)
    bond.wait_state(3, "Up")
    again = _wait_rules(lab, lab.wan(3).client_ipv4, 2)

    assert (without, again) == (0, 2)
    assert _kernel_state(lab) == before


def _kernel_state(lab: Topology) -> dict[str, Any]:
    """Return the client's, with rules of equal priority in an order that does not change."""
    state = kernel_state(lab.client)
    return {**state, "rules": sorted(state["rules"], key=str)}


def _wait_rules(lab: Topology, address: str, count: int) -> int:
    """Return how many rules name an address, once they are `count` or will never be."""
    give_up = time.monotonic() + 5.0
    while True:
        rules = lab.client.run("ip", "rule").stdout.splitlines()
        found = sum(address in rule for rule in rules)
        if found == count or time.monotonic() > give_up:
            return found
        time.sleep(0.05)


def test_a_wan_takes_the_place_of_the_only_one_without_losing_a_datagram(
    lab: Topology, bond: Bond
) -> None:
    wans = bond.client.document["wans"]
    reload(bond.client, wans=wans[:1])
    bond.wait_until(lambda status: path_ids(status) == {1}, 5.0, "on WAN 1 alone")

    with stream(lab, 5.0) as datagrams:
        time.sleep(0.5)
        reload(bond.client, wans=wans[1:2])
        bond.wait_until(lambda status: path_ids(status) == {2}, 8.0, "on WAN 2 alone")
        is_over = datagrams.is_over
        lost = datagrams.lost()

    assert not is_over
    assert lost == 0


def test_a_client_comes_and_goes_beside_one_that_sends(lab: Topology, bond: Bond) -> None:
    security = bond.server.document["security"]
    other = {
        "name": "branch",
        "public_key": encode_key(public_key_of(os.urandom(32))),
        "allowed_ips": ["10.88.0.0/24"],
    }

    with stream(lab, 4.0) as datagrams:
        reload(bond.server, security={**security, "peers": [*security["peers"], other]})
        routes = lab.server.run("ip", "route").stdout
        names = [peer["name"] for peer in (bond.server.status() or {})["peers"]]
        reload(bond.server, security=security)
        is_over = datagrams.is_over
        lost = datagrams.lost()

    assert "10.88.0.0/24 dev mwb1" in routes
    assert names == ["client", "branch"]
    assert not is_over
    assert lost == 0
    assert "10.88.0.0/24" not in lab.server.run("ip", "route").stdout


@pytest.mark.parametrize("way", ["command", "signal"])
def test_a_broken_file_and_a_refused_key_change_nothing(
    lab: Topology, bond: Bond, way: str
) -> None:
    for wan in lab.wans:
        bond.wait_state(wan.number, "Up")
    before = kernel_state(lab.client)
    good = copy.deepcopy(bond.client.document)

    with stream(lab, 5.0) as datagrams:
        broken = _refused(bond.client, {**good, "wans": good["wans"][:1], "rooting": {}}, way)
        tunnel = {**good["tunnel"], "name": "mwb7"}
        fixed = _refused(bond.client, {**good, "wans": good["wans"][:1], "tunnel": tunnel}, way)
        lost = datagrams.lost()

    assert "rooting: unknown key. Did you mean 'routing'?" in broken
    assert "client.yaml:" in fixed
    assert "tunnel.name: cannot be changed in a running tunnel (mwb0 -> mwb7)" in fixed
    assert lost == 0
    assert path_ids(bond.client.status()) == {1, 2, 3}
    assert kernel_state(lab.client) == before


def _refused(daemon: Daemon, document: Document, way: str) -> str:
    """Let the daemon read a file it cannot follow; return what it says about that."""
    daemon.config.write_text(json.dumps(document, indent=1))
    if way == "command":
        done = daemon.mwb("reload", check=False)
        assert done.returncode in (69, 78)
        return done.stderr
    read_before = len(daemon.log.read_text())
    daemon.process.send_signal(signal.SIGHUP)
    give_up = time.monotonic() + 10.0
    while len(said := daemon.log.read_text()[read_before:].splitlines()) < 2:
        assert time.monotonic() < give_up, "the daemon says nothing"
        time.sleep(0.05)
    assert "refused; everything stays as it was" in said[0]
    return "\n".join(said)


def test_sighup_applies_what_has_changed_and_says_so(lab: Topology, bond: Bond) -> None:
    bond.client.document["routing"] = {"mode": "per_flow"}
    bond.client.write_config()

    bond.client.process.send_signal(signal.SIGHUP)
    give_up = time.monotonic() + 10.0
    while "Changed: routing.mode: adaptive -> per_flow" not in bond.client.log.read_text():
        assert time.monotonic() < give_up, bond.client.last_words()
        time.sleep(0.05)

    assert path_of(bond.client.status(), 1)["state"] == "Up"


def test_routes_change_while_datagrams_travel(lab: Topology, bond: Bond) -> None:
    for wan in lab.wans:
        bond.wait_state(wan.number, "Up")
    before = _kernel_state(lab)
    tunnel = bond.client.document["tunnel"]

    with stream(lab, 4.0) as datagrams:
        said = reload(bond.client, tunnel={**tunnel, "routes": ["0.0.0.0/0", "10.99.0.0/16"]})
        everything = lab.client.run("ip", "route", "get", "192.0.2.200").stdout
        reload(bond.client, tunnel={**tunnel, "routes": []})
        is_over = datagrams.is_over
        lost = datagrams.lost()

    assert "tunnel.routes: [] -> [0.0.0.0/0, 10.99.0.0/16]" in said
    assert "dev mwb0" in everything
    assert not is_over
    assert lost == 0
    assert _kernel_state(lab) == before


def test_a_download_that_reloads_go_through_arrives_intact(lab: Topology, bond: Bond) -> None:
    for wan in lab.wans:
        bond.wait_state(wan.number, "Up")
    wans = bond.client.document["wans"]

    with closing(download(lab, size=60_000_000)) as transfer:
        wait_received(transfer, 2_000_000)
        reload(bond.client, wans=wans[1:])
        reload(bond.server, routing={"mode": "weighted"})
        bond.wait_until(lambda status: path_ids(status) == {2, 3}, 5.0, "without WAN 1")
        reload(bond.client, wans=wans)
        has_ended = transfer.has_ended()
        result = transfer.wait(60)

    assert not has_ended
    assert result.is_intact, result.errors


def test_a_wan_too_narrow_for_the_tunnel_is_added_and_the_tunnel_follows(
    lab: Topology, bond: Bond
) -> None:
    wans = bond.client.document["wans"]
    reload(bond.client, wans=[wans[0], wans[2]])
    bond.wait_until(lambda status: path_ids(status) == {1, 3}, 5.0, "without WAN 2")
    lab.client.configure(["link set wan2 mtu 1400"])

    with closing(download(lab, size=15_000_000)) as transfer:
        wait_received(transfer, 1_000_000)
        said = reload(bond.client, wans=wans)
        bond.wait_until(lambda status: status["tunnel"]["mtu"] <= 1340, 10.0, "narrower")
        result = transfer.wait(60)

    assert "wans[1]: added" in said
    assert result.is_intact, result.errors
    assert path_of(bond.client.status(), 2)["mtu"] == 1400
