"""The contract of UDP sockets, held by the kernel's and by the fake ones."""

import socket
from collections.abc import Iterator
from typing import Protocol

import pytest
import trio

from multiwanbond.core.datagram import Address, Received, Transmit
from multiwanbond.errors import PlatformError
from multiwanbond.linux.fake import FakeHost, FakeNetwork, FakeUdpSocket
from multiwanbond.linux.udp import UdpSocket

from .namespaces import Namespace, join, namespaces, skip_without_kernel

AnySocket = UdpSocket | FakeUdpSocket


class Host(Protocol):
    def open_socket(
        self,
        *,
        family: socket.AddressFamily = ...,
        local: Address | None = ...,
        device: str | None = ...,
        wants_gso: bool = ...,
    ) -> AnySocket: ...

    def take_down(self) -> None: ...


class RealHost:
    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace

    def open_socket(
        self,
        *,
        family: socket.AddressFamily = socket.AF_INET,
        local: Address | None = None,
        device: str | None = None,
        wants_gso: bool = True,
    ) -> AnySocket:
        return self.namespace.run(
            lambda: UdpSocket(family=family, local=local, device=device, wants_gso=wants_gso)
        )

    def take_down(self) -> None:
        self.namespace.ip("link", "set", "wan0", "down")


class MemoryHost:
    def __init__(self, host: FakeHost) -> None:
        self.host = host

    def open_socket(
        self,
        *,
        family: socket.AddressFamily = socket.AF_INET,
        local: Address | None = None,
        device: str | None = None,
        wants_gso: bool = True,
    ) -> AnySocket:
        return self.host.open_socket(family=family, local=local, device=device, wants_gso=wants_gso)

    def take_down(self) -> None:
        self.host.down.add("wan0")


@pytest.fixture(params=[pytest.param("kernel", marks=pytest.mark.netns), "fake"])
def hosts(request: pytest.FixtureRequest) -> Iterator[tuple[Host, Host]]:
    """Two hosts joined by wan0: 10.200.1.1 and .2, fd00:1::1 and ::2."""
    if request.param == "fake":
        network = FakeNetwork()
        left, right = (
            network.add_host({"lo": ["127.0.0.1", "::1"], "wan0": addresses})
            for addresses in (
                ["10.200.1.1", "fd00:1::1"],
                ["10.200.1.2", "fd00:1::2", "10.200.1.3"],
            )
        )
        yield MemoryHost(left), MemoryHost(right)
        return
    skip_without_kernel()
    with namespaces(2) as [one, two]:
        join(one, two)
        two.ip("address", "add", "10.200.1.3/24", "dev", "wan0")
        yield RealHost(one), RealHost(two)


async def receive(waiting: AnySocket, count: int) -> list[tuple[bytes, Received]]:
    """Return `count` datagrams, each with the read it came in."""
    found: list[tuple[bytes, Received]] = []
    with trio.fail_after(5):
        while len(found) < count:
            await waiting.wait_readable()
            for read in waiting.receive_nowait():
                data = bytes(read.data)
                size = read.segment_size or len(data)
                found += [(data[at : at + size], read) for at in range(0, len(data), size)]
    return found


SERVER = Address("10.200.1.2", 9000)
SERVER6 = Address("fd00:1::2", 9000)


async def test_a_run_arrives_as_its_datagrams(hosts: tuple[Host, Host]) -> None:
    client = hosts[0].open_socket(device="wan0")
    server = hosts[1].open_socket(local=SERVER)
    run = b"a" * 1400 + b"b" * 1400 + b"c" * 700

    dropped = client.send_nowait([Transmit(run, SERVER, wan_id=1, segment_size=1400)])
    arrived = await receive(server, 3)

    assert dropped == 0
    assert [data for data, _ in arrived] == [b"a" * 1400, b"b" * 1400, b"c" * 700]
    assert arrived[0][1].source.host == "10.200.1.1"
    assert client.statistics().writes == 1
    assert client.statistics().datagrams_sent == 3
    assert server.statistics().datagrams_received == 3
    client.close()
    server.close()


async def test_without_gso_every_datagram_is_a_write(hosts: tuple[Host, Host]) -> None:
    client = hosts[0].open_socket(wants_gso=False)
    server = hosts[1].open_socket(local=SERVER)

    client.send_nowait([Transmit(b"x" * 2500, SERVER, wan_id=1, segment_size=1000)])
    arrived = await receive(server, 3)

    assert [len(data) for data, _ in arrived] == [1000, 1000, 500]
    assert client.statistics().writes == 3
    client.close()
    server.close()


async def test_one_batch_of_reads_stays_valid_together(hosts: tuple[Host, Host]) -> None:
    client = hosts[0].open_socket(wants_gso=False)
    server = hosts[1].open_socket(local=SERVER)
    sizes = range(100, 120)  # of unequal length, so the kernel cannot join them

    client.send_nowait(Transmit(bytes([n]) * n, SERVER, wan_id=1) for n in sizes)
    with trio.fail_after(5):
        await server.wait_readable()
    reads = server.receive_nowait()

    assert [bytes(read.data) for read in reads] == [bytes([n]) * n for n in sizes]
    client.close()
    server.close()


async def test_no_more_is_received_when_there_is_enough(hosts: tuple[Host, Host]) -> None:
    client = hosts[0].open_socket(wants_gso=False)
    server = hosts[1].open_socket(local=SERVER)
    # Of growing length, so the kernel cannot join them.
    client.send_nowait(Transmit(bytes(n), SERVER, wan_id=1) for n in range(1000, 1005))

    with trio.fail_after(5):
        await server.wait_readable()
    first, second = server.receive_nowait(32, 2500), server.receive_nowait(32, 2500)

    assert (len(first), len(second)) == (3, 2)
    client.close()
    server.close()


async def test_a_wildcard_server_answers_from_the_address_it_was_spoken_to(
    hosts: tuple[Host, Host],
) -> None:
    client = hosts[0].open_socket(device="wan0")
    server = hosts[1].open_socket(local=Address("0.0.0.0", 9000))
    second = Address("10.200.1.3", 9000)

    client.send_nowait([Transmit(b"question", second, wan_id=1)])
    [(_, question)] = await receive(server, 1)
    answer = Transmit(b"answer", question.source, wan_id=0, local_host=question.local_host)
    server.send_nowait([answer])
    [(data, read)] = await receive(client, 1)

    assert question.local_host == "10.200.1.3"
    assert data == b"answer"
    assert read.source == second
    assert read.local_host is None
    client.close()
    server.close()


@pytest.mark.parametrize("destination", [SERVER, SERVER6])
async def test_a_dual_stack_server_speaks_both_families_in_plain_addresses(
    hosts: tuple[Host, Host], destination: Address
) -> None:
    family = socket.AF_INET6 if ":" in destination.host else socket.AF_INET
    client = hosts[0].open_socket(family=family)
    server = hosts[1].open_socket(family=socket.AF_INET6, local=Address("::", 9000))

    client.send_nowait([Transmit(b"question", destination, wan_id=1)])
    [(_, question)] = await receive(server, 1)
    answer = Transmit(b"answer", question.source, wan_id=0, local_host=question.local_host)
    server.send_nowait([answer])
    [(data, read)] = await receive(client, 1)

    assert question.local_host == destination.host
    assert question.source.host in {"10.200.1.1", "fd00:1::1"}
    assert (data, read.source) == (b"answer", destination)
    client.close()
    server.close()


async def test_a_dead_link_drops_and_counts_every_datagram(hosts: tuple[Host, Host]) -> None:
    client = hosts[0].open_socket(device="wan0")
    hosts[0].take_down()

    dropped = client.send_nowait([Transmit(b"x" * 300, SERVER, wan_id=1, segment_size=100)])

    assert dropped == 3
    assert client.statistics().dropped == {"ENETUNREACH": 3}
    assert client.statistics().datagrams_sent == 0
    client.close()


async def test_what_no_interface_takes_is_told_by_size_and_destination(
    hosts: tuple[Host, Host],
) -> None:
    client = hosts[0].open_socket()
    sizes = (65_530, 65_520, 100)

    dropped = client.send_nowait(Transmit(bytes(size), SERVER, wan_id=1) for size in sizes)

    assert dropped == 2
    assert client.statistics().dropped == {"EMSGSIZE": 2}
    assert client.take_refused() == {SERVER: 65_520}
    assert client.take_refused() == {}
    client.close()


async def test_sending_to_nobody_is_no_error(hosts: tuple[Host, Host]) -> None:
    client = hosts[0].open_socket()

    dropped = sum(client.send_nowait([Transmit(b"x", SERVER, wan_id=1)]) for _ in range(3))

    assert dropped == 0
    assert client.receive_nowait() == []
    client.close()


def test_a_port_in_use_is_named(hosts: tuple[Host, Host]) -> None:
    first = hosts[1].open_socket(local=SERVER)

    with pytest.raises(PlatformError, match=r"10\.200\.1\.2:9000 is in use"):
        hosts[1].open_socket(local=SERVER)

    first.close()


def test_an_address_of_nobody_here_is_named(hosts: tuple[Host, Host]) -> None:
    with pytest.raises(PlatformError, match=r"has the address 10\.9\.9\.9"):
        hosts[0].open_socket(local=Address("10.9.9.9", 9000))


def test_a_missing_device_is_named(hosts: tuple[Host, Host]) -> None:
    with pytest.raises(PlatformError, match="no interface 'eth7'"):
        hosts[0].open_socket(device="eth7")


async def test_closing_wakes_the_waiter(hosts: tuple[Host, Host]) -> None:
    client = hosts[0].open_socket()

    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await client.wait_readable()

        await trio.testing.wait_all_tasks_blocked()
        client.close()
        client.close()
