"""Packets through two dataplanes joined by a network in memory, in virtual time."""

import errno
import os
from collections.abc import Iterable, Mapping
from socket import AF_INET

import pytest
import trio
from trio.testing import MockClock

from multiwanbond.core.burst import Burst
from multiwanbond.core.datagram import Address, LinkDown, LinkUp, Received, Transmit
from multiwanbond.core.endpoint import Endpoint
from multiwanbond.core.events import BondOpened, Event, PathStateChanged
from multiwanbond.core.path_state import PathState
from multiwanbond.daemon.dataplane import SERVER_SOCKET, TUN_BATCH, Dataplane
from multiwanbond.linux.fake import FakeNetwork, FakeTun
from multiwanbond.linux.udp import UdpStatistics
from tests.core.pair import CLIENT_IP, SERVER_IP, settings, udp_packet

from .waiting import wait_until

SERVER = Address("198.51.100.1", 9000)
CLIENT_HOSTS = {"eth0": ["192.0.2.1"], "wwan0": ["203.0.113.1"]}
BACK = {"source": SERVER_IP, "target": CLIENT_IP}


class Site:
    """One end: a TUN device, a dataplane, and what it reported."""

    def __init__(self, *, is_client: bool) -> None:
        self.tun = FakeTun("mwb0")
        self.events: list[Event] = []
        self.broken: list[tuple[int, OSError]] = []
        self.dataplane = Dataplane(
            Endpoint(
                settings(is_client=is_client, wan_count=2),
                entropy=os.urandom,
                now=trio.current_time(),
            ),
            self.tun,
            on_event=self.events.append,
            on_socket_broken=lambda wan_id, exc: self.broken.append((wan_id, exc)),
        )

    @property
    def is_connected(self) -> bool:
        return self.dataplane.endpoint.statistics().peers[0].is_connected

    @property
    def delivered(self) -> list[bytes]:
        return [bytes(burst.packet) for burst in self.tun.delivered]


class Sites:
    """A client with two WANs and a server, connected."""

    def __init__(self) -> None:
        self.network = FakeNetwork()
        self.server_host = self.network.add_host({"eth0": [SERVER.host]})
        self.client_host = self.network.add_host(CLIENT_HOSTS)
        self.server = Site(is_client=False)
        self.client = Site(is_client=True)
        self.server.dataplane.attach(
            SERVER_SOCKET,
            self.server_host.open_socket(family=AF_INET, local=Address("0.0.0.0", SERVER.port)),
        )

    def connect_wan(self, wan_id: int, device: str) -> None:
        """Open a socket on `device` and tell the endpoint that the WAN may be tried."""
        dataplane = self.client.dataplane
        dataplane.attach(
            wan_id,
            self.client_host.open_socket(
                family=AF_INET, local=Address(CLIENT_HOSTS[device][0], 0), device=device
            ),
        )
        dataplane.endpoint.handle_link_change(wan_id, LinkUp(remote=SERVER), trio.current_time())
        dataplane.flush()

    async def start(self, nursery: trio.Nursery) -> None:
        await nursery.start(self.server.dataplane.run)
        await nursery.start(self.client.dataplane.run)
        self.connect_wan(1, "eth0")
        self.connect_wan(2, "wwan0")
        await wait_until(self.are_all_paths_up)

    def are_all_paths_up(self) -> bool:
        return all(
            [path.state for path in site.dataplane.endpoint.statistics().peers[0].paths]
            == [PathState.UP] * 2
            for site in (self.client, self.server)
        )


@pytest.fixture
async def sites(nursery: trio.Nursery) -> Sites:
    """Both ends, connected over both WANs."""
    joined = Sites()
    await joined.start(nursery)
    return joined


async def test_a_packet_travels_from_tun_to_tun_and_back(
    sites: Sites, autojump_clock: MockClock
) -> None:
    there, back = udp_packet(b"ping"), udp_packet(b"pong", **BACK)

    sites.client.tun.feed([Burst(there)])
    await wait_until(lambda: bool(sites.server.delivered))
    sites.server.tun.feed([Burst(back)])
    await wait_until(lambda: bool(sites.client.delivered))

    assert sites.server.delivered == [there]
    assert sites.client.delivered == [back]


async def test_more_than_one_batch_arrives_complete(
    sites: Sites, autojump_clock: MockClock
) -> None:
    packets = [udp_packet(bytes([n]) * 100) for n in range(3 * TUN_BATCH + 1)]

    sites.client.tun.feed(Burst(packet) for packet in packets)
    await wait_until(lambda: len(sites.server.delivered) == len(packets))

    assert sites.server.delivered == packets


async def test_both_ends_report_the_bond_and_its_paths(
    sites: Sites, autojump_clock: MockClock
) -> None:
    for site in (sites.client, sites.server):
        opened = [event for event in site.events if isinstance(event, BondOpened)]
        states = [event.state_to for event in site.events if isinstance(event, PathStateChanged)]
        assert [event.is_resumed for event in opened] == [False]
        assert states == [PathState.UP, PathState.UP]


async def test_traffic_goes_on_when_a_wan_falls_silent(
    sites: Sites, autojump_clock: MockClock
) -> None:
    sites.network.is_lost = lambda source, destination: (
        "192.0.2.1"
        in (
            source.host,
            destination.host,
        )
    )

    for n in range(100):
        sites.client.tun.feed([Burst(udp_packet(bytes([n]) * 8))])
        await trio.sleep(0.02)

    assert len(sites.server.delivered) > 60
    assert sites.server.delivered[-1] == udp_packet(bytes([99]) * 8)
    states = {path.state for path in sites.client.dataplane.endpoint.statistics().peers[0].paths}
    assert states == {PathState.DOWN, PathState.UP}


async def test_a_wan_without_link_sends_nothing_and_comes_back(
    sites: Sites, autojump_clock: MockClock
) -> None:
    endpoint = sites.client.dataplane.endpoint

    endpoint.handle_link_change(1, LinkDown(reason="unplugged"), trio.current_time())
    sites.client.dataplane.detach(1)
    sites.client.dataplane.flush()
    await trio.sleep(2)

    assert sites.client.dataplane.unsent_datagrams == 0
    sites.connect_wan(1, "eth0")
    await wait_until(sites.are_all_paths_up)


async def test_an_idle_bond_wakes_rarely(sites: Sites, autojump_clock: MockClock) -> None:
    await trio.sleep(30)
    wakes = 0
    handle_timeout = sites.client.dataplane.endpoint.handle_timeout

    def count(now: float) -> None:
        nonlocal wakes
        wakes += 1
        handle_timeout(now)

    sites.client.dataplane.endpoint.handle_timeout = count  # type: ignore[method-assign]  # a spy
    await trio.sleep(10)

    assert 0 < wakes < 200


async def test_a_tun_device_that_takes_nothing_is_counted(
    sites: Sites, autojump_clock: MockClock
) -> None:
    sites.server.tun.is_up = False

    sites.client.tun.feed([Burst(udp_packet(b"lost"))])
    await wait_until(lambda: sites.server.dataplane.undeliverable_packets > 0)

    assert sites.server.dataplane.undeliverable_packets == 1
    assert sites.server.delivered == []


async def test_what_an_interface_is_too_narrow_for_is_soon_not_sent_any_more(
    sites: Sites, autojump_clock: MockClock
) -> None:
    endpoint = sites.client.dataplane.endpoint
    await trio.sleep(2.0)

    sites.client_host.mtu = 1400
    sites.client.tun.feed([Burst(udp_packet(bytes(1380)))])
    await trio.sleep(2.0)

    peer = endpoint.statistics().peers[0]

    assert 1400 in {path.mtu for path in peer.paths}
    assert peer.inner_mtu == 1340


class BrokenSocket:
    """A socket that fails in a way no network can cause."""

    local = Address("192.0.2.1", 40000)

    def __init__(self) -> None:
        self.is_closed = False
        self.is_readable = trio.Event()

    async def wait_readable(self) -> None:
        await self.is_readable.wait()

    def receive_nowait(self, limit: int = 32, enough: int = 0) -> list[Received]:
        raise OSError(errno.EBADF, "bad file descriptor")

    def send_nowait(self, transmits: Iterable[Transmit]) -> int:
        raise OSError(errno.EBADF, "bad file descriptor")

    def take_refused(self) -> Mapping[Address, int]:
        return {}

    def statistics(self) -> UdpStatistics:
        return UdpStatistics(
            reads=0,
            datagrams_received=0,
            writes=0,
            datagrams_sent=0,
            dropped={},
            is_gso_enabled=False,
            gso_failures=0,
        )

    def close(self) -> None:
        self.is_closed = True


async def test_a_socket_that_fails_to_receive_is_dropped_and_reported_once(
    sites: Sites, autojump_clock: MockClock
) -> None:
    broken = BrokenSocket()
    sites.client.dataplane.attach(1, broken)

    broken.is_readable.set()
    await wait_until(lambda: broken.is_closed)

    assert [(wan_id, exc.errno) for wan_id, exc in sites.client.broken] == [(1, errno.EBADF)]
    assert sites.client.is_connected


async def test_a_socket_that_fails_to_send_leaves_the_other_wan_working(
    sites: Sites, autojump_clock: MockClock
) -> None:
    broken = BrokenSocket()
    sites.client.dataplane.attach(1, broken)

    for n in range(100):
        sites.client.tun.feed([Burst(udp_packet(bytes([n]) * 8))])
        await trio.sleep(0.02)

    assert broken.is_closed
    assert [wan_id for wan_id, _ in sites.client.broken] == [1]
    assert sites.client.dataplane.unsent_datagrams > 0
    assert sites.server.delivered[-1] == udp_packet(bytes([99]) * 8)


async def test_a_turn_is_seen_only_while_the_loop_makes_rounds(
    sites: Sites, autojump_clock: MockClock
) -> None:
    idle = Site(is_client=True)

    with trio.fail_after(0.001):
        for _ in range(3):
            await sites.client.dataplane.turn()
    with trio.move_on_after(60) as limit:
        await idle.dataplane.turn()  # does not run

    assert limit.cancelled_caught
    assert sites.are_all_paths_up()
