"""Starting, ending, crashing, and moving: what stays of a daemon, and who follows whom."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from multiwanbond.config.model import RUN_DIRECTORY
from multiwanbond.lab.bond import PORT, SERVER_INNER_IPV4, Bond, path_of
from multiwanbond.lab.capture import Capture
from multiwanbond.lab.topology import SERVER_IPV4, Topology, line
from multiwanbond.lab.traffic import Transfer

from .conftest import BuildBond
from .inner import ping_through
from .kernel_state import kernel_state
from .test_bond import download, wait_received

pytestmark = pytest.mark.netns

EVERYTHING = ("0.0.0.0/0", "::/0")


@pytest.mark.parametrize("routes", [(), EVERYTHING], ids=["subnet", "everything"])
def test_both_ends_leave_the_machine_as_they_found_it(
    lab: Topology, build_bond: BuildBond, routes: tuple[str, ...]
) -> None:
    before = [kernel_state(namespace) for namespace in (lab.client, lab.server)]
    bond = build_bond(lab, routes=routes)
    bond.start()
    bond.wait_connected()
    assert len(ping_through(lab)) == 5

    codes = [daemon.stop() for daemon in bond.daemons]

    assert codes == [0, 0]
    assert [kernel_state(namespace) for namespace in (lab.client, lab.server)] == before


@pytest.mark.parametrize("routes", [(), EVERYTHING], ids=["subnet", "everything"])
def test_down_cleans_up_after_a_killed_daemon(
    lab: Topology, build_bond: BuildBond, routes: tuple[str, ...]
) -> None:
    before = [kernel_state(namespace) for namespace in (lab.client, lab.server)]
    bond = build_bond(lab, routes=routes)
    bond.start()
    bond.wait_connected()

    for daemon in bond.daemons:
        daemon.kill()
        daemon.mwb("down")

    assert [kernel_state(namespace) for namespace in (lab.client, lab.server)] == before


@pytest.mark.parametrize("end", ["client", "server"])
def test_a_killed_daemon_starts_again_without_help(
    lab: Topology, build_bond: BuildBond, end: str
) -> None:
    before = [kernel_state(namespace) for namespace in (lab.client, lab.server)]
    bond = build_bond(lab, routes=EVERYTHING)
    bond.start()
    bond.wait_connected()
    daemon = bond.client if end == "client" else bond.server

    daemon.kill()
    daemon.start()
    bond.wait_until(lambda status: bool(status["is_ready"]), 10.0, "connected again")
    pings = _pings_eventually(lab)
    for one in bond.daemons:
        one.stop()

    assert pings == 5
    assert [kernel_state(namespace) for namespace in (lab.client, lab.server)] == before


def _pings_eventually(lab: Topology, *, timeout: float = 10.0) -> int:
    """Return how many of five pings came back, at the first try that got one."""
    give_up = time.monotonic() + timeout
    while time.monotonic() < give_up:
        if ping_through(lab, count=1):
            return len(ping_through(lab))
    return 0


def test_up_returns_when_the_bond_carries_traffic_and_down_ends_it(
    lab: Topology, build_bond: BuildBond
) -> None:
    before = [kernel_state(namespace) for namespace in (lab.client, lab.server)]
    bond = build_bond(lab)

    for daemon in bond.daemons:
        daemon.mwb("up", "--log", str(daemon.log))
    pings = ping_through(lab)
    for daemon in bond.daemons:
        daemon.mwb("down")

    assert len(pings) == 5
    assert lab.client.pids() == []
    assert lab.server.pids() == []
    assert [kernel_state(namespace) for namespace in (lab.client, lab.server)] == before


def test_a_client_finds_its_wans_by_itself(lab: Topology, build_bond: BuildBond) -> None:
    bond = build_bond(lab)
    del bond.client.document["wans"]
    assert bond.client.document.keys() == {"mode", "session", "tunnel", "security", "control"}
    bond.client.write_config()

    bond.start()
    bond.wait_connected()

    for wan in lab.wans:
        bond.wait_state(wan.number, "Up")
    assert len(ping_through(lab, 4)) == 5


def test_up_without_a_server_says_what_it_waits_for(lab: Topology, build_bond: BuildBond) -> None:
    bond = build_bond(lab)

    log = str(bond.client.log)
    done = bond.client.mwb("up", "--timeout", "3s", "--log", log, check=False)
    bond.client.mwb("down", check=False)

    assert done.returncode != 0
    for wan in lab.wans:
        assert wan.name in done.stderr


def test_a_wan_whose_link_goes_down_and_comes_back_is_used_again(lab: Topology, bond: Bond) -> None:
    wan = lab.wan(1)
    bond.wait_state(1, "Up")

    lab.client.configure([f"link set {wan.device} down"])
    bond.wait_state(1, "Down", timeout=2.0)
    pings = ping_through(lab, count=30)
    # The kernel forgot the routes, and for IPv6 the addresses, with the link.
    lab.client.configure([f"link set {wan.device} up"])
    lab.client.configure(
        [f"route add default via {wan.gateway_ipv4} dev {wan.device} metric {wan.metric}"]
    )
    bond.wait_state(1, "Up", timeout=10.0)

    # The server is not told; until its own probes stay unanswered it answers over the dead path.
    assert len(pings) >= 20


def test_the_server_follows_a_client_whose_address_changes(lab: Topology, bond: Bond) -> None:
    wan = lab.wan(1)
    lab.black_out(2)
    lab.black_out(3)
    bond.wait_state(1, "Up")

    with closing(download(lab, size=15_000_000)) as transfer:
        wait_received(transfer, 2_000_000)
        lab.client.configure(
            [
                f"addr del {wan.client_ipv4}/24 dev {wan.device}",
                f"addr add 10.91.1.77/24 dev {wan.device}",
                f"route replace default via {wan.gateway_ipv4} dev {wan.device} metric 100",
            ]
        )
        result = transfer.wait(60)

    assert result.is_intact, result.errors


@contextmanager
def rebound_nat(lab: Topology, number: int, port_from: int, port_to: int) -> Iterator[None]:
    """While inside, the server sees another port of the client, as after its router's reboot."""
    device = lab.wan(number).device
    # Both on arrival: a run that leaves still lacks the checksums that nft would have to correct.
    changes = {
        lab.server: f"iifname {device} udp sport {port_from} udp sport set {port_to}",
        lab.client: f"iifname {device} udp dport {port_to} udp dport set {port_from}",
    }
    for namespace, change in changes.items():
        chain = f"type filter hook prerouting priority raw; {change};"
        rules = f"table inet rebound {{ chain in {{ {chain} }}; }}"
        namespace.run("nft", "-f", "-", text_in=rules)
    try:
        yield
    finally:
        for namespace in changes:
            namespace.run("nft", "delete", "table", "inet", "rebound")


def test_the_server_follows_a_client_whose_port_changes(lab: Topology, bond: Bond) -> None:
    lab.black_out(2)
    lab.black_out(3)
    bond.wait_state(1, "Up")
    status = bond.server.status()
    port = int(path_of(status, 1)["remote"].rpartition(":")[2])

    with closing(download(lab, size=15_000_000)) as transfer:
        wait_received(transfer, 2_000_000)
        with rebound_nat(lab, 1, port, 33_333):
            result = transfer.wait(60)
            remote = path_of(bond.server.status(), 1)["remote"]

    assert result.is_intact, result.errors
    assert remote == f"{lab.wan(1).client_ipv4}:33333"


def test_a_stranger_without_the_keys_gets_no_answer(lab: Topology, build_bond: BuildBond) -> None:
    bond = build_bond(lab)
    bond.server.start()
    bond.server.wait_ready()
    stranger = lab.client.socket(socket.SOCK_DGRAM)
    stranger.settimeout(0.5)

    with Capture(lab.client, lab.wan(1).device) as capture, closing(stranger):
        for size in (0, 1, 32, 116, 148, 200, 1400):
            stranger.sendto(bytes([1]) + bytes(size), (SERVER_IPV4, PORT))
        with pytest.raises(TimeoutError):
            stranger.recv(2000)

    # The kernel's own neighbour and group messages may pass meanwhile.
    assert len([packet for packet in capture.packets if PORT.to_bytes(2) in packet[20:24]]) == 7


def test_a_lab_takes_the_files_of_killed_daemons_with_it(build_bond: BuildBond) -> None:
    before = set(RUN_DIRECTORY.glob("netns-*"))

    with Topology([line(100, 0.010)], purpose="test") as lab:
        bond = build_bond(lab)
        bond.start()
        bond.wait_connected()
        during = set(RUN_DIRECTORY.glob("netns-*"))
        for daemon in bond.daemons:
            daemon.kill()

    assert len(during - before) == 2
    assert set(RUN_DIRECTORY.glob("netns-*")) & (during - before) == set()


def test_transfers_in_both_directions_at_once_are_intact(lab: Topology, bond: Bond) -> None:
    up = Transfer(
        lab.client, lab.server, host=SERVER_INNER_IPV4, port=6666, size=8_000_000, is_upload=True
    )
    with closing(download(lab, size=8_000_000)) as down, closing(up):
        results = [down.wait(60), up.wait(60)]

    assert [result.is_intact for result in results] == [True, True]
