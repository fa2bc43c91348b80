"""The server cannot be reached: everything leaves by the WANs, or nothing leaves at all."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import rmtree

import pytest

from multiwanbond.lab.bond import Bond

from .conftest import BuildBond
from .home import INTERNET, INTERNET6, PORT, SERVER_OUT, SERVER_OUT6, Home, source_seen
from .kernel_state import kernel_state

pytestmark = pytest.mark.netns

FULL = ("0.0.0.0/0", "::/0")
ETC = Path("/etc/netns")
"""What `ip netns exec` lays over /etc, by the namespace's name."""


@pytest.fixture
def home(kernel: None) -> Iterator[Home]:
    with Home() as lab:
        # The way that everything takes without the tunnel: the providers reach the Internet, too.
        for wan in lab.wans:
            lab.server.configure([f"route add 10.92.{wan.number}.0/24 via {wan.client_ipv4}"])
        lab.server.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        lab.internet.configure(["route add 10.91.0.0/16 via 203.0.113.1"])
        yield lab
        rmtree(ETC / lab.client.name, ignore_errors=True)


def start(home: Home, build_bond: BuildBond, **tunnel: object) -> Bond:
    bond = build_bond(home, routes=FULL, client={"gateway": {"forward": "on"}})
    bond.client.document["tunnel"] |= tunnel
    bond.client.write_config()
    bond.start()
    bond.wait_connected()
    wait_until(lambda: source_seen(home.host, home.internet, INTERNET) == SERVER_OUT)
    return bond


def wait_until(is_so: Callable[[], bool], limit: float = 20.0) -> None:
    give_up = time.monotonic() + limit
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.1)


def leaks(home: Home) -> list[str]:
    """Whatever reaches the Internet from the router or its LAN."""
    return [
        f"{near.name} to {host}, seen from {source}"
        for near in (home.client, home.host)
        for host in (INTERNET, INTERNET6)
        if (source := source_seen(near, home.internet, host)) not in {SERVER_OUT, SERVER_OUT6, None}
    ]


def test_while_the_server_is_away_the_lan_goes_by_a_wan_and_then_by_the_tunnel_again(
    home: Home, build_bond: BuildBond
) -> None:
    bond = start(home, build_bond)

    bond.server.kill()
    wait_until(lambda: source_seen(home.host, home.internet, INTERNET) == "10.91.1.2")
    by_itself = source_seen(home.client, home.internet, INTERNET)
    bond.server.start()
    wait_until(lambda: source_seen(home.host, home.internet, INTERNET) == SERVER_OUT)

    assert by_itself == "10.91.1.2"
    assert "Everything leaves by the WANs." in bond.client.log.read_text()
    assert "Everything goes through the tunnel again." in bond.client.log.read_text()


def test_nothing_leaks_past_a_block_whoever_dies(home: Home, build_bond: BuildBond) -> None:
    before = kernel_state(home.client)
    home.internet.configure(["addr add 10.92.1.99/32 dev lo"])
    bond = start(home, build_bond, on_failure="block")

    bond.server.kill()
    time.sleep(1.0)
    without_server = leaks(home)
    bond.client.kill()
    without_daemon = leaks(home)
    bond.client.start()
    while_starting = leaks(home)
    bond.server.start()
    wait_until(lambda: source_seen(home.host, home.internet, INTERNET) == SERVER_OUT)

    assert (without_server, without_daemon, while_starting) == ([], [], [])
    bond.client.kill()
    bond.client.mwb("down", "--keep-block")
    assert leaks(home) == []
    bond.client.mwb("down")
    assert kernel_state(home.client) == before


def test_a_block_lets_no_question_for_a_name_out_to_a_wans_own_network(
    home: Home, build_bond: BuildBond
) -> None:
    resolver = "10.92.1.1"  # the provider's router, as DHCP would name it
    before = source_seen(home.client, home.isp, resolver, port=53)

    start(home, build_bond, on_failure="block")

    assert before == "10.92.1.2"
    assert source_seen(home.client, home.isp, resolver, port=53) is None
    assert source_seen(home.client, home.isp, resolver, port=PORT) == "10.92.1.2"
    assert source_seen(home.host, home.client, "192.168.7.1", port=53) == "192.168.7.10"


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_names_are_asked_through_the_tunnel_and_afterwards_as_before(
    home: Home, build_bond: BuildBond, how: str
) -> None:
    file = ETC / home.client.name / "resolv.conf"
    file.parent.mkdir(parents=True)
    file.write_text("# the provider's\nnameserver 10.92.1.1\n")

    bond = start(home, build_bond, dns=[INTERNET, INTERNET6])
    wait_until(lambda: f"nameserver {INTERNET}" in file.read_text())
    during = file.read_text()
    if how == "stopped":
        bond.client.stop()
    else:
        bond.client.kill()
        bond.client.mwb("down")

    assert f"nameserver {INTERNET}\nnameserver {INTERNET6}\n" in during
    assert "10.92.1.1" not in during
    assert file.read_text() == "# the provider's\nnameserver 10.92.1.1\n"
