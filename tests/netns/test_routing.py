"""Where packets really go once a full tunnel over two WANs is up.

client                                  internet
  eth0  192.0.2.7    2001:db8:1::7  ----  192.0.2.1     fe80::1
  eth1  198.51.100.7 2001:db8:2::7  ----  198.51.100.1  fe80::1
  mwb0  (full tunnel)                     lo: 203.0.113.1, 2001:db8:9::1: the server
"""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest
import trio

from multiwanbond.core.datagram import Address, Received, Transmit
from multiwanbond.linux.netlink import Netlink
from multiwanbond.linux.routing import TunnelRouting
from multiwanbond.linux.tun import TunDevice
from multiwanbond.linux.udp import UdpSocket
from multiwanbond.linux.undo import Undo
from multiwanbond.linux.wans import FoundWan
from tests.linux.inner import udp_burst
from tests.linux.namespaces import Namespace, namespaces, skip_without_kernel

pytestmark = pytest.mark.netns

WANS = {
    4: [
        FoundWan(interface="eth0", gateway="192.0.2.1", local_host="192.0.2.7"),
        FoundWan(interface="eth1", gateway="198.51.100.1", local_host="198.51.100.7"),
    ],
    6: [
        FoundWan(interface="eth0", gateway="fe80::1", local_host="2001:db8:1::7"),
        FoundWan(interface="eth1", gateway="fe80::1", local_host="2001:db8:2::7"),
    ],
}
SERVERS = {4: "203.0.113.1", 6: "2001:db8:9::1"}
ANY = {4: "0.0.0.0", 6: "::"}
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


class Rig:
    """The client with everything set up, and the internet opposite."""

    def __init__(self, client: Namespace, internet: Namespace, directory: Path) -> None:
        self.client = client
        self.internet = internet
        self.cleanup = ExitStack()
        self.undo = Undo()
        wire(client, internet)
        client.run(lambda: self._bring_up(directory))

    def _bring_up(self, directory: Path) -> None:
        kernel = Netlink()
        kernel.write_sysctl("net/ipv4/conf/all/rp_filter", "1")
        routing = TunnelRouting("mwb0", kernel, directory)
        self.mark = routing.mark
        self.tun = TunDevice("mwb0")
        self.undo.push("interface mwb0", self.tun.close)
        addresses = [ip_interface("10.77.0.2/24"), ip_interface("fd77::2/64")]
        routing.configure_tun(addresses, 1400, self.undo)
        for version in (4, 6):
            for wan_id, found in enumerate(WANS[version], 1):
                routing.route_wan(wan_id, found, self.undo)
        routing.route_tunnel([ip_network("0.0.0.0/0"), ip_network("::/0")], self.undo)

    def open_wan(self, found: FoundWan) -> UdpSocket:
        """Open a socket as the daemon does."""
        local = Address(found.local_host, 0)
        opened = self.client.run(
            lambda: UdpSocket(
                family=FAMILIES[version_of(found)],
                local=local,
                device=found.interface,
                mark=self.mark,
            )
        )
        self.cleanup.callback(opened.close)
        return opened

    def open_plain(self, namespace: Namespace, local: Address) -> UdpSocket:
        """Open a socket as any other program does."""
        family = socket.AF_INET6 if ":" in local.host else socket.AF_INET
        opened = namespace.run(lambda: UdpSocket(family=family, local=local))
        self.cleanup.callback(opened.close)
        return opened

    def close(self) -> None:
        self.cleanup.close()
        assert self.client.run(self.undo.run) == []


def version_of(found: FoundWan) -> int:
    return 6 if ":" in found.local_host else 4


def wire(client: Namespace, internet: Namespace) -> None:
    for name, net, net6 in (
        ("eth0", "192.0.2", "2001:db8:1:"),
        ("eth1", "198.51.100", "2001:db8:2:"),
    ):
        client.ip("link", "add", name, "type", "veth", "peer", "name", name, "netns", internet.name)
        for namespace, host in ((client, 7), (internet, 1)):
            namespace.ip("address", "add", f"{net}.{host}/24", "dev", name)
            namespace.ip("address", "add", f"{net6}:{host}/64", "dev", name, "nodad")
            namespace.ip("link", "set", name, "up")
        internet.ip("address", "add", "fe80::1/64", "dev", name, "nodad")
    for address in ("203.0.113.1/32", "2001:db8:9::1/128"):
        internet.ip("address", "add", address, "dev", "lo")
    client.ip("route", "add", "default", "via", "192.0.2.1")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    skip_without_kernel()
    with namespaces(2) as [client, internet]:
        made = Rig(client, internet, tmp_path)
        yield made
        made.close()


async def receive_one(waiting: UdpSocket) -> Received:
    with trio.fail_after(3):
        while True:
            await waiting.wait_readable()
            for read in waiting.receive_nowait(1):
                return read


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("index", [0, 1])
async def test_each_wan_talks_to_the_server_by_its_own_line(
    rig: Rig, version: int, index: int
) -> None:
    found = WANS[version][index]
    wan = rig.open_wan(found)
    server = rig.open_plain(rig.internet, Address(ANY[version], 9000))
    destination = Address(SERVERS[version], 9000)

    wan.send_nowait([Transmit(b"question", destination, wan_id=1)])
    question = await receive_one(server)
    answer = Transmit(b"answer", question.source, wan_id=0, local_host=question.local_host)
    server.send_nowait([answer])
    received = await receive_one(wan)

    assert question.source.host == found.local_host
    assert (bytes(received.data), received.source) == (b"answer", destination)


@pytest.mark.parametrize("version", [4, 6])
async def test_other_programs_send_into_the_tunnel(rig: Rig, version: int) -> None:
    program = rig.open_plain(rig.client, Address(ANY[version], 0))

    program.send_nowait([Transmit(b"hello", Address(SERVERS[version], 80), wan_id=0)])
    with trio.fail_after(3):
        await rig.tun.wait_readable()
    bursts = rig.tun.read_nowait()

    assert [bytes(burst.packet[-5:]) for burst in bursts] == [b"hello"]


@pytest.mark.parametrize("version", [4, 6])
async def test_neighbours_are_reached_directly(rig: Rig, version: int) -> None:
    neighbour = {4: "198.51.100.1", 6: "2001:db8:2::1"}[version]
    listener = rig.open_plain(rig.internet, Address(neighbour, 80))
    program = rig.open_plain(rig.client, Address(ANY[version], 0))

    program.send_nowait([Transmit(b"hello", Address(neighbour, 80), wan_id=0)])
    received = await receive_one(listener)

    assert received.source.host == WANS[version][1].local_host


@pytest.mark.parametrize("version", [4, 6])
async def test_services_reached_by_a_wan_answer_by_it(rig: Rig, version: int) -> None:
    service = rig.open_plain(rig.client, Address(ANY[version], 22))
    stranger = rig.open_plain(rig.internet, Address(SERVERS[version], 5000))
    by_second_wan = Address(WANS[version][1].local_host, 22)

    stranger.send_nowait([Transmit(b"question", by_second_wan, wan_id=0)])
    question = await receive_one(service)
    answer = Transmit(b"answer", question.source, wan_id=0, local_host=question.local_host)
    service.send_nowait([answer])
    received = await receive_one(stranger)

    assert (bytes(received.data), received.source) == (b"answer", by_second_wan)


async def test_a_strict_machine_takes_what_comes_out_of_the_tunnel(rig: Rig) -> None:
    program = rig.open_plain(rig.client, Address("10.77.0.2", 4000))

    rig.tun.write_nowait([udp_burst(("203.0.113.80", 80), ("10.77.0.2", 4000), b"answer")])
    received = await receive_one(program)

    assert received.source == Address("203.0.113.80", 80)
