"""Hosts behind the router reach the Internet through the bond, and the Internet them."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from multiwanbond.lab.bond import Bond
from multiwanbond.lab.namespaces import Namespace

from .conftest import BuildBond
from .home import HOST, INTERNET, INTERNET6, SERVER_OUT, SERVER_OUT6, Home, source_seen
from .kernel_state import kernel_state

pytestmark = pytest.mark.netns

FULL = ("0.0.0.0/0", "::/0")
ROUTER: dict[str, Any] = {"gateway": {"forward": "on"}}


@pytest.fixture
def home(kernel: None) -> Iterator[Home]:
    with Home() as lab:
        yield lab


@pytest.fixture
def bond(home: Home, build_bond: BuildBond) -> Bond:
    made = build_bond(home, routes=FULL, client=ROUTER)
    made.start()
    made.wait_connected()
    wait_until_forwarded(home)
    return made


def wait_until_forwarded(home: Home) -> None:
    give_up = time.monotonic() + 10
    while source_seen(home.host, home.internet, INTERNET) is None:
        assert time.monotonic() < give_up, "the host does not reach the Internet"


def serve_once(namespace: Namespace, host: str, port: int, family: int) -> threading.Thread:
    """Accept one connection, and send back what comes in capitals."""
    listener = namespace.socket(family=family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen()
    listener.settimeout(10)

    def serve() -> None:
        with closing(listener), closing(listener.accept()[0]) as connection:
            connection.sendall(connection.recv(100).upper())

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def ask(namespace: Namespace, host: str, port: int, family: int) -> bytes:
    with closing(namespace.socket(family=family)) as connection:
        connection.settimeout(10)
        connection.connect((host, port))
        connection.sendall(b"hello")
        return connection.recv(100)


@pytest.mark.parametrize(
    ("host", "outside", "family"),
    [(INTERNET, SERVER_OUT, socket.AF_INET), (INTERNET6, SERVER_OUT6, socket.AF_INET6)],
    ids=["IPv4", "IPv6"],
)
def test_a_host_of_the_lan_reaches_the_internet_by_the_server(
    home: Home, bond: Bond, host: str, outside: str, family: int
) -> None:
    server = serve_once(home.internet, "", 8000, family)

    answer = ask(home.host, host, 8000, family)
    server.join()

    assert answer == b"HELLO"
    assert source_seen(home.host, home.internet, host) == outside
    assert source_seen(home.client, home.internet, host) == outside


def test_a_traceroute_of_the_lan_shows_the_router_and_the_server(home: Home, bond: Bond) -> None:
    hops = [hop_at(home.host, INTERNET, ttl) for ttl in (1, 2, 3)]

    assert hops == ["192.168.7.1", "10.77.0.1", INTERNET]


def hop_at(namespace: Namespace, host: str, ttl: int) -> str:
    """Who answers a ping that may go so far."""
    said = namespace.run("ping", "-n", "-c1", "-W5", f"-t{ttl}", host, check=False).stdout
    line = next(each for each in said.splitlines() if each.lower().startswith(("from", "64 bytes")))
    return line.split("rom ", 1)[1].split(" ", 1)[0].rstrip(":")


def test_connections_are_told_what_fits_through_the_tunnel(home: Home, bond: Bond) -> None:
    server = serve_once(home.internet, "", 8000, socket.AF_INET)
    mtu = (bond.client.status() or {})["tunnel"]["mtu"]

    with closing(home.host.socket()) as connection:
        connection.connect((INTERNET, 8000))
        largest = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        connection.sendall(b"hello")
        connection.recv(100)
    server.join()

    assert largest <= mtu - 40
    assert largest > mtu - 60


def test_a_port_of_the_server_leads_to_a_host_of_the_lan(home: Home, build_bond: BuildBond) -> None:
    inner = {"port_forwards": [{"port": 443, "to": f"{HOST}:8443", "protocol": "both"}]}
    bond = build_bond(
        home,
        routes=FULL,
        client={"gateway": {"forward": "on", **inner}},
        server={"gateway": {"port_forwards": [{"port": "440-450", "to": "10.77.0.2"}]}},
    )
    bond.start()
    bond.wait_connected()
    wait_until_forwarded(home)
    server = serve_once(home.host, "", 8443, socket.AF_INET)

    answer = ask(home.internet, SERVER_OUT, 443, socket.AF_INET)
    server.join()

    assert answer == b"HELLO"


def test_the_ports_of_a_running_tunnel_can_be_changed(home: Home, bond: Bond) -> None:
    bond.server.document["gateway"] = {"port_forwards": [{"port": 80, "to": "10.77.0.2"}]}
    bond.server.write_config()
    bond.server.mwb("reload")
    server = serve_once(home.client, "", 80, socket.AF_INET)

    give_up = time.monotonic() + 10
    while "dport 80" not in home.server.run("nft", "list", "ruleset").stdout:
        assert time.monotonic() < give_up
        time.sleep(0.05)
    answer = ask(home.internet, SERVER_OUT, 80, socket.AF_INET)
    server.join()

    assert answer == b"HELLO"


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_forwarding_ends_with_the_tunnel(home: Home, build_bond: BuildBond, how: str) -> None:
    before = kernel_state(home.server), kernel_state(home.client)
    bond = build_bond(home, routes=FULL, client=ROUTER)
    bond.start()
    bond.wait_connected()
    wait_until_forwarded(home)
    assert (kernel_state(home.server), kernel_state(home.client)) != before

    for daemon in (bond.client, bond.server):
        if how == "killed":
            daemon.kill()
            daemon.mwb("down")
        else:
            daemon.stop()

    assert (kernel_state(home.server), kernel_state(home.client)) == before


def test_forwarding_that_is_off_touches_nothing(home: Home, build_bond: BuildBond) -> None:
    before = kernel_state(home.server)
    off = {"gateway": {"forward": "off"}}
    bond = build_bond(home, routes=FULL, client=off, server=off)
    bond.start()
    bond.wait_connected()

    during = kernel_state(home.server)
    assert (during["nftables"], during["sysctls"]) == (before["nftables"], before["sysctls"])
    assert source_seen(home.host, home.internet, INTERNET) is None
