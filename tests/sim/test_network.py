"""Hosts and WANs around an engine: batches, addresses, tampering, restarts, determinism."""

from random import Random

import pytest

from multiwanbond.core.datagram import Address
from multiwanbond.sim.host import Arrival, Host, join_arrivals
from multiwanbond.sim.links import LinkSettings
from multiwanbond.sim.network import Network, Uplink, WanLinks
from multiwanbond.sim.packets import UDP, Conversation, read_udp
from multiwanbond.sim.wires import Recorder, Scrambler
from multiwanbond.sim.world import START, World
from tests.sim.pass_through import PassThrough

SERVER = Address("198.51.100.1", 9000)
CLIENT_INNER, SERVER_INNER = Address("10.77.0.2", 5000), Address("10.77.0.1", 53)
WAN = WanLinks(
    up=LinkSettings(rate=1e6, delay=0.01), down=LinkSettings(rate=1e6, delay=0.02, jitter=0.01)
)


def public(wan_id: int) -> Address:
    return Address(f"203.0.113.{wan_id}", 40_000)


class Pair:
    """A client with two WANs and a server."""

    def __init__(self, seed: int = 1, *, coalesce: float = 0.0) -> None:
        self.world = World(seed)
        self.network = Network(self.world)
        self.server_engine, self.client_engine = PassThrough(), PassThrough()
        self.server = self.network.add_server(
            "server",
            self.server_engine,
            [SERVER],
            inner_hosts=[SERVER_INNER.host],
            coalesce=coalesce,
        )
        self.client = self.network.add_client(
            "client", self.client_engine, inner_hosts=[CLIENT_INNER.host]
        )
        self.wans = [self.add_wan(wan_id) for wan_id in (1, 2)]
        self.heard: list[tuple[float, bytes]] = []
        self.server.bind(UDP, SERVER_INNER.port, lambda burst: self.note(burst.packet))
        self.client.bind(UDP, CLIENT_INNER.port, lambda burst: self.note(burst.packet))

    def add_wan(self, wan_id: int) -> Uplink:
        wan = self.network.add_uplink(
            self.client, wan_id, WAN, public=public(wan_id), remote=SERVER
        )
        wan.connect()
        return wan

    def note(self, packet: bytes | bytearray | memoryview) -> None:
        self.heard.append((self.world.now - START, bytes(read_udp(packet))))

    def say(self, sender: Host, payload: bytes) -> None:
        ends = (CLIENT_INNER, SERVER_INNER)
        if sender is self.server:
            ends = (SERVER_INNER, CLIENT_INNER)
        sender.send_bursts([Conversation(*ends, UDP).udp(payload)])


def test_a_packet_crosses_the_network_and_is_answered() -> None:
    pair = Pair()

    pair.say(pair.client, b"question")
    pair.world.run_for(1.0)
    pair.say(pair.server, b"answer")
    pair.world.run_for(1.0)

    # 20 IP + 8 UDP + 8 payload, the engine's byte, 28 around it, at 1 MB/s and 10 ms.
    at, question = pair.heard[0]
    assert (round(at, 9), question) == (0.010065, b"question")
    assert pair.heard[1][1] == b"answer"


def test_what_arrives_at_one_instant_is_one_batch() -> None:
    pair = Pair(coalesce=0.005)

    for _ in range(20):
        pair.say(pair.client, b"12345678")
    pair.world.run_for(1.0)

    assert len(pair.heard) == 20
    assert len({at for at, _ in pair.heard}) == 1
    assert pair.heard[0][0] == pytest.approx(0.015065)


def test_a_wan_without_a_link_is_not_used() -> None:
    pair = Pair()
    pair.wans[0].disconnect()

    for _ in range(4):
        pair.say(pair.client, b"x")
    pair.world.run_for(1.0)

    assert pair.wans[0].up.statistics.pushed == 0
    assert pair.wans[1].up.statistics.delivered == 4


def test_a_black_wan_swallows_until_it_is_restored() -> None:
    pair = Pair()
    pair.wans[1].disconnect()
    pair.wans[0].black_out()
    pair.say(pair.client, b"lost")
    pair.world.run_for(1.0)

    pair.wans[0].restore()
    pair.say(pair.client, b"found")
    pair.world.run_for(1.0)

    assert [payload for _, payload in pair.heard] == [b"found"]


def test_a_frozen_wan_delivers_later() -> None:
    pair = Pair()
    pair.wans[1].disconnect()
    pair.wans[0].freeze()
    pair.say(pair.client, b"x")
    pair.world.run_for(0.5)
    assert pair.heard == []

    pair.wans[0].restore()
    pair.world.run_for(0.5)

    assert [payload for _, payload in pair.heard] == [b"x"]


def test_a_rebound_wan_is_seen_under_its_new_address_only() -> None:
    pair = Pair()
    pair.wans[1].disconnect()
    pair.say(pair.client, b"before")
    pair.world.run_for(1.0)

    pair.wans[0].rebind(Address("203.0.113.77", 1234))
    pair.say(pair.server, b"to the old address")
    pair.world.run_for(1.0)
    pair.say(pair.client, b"after")
    pair.world.run_for(1.0)

    assert pair.network.lost["stale address"] == 1
    assert pair.server_engine.remotes[0] == Address("203.0.113.77", 1234)


def test_a_stopped_host_hears_nothing_and_a_new_engine_does() -> None:
    pair = Pair()
    pair.server.stop()
    pair.say(pair.client, b"lost")
    pair.world.run_for(1.0)

    fresh = PassThrough()
    pair.server.start(fresh)
    pair.say(pair.client, b"found")
    pair.world.run_for(1.0)

    assert pair.server_engine.received == 0
    assert fresh.received == 1
    assert [payload for _, payload in pair.heard] == [b"found"]


def test_anybody_can_send_to_the_server() -> None:
    pair = Pair()
    stranger = Address("192.0.2.66", 666)
    packet = Conversation(CLIENT_INNER, SERVER_INNER, UDP).udp(b"spoofed").packet

    pair.network.inject(stranger, SERVER, b"\0" + bytes(packet))
    pair.world.run_for(1.0)

    assert pair.server_engine.remotes == {0: stranger}


def test_an_engine_is_woken_when_it_asked_for_it() -> None:
    pair = Pair()
    pair.client_engine.deadline = START + 0.7
    pair.client.poll()

    pair.world.run_for(5.0)

    assert pair.client_engine.timeouts == [START + 0.7]


def test_a_scrambler_does_what_it_is_told() -> None:
    scrambler = Scrambler(Random(1), loss=0.2, duplication=0.1, corruption=0.1, delay=0.5)
    whole = bytes(100)

    out = [altered for _ in range(10_000) for altered in scrambler(whole)]

    assert len(out) == pytest.approx(10_000 * 0.8 / 0.9, rel=0.03)
    assert sum(1 for data, _ in out if data != whole) == scrambler.corrupted
    assert scrambler.corrupted == pytest.approx(0.1 * len(out), rel=0.1)
    assert max(after for _, after in out) == pytest.approx(0.5, rel=0.01)


def test_datagrams_of_one_sender_and_size_are_read_as_a_run() -> None:
    here, there = Address("203.0.113.1", 1), Address("203.0.113.2", 1)
    sizes = [(100, here), (100, here), (40, here), (40, here), (40, there), (90, there)]

    batches = join_arrivals(Arrival(0, bytes(size), source, "") for size, source in sizes)

    ((wan_id, reads),) = batches
    assert wan_id == 0
    assert [(len(read.data), read.segment_size) for read in reads] == [
        (240, 100),
        (40, 0),
        (40, 0),
        (90, 0),
    ]


def transcript(seed: int) -> list[tuple[float, bytes]]:
    pair = Pair(seed)
    recorder = Recorder()
    scrambler = Scrambler(pair.world.rng("tamper"), loss=0.1, duplication=0.2, delay=0.02)
    pair.wans[0].tamper_up = scrambler
    pair.wans[1].tamper_up = recorder
    for number in range(200):
        pair.say(pair.client, number.to_bytes(2, "big"))
        pair.world.run_for(0.001)
        pair.say(pair.server, number.to_bytes(2, "big"))
    pair.world.run_for(1.0)
    assert len(recorder.datagrams) == 100
    return pair.heard


def test_the_same_seed_makes_the_same_history() -> None:
    assert transcript(8) == transcript(8)
    assert transcript(8) != transcript(9)
