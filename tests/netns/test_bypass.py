"""A full tunnel, and what stays out of it: by network, by name, and from a LAN interface."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from shutil import rmtree

import pytest

from multiwanbond.lab.bond import Bond
from multiwanbond.lab.namespaces import Namespace
from multiwanbond.lab.topology import Topology, line

from .kernel_state import kernel_state

pytestmark = pytest.mark.netns

PLAIN, BYPASSED, NAMED = "203.0.113.10", "203.0.113.130", "203.0.113.20"
"""Addresses of the server's that are no tunnel addresses: the Internet, to the client."""
NAME = "bank.example"
PORT = 7000
ETC = Path("/etc/netns")
"""What `ip netns exec` lays over /etc, by the namespace's name."""


@pytest.fixture
def internet(kernel: None) -> Iterator[Topology]:
    with Topology([line(50, 0.01), line(50, 0.02)], purpose="byp") as lab:
        lab.server.configure([f"addr add {host}/32 dev lo" for host in (PLAIN, BYPASSED, NAMED)])
        yield lab
        rmtree(ETC / lab.client.name, ignore_errors=True)


def name_hosts(namespace: Namespace, text: str) -> None:
    """Let programs of the namespace see this as /etc/hosts, which is a resolver's first source."""
    folder = ETC / namespace.name
    folder.mkdir(parents=True)
    (folder / "hosts").write_text(text)


def seen_from(lab: Topology, near: Namespace, host: str) -> str | None:
    """The address a datagram to `host` comes from; None if it does not arrive."""
    with (
        closing(lab.server.socket(socket.SOCK_DGRAM)) as far,
        closing(near.socket(socket.SOCK_DGRAM)) as own,
    ):
        far.bind((host, PORT))
        far.settimeout(0.3)
        for _ in range(5):
            own.sendto(b"knock", (host, PORT))
            try:
                return str(far.recvfrom(100)[1][0])
            except TimeoutError:
                continue
    return None


def wait_until(is_so: Callable[[], bool], limit: float = 15.0) -> None:
    give_up = time.monotonic() + limit
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.1)


def test_what_is_bypassed_leaves_by_a_wan_and_the_rest_by_the_tunnel(internet: Topology) -> None:
    lab = internet
    before = kernel_state(lab.client)
    bond = Bond(lab, routes=("0.0.0.0/0",))
    bond.client.document["bypass"] = {"prefixes": ["203.0.113.128/25"], "domains": [NAME]}
    bond.client.write_config()
    name_hosts(lab.client, f"{NAMED} {NAME}\n")
    bond.start()
    bond.wait_connected()
    wan = lab.wans[0].client_ipv4

    wait_until(lambda: seen_from(lab, lab.client, PLAIN) == "10.77.0.2")
    wait_until(lambda: seen_from(lab, lab.client, BYPASSED) == wan)
    wait_until(lambda: seen_from(lab, lab.client, NAMED) == wan)

    bond.client.document["bypass"] = {}
    bond.client.write_config()
    bond.client.mwb("reload")
    wait_until(lambda: seen_from(lab, lab.client, BYPASSED) == "10.77.0.2")
    bond.client.document["bypass"] = {"prefixes": [f"{PLAIN}/32"]}
    bond.client.write_config()
    bond.client.mwb("reload")
    wait_until(lambda: seen_from(lab, lab.client, PLAIN) == wan)
    bond.client.kill()
    bond.client.mwb("down")
    assert kernel_state(lab.client) == before


def test_a_lan_interface_is_bypassed_for_the_hosts_behind_it(internet: Topology) -> None:
    lab = internet
    guest = lab.run.namespace("guest")
    lab.client.configure(
        [
            f"link add guests type veth peer name eth0 netns {guest.name}",
            "addr add 10.20.0.1/24 dev guests",
            "link set guests up",
        ]
    )
    guest.configure(
        ["addr add 10.20.0.2/24 dev eth0", "link set eth0 up", "route add default via 10.20.0.1"]
    )
    lab.client.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    wan = lab.wans[0]
    lab.server.configure([f"route add 10.20.0.0/24 via {wan.client_ipv4}"])
    bond = Bond(lab, routes=("0.0.0.0/0",))
    bond.client.document["bypass"] = {"devices": ["guests"]}
    bond.client.write_config()
    bond.start()
    bond.wait_connected()

    # Inside the tunnel the server would refuse a source that is none of the client's.
    wait_until(lambda: seen_from(lab, guest, PLAIN) == "10.20.0.2")
    wait_until(lambda: seen_from(lab, lab.client, PLAIN) == "10.77.0.2")
