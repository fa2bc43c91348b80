"""New settings while packets travel: none is lost, and each end goes by what it was told."""

from dataclasses import replace
from ipaddress import ip_network
from random import Random

import pytest

from multiwanbond.core.datagram import LinkDown, LinkLeaving, LinkUp
from multiwanbond.core.endpoint import Endpoint
from multiwanbond.core.events import BondClosed, CloseReason, PathRemoved, PathStateChanged
from multiwanbond.core.handshake import public_key_of
from multiwanbond.core.path_state import PathState
from multiwanbond.core.settings import (
    CipherCosts,
    DuplicateMode,
    DuplicationSettings,
    EndpointSettings,
    FecSettings,
    HealthSettings,
    PeerSettings,
    ReorderSettings,
    RoutingMode,
    TrafficClass,
    WanSettings,
)
from multiwanbond.core.statistics import PeerStatistics
from multiwanbond.errors import DropReason

from .pair import CLIENT_IP, PSK, SERVER, SERVER_IP, Pair, settings, udp_packet

CLIENT = settings(is_client=True)
SERVER_SETTINGS = settings(is_client=False)


@pytest.fixture
def pair() -> Pair:
    connected = Pair()
    connected.connect()
    return connected


class Traffic:
    """A packet each way every two milliseconds, and the tally of those that arrived."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self.sent = 0

    def flow(self, seconds: float) -> None:
        """Let packets travel for so long."""
        for _ in range(int(seconds * 500)):
            self.sent += 1
            payload = b"%d" % self.sent
            self._pair.send(udp_packet(payload))
            down = udp_packet(payload, source=SERVER_IP, target=CLIENT_IP)
            self._pair.send(down, from_client=False)
            self._pair.run(0.002)

    def fates(self) -> tuple[int, int]:
        """Return how many did not arrive, and how many arrived more than once, both ways."""
        self._pair.run(1.0)
        arrived = [self._pair.received(end) for end in ("client", "server")]
        distinct = sum(len(set(packets)) for packets in arrived)
        return 2 * self.sent - distinct, sum(map(len, arrived)) - distinct


def reconfigure(pair: Pair, endpoint: Endpoint, new: EndpointSettings) -> None:
    endpoint.reconfigure(new, pair.now)
    pair.poll()


def take_out(pair: Pair, wan_id: int, traffic: Traffic) -> float:
    """Do what a daemon does with a WAN that is to go; return the seconds it took."""
    begun = pair.now
    while not pair.client.has_left(wan_id, pair.now):
        traffic.flow(0.05)
    pair.client.handle_link_change(wan_id, LinkDown(reason="removed"), pair.now)
    pair.poll()
    pair.drop = lambda _up, wan, _data: wan == wan_id  # its socket is closed
    return pair.now - begun


def peer_of(endpoint: Endpoint) -> PeerStatistics:
    return endpoint.statistics().peers[0]


def states(endpoint: Endpoint) -> dict[int, PathState]:
    return {path.path_id: path.state for path in peer_of(endpoint).paths}


def without(wan_id: int) -> EndpointSettings:
    return replace(CLIENT, wans=tuple(wan for wan in CLIENT.wans if wan.id != wan_id))


def removals(pair: Pair, end: str) -> list[int]:
    return [event.path_id for event in pair.events[end] if isinstance(event, PathRemoved)]


# --- WANs


@pytest.mark.parametrize("wan_id", [1, 2, 3])
def test_a_wan_is_taken_out_without_losing_a_packet(pair: Pair, wan_id: int) -> None:
    traffic = Traffic(pair)
    traffic.flow(0.5)

    reconfigure(pair, pair.client, without(wan_id))
    seconds = take_out(pair, wan_id, traffic)
    traffic.flow(2.0)

    assert traffic.fates() == (0, 0)
    assert seconds <= 0.7
    for end, endpoint in (("client", pair.client), ("server", pair.server)):
        assert set(states(endpoint).values()) == {PathState.UP}
        assert wan_id not in states(endpoint)
        assert removals(pair, end) == [wan_id]


def test_a_wan_that_leaves_makes_nothing_to_be_sent_again(pair: Pair) -> None:
    traffic = Traffic(pair)
    traffic.flow(0.5)

    reconfigure(pair, pair.client, without(1))
    take_out(pair, 1, traffic)
    traffic.flow(1.0)

    repaired = [peer_of(endpoint).repaired_packets for endpoint in (pair.client, pair.server)]
    assert repaired == [0, 0]


def test_both_ends_stop_sending_by_a_wan_that_leaves(pair: Pair) -> None:
    traffic = Traffic(pair)
    traffic.flow(0.5)

    reconfigure(pair, pair.client, without(1))
    traffic.flow(0.1)
    del pair.log[:]
    traffic.flow(0.2)

    by_the_leaving = [data for _, wan, data in pair.log if wan == 1]
    assert len(by_the_leaving) <= 4  # probes, which say that it leaves, and their answers


def test_a_disabled_wan_leaves_and_an_enabled_one_returns(pair: Pair) -> None:
    disabled = replace(CLIENT.wans[0], enabled=False)
    traffic = Traffic(pair)
    traffic.flow(0.5)

    reconfigure(pair, pair.client, replace(CLIENT, wans=(disabled, *CLIENT.wans[1:])))
    take_out(pair, 1, traffic)
    traffic.flow(1.0)
    left = [set(states(endpoint)) for endpoint in (pair.client, pair.server)]
    reconfigure(pair, pair.client, CLIENT)
    pair.drop = lambda _up, _wan, _data: False
    pair.client.handle_link_change(1, LinkUp(remote=SERVER), pair.now)
    traffic.flow(3.0)

    assert traffic.fates() == (0, 0)
    assert left == [{2, 3}, {2, 3}]
    for endpoint in (pair.client, pair.server):
        assert states(endpoint) == dict.fromkeys((1, 2, 3), PathState.UP)


def test_a_wan_that_returns_goes_on_with_its_numbers(pair: Pair) -> None:
    # Path id and sequence are the nonce: under the same key none may ever come again.
    before = sum(up and wan == 1 for up, wan, _ in pair.log)
    reconfigure(pair, pair.client, without(1))
    take_out(pair, 1, Traffic(pair))
    reconfigure(pair, pair.client, CLIENT)
    pair.drop = lambda _up, _wan, _data: False
    pair.client.handle_link_change(1, LinkUp(remote=SERVER), pair.now)
    pair.run(3.0)

    sealed = [
        int.from_bytes(data[4:8], "big")
        for up, wan, data in pair.log
        if up and wan == 1 and data[0] >> 4 > 3
    ]
    assert len(sealed) > before
    assert len(set(sealed)) == len(sealed)
    assert pair.server.statistics().dropped.get(DropReason.REPLAYED, 0) == 0


def test_a_wan_is_added_while_packets_travel(pair: Pair) -> None:
    pair = Pair()
    two = replace(CLIENT, wans=CLIENT.wans[:2])
    pair.client.reconfigure(two, pair.now)
    pair.connect()
    had = states(pair.client)
    traffic = Traffic(pair)
    traffic.flow(0.5)

    reconfigure(pair, pair.client, CLIENT)
    pair.client.handle_link_change(3, LinkUp(remote=SERVER), pair.now)
    traffic.flow(1.0)

    assert traffic.fates() == (0, 0)
    assert set(had) == {1, 2}
    assert states(pair.server) == dict.fromkeys((1, 2, 3), PathState.UP)


def test_the_last_wan_carries_on_until_another_takes_its_place() -> None:
    pair = Pair(delays=(0.005, 0.02))
    only_first = replace(CLIENT, wans=CLIENT.wans[:1])
    pair.client.reconfigure(only_first, pair.now)
    pair.connect()
    traffic = Traffic(pair)

    reconfigure(pair, pair.client, replace(CLIENT, wans=CLIENT.wans[1:2]))
    traffic.flow(1.5)
    is_early = pair.client.has_left(1, pair.now)
    pair.client.handle_link_change(2, LinkUp(remote=SERVER), pair.now)
    take_out(pair, 1, traffic)
    traffic.flow(1.0)

    assert not is_early
    assert traffic.fates() == (0, 0)
    assert states(pair.server) == {2: PathState.UP}


def test_a_last_wan_that_is_replaced_by_nothing_goes_after_five_seconds(pair: Pair) -> None:
    reconfigure(pair, pair.client, replace(CLIENT, wans=()))
    pair.run(4.9)
    before = pair.client.has_left(1, pair.now)
    pair.run(0.2)

    assert not before
    assert pair.client.has_left(1, pair.now)


def test_a_dead_wan_that_is_taken_out_is_forgotten_at_both_ends(pair: Pair) -> None:
    pair.drop = lambda _up, wan, _data: wan == 2
    pair.run(2.0)

    reconfigure(pair, pair.client, without(2))
    has_left = pair.client.has_left(2, pair.now)
    pair.run(0.5)

    assert has_left
    assert set(states(pair.client)) == set(states(pair.server)) == {1, 3}


def test_a_wan_may_leave_to_come_back_by_another_interface(pair: Pair) -> None:
    traffic = Traffic(pair)
    traffic.flow(0.5)

    pair.client.handle_link_change(2, LinkLeaving(), pair.now)
    take_out(pair, 2, traffic)
    pair.drop = lambda _up, _wan, _data: False
    pair.client.handle_link_change(2, LinkUp(remote=SERVER), pair.now)
    traffic.flow(3.0)

    assert traffic.fates() == (0, 0)
    assert states(pair.server)[2] is PathState.UP


def test_the_server_tells_of_a_removed_wan_and_not_of_its_death(pair: Pair) -> None:
    del pair.events["server"][:]

    reconfigure(pair, pair.client, without(3))
    take_out(pair, 3, Traffic(pair))
    pair.run(5.0)

    changes = [event for event in pair.events["server"] if isinstance(event, PathStateChanged)]
    assert changes == []
    assert removals(pair, "server") == [3]


def test_a_wan_without_configuration_is_not_used(pair: Pair) -> None:
    reconfigure(pair, pair.client, without(3))
    take_out(pair, 3, Traffic(pair))

    pair.client.handle_link_change(3, LinkUp(remote=SERVER), pair.now)
    pair.run(1.0)

    assert set(states(pair.client)) == {1, 2}


# --- limits, modes and order


@pytest.mark.parametrize("mode", list(RoutingMode))
def test_the_routing_mode_changes_without_losing_a_packet(pair: Pair, mode: RoutingMode) -> None:
    traffic = Traffic(pair)
    traffic.flow(0.3)

    for end, old in ((pair.client, CLIENT), (pair.server, SERVER_SETTINGS)):
        reconfigure(pair, end, replace(old, routing_mode=mode))
    traffic.flow(0.5)
    for end, old in ((pair.client, CLIENT), (pair.server, SERVER_SETTINGS)):
        reconfigure(pair, end, old)
    traffic.flow(0.3)

    assert traffic.fates() == (0, 0)


def test_a_changed_mode_decides_the_next_packets(pair: Pair) -> None:
    reconfigure(pair, pair.client, replace(CLIENT, routing_mode=RoutingMode.ROUND_ROBIN))
    del pair.log[:]

    pair.send(*(udp_packet(b"%d" % n) for n in range(30)))

    assert [sum(wan == each for _, wan, _ in pair.log) for each in (1, 2, 3)] == [10, 10, 10]


def test_limits_count_from_now_on_at_both_ends(pair: Pair) -> None:
    strict = tuple(replace(wan, max_latency=0.030) for wan in CLIENT.wans)
    reconfigure(pair, pair.client, replace(CLIENT, wans=strict))
    reconfigure(
        pair, pair.server, replace(SERVER_SETTINGS, health=HealthSettings(max_latency=0.02))
    )
    Traffic(pair).flow(1.5)

    of_client = [states(pair.client)[wan] for wan in (1, 2, 3)]
    of_server = [states(pair.server)[wan] for wan in (1, 2, 3)]

    assert of_client == [PathState.UP, PathState.DEGRADED, PathState.UP]
    assert of_server == [PathState.UP, PathState.DEGRADED, PathState.DEGRADED]


def test_a_shorter_probe_interval_does_not_wait_for_the_end_of_the_longer_one() -> None:
    slow = replace(CLIENT, wans=tuple(WanSettings(id=n, health_check_interval=30) for n in (1, 2)))
    pair = Pair(delays=(0.005, 0.02), client=slow)
    pair.connect()
    pair.run(2.0)

    reconfigure(pair, pair.client, replace(CLIENT, wans=CLIENT.wans[:2]))
    pair.drop = lambda _up, wan, _data: wan == 2
    pair.run(2.0)

    assert states(pair.client)[2] is PathState.DOWN


def test_what_is_held_for_order_is_kept_and_goes_by_the_new_timeout(pair: Pair) -> None:
    pair.send(udp_packet(b"first"))
    pair.run(0.2)
    pair.received("server")
    patient = replace(SERVER_SETTINGS, reorder=ReorderSettings(reorder_timeout=5.0))
    reconfigure(pair, pair.server, patient)

    impatient = ReorderSettings(reorder_timeout=0.0, reorder_buffer=1)
    reconfigure(pair, pair.server, replace(SERVER_SETTINGS, reorder=impatient))
    traffic = Traffic(pair)
    traffic.flow(0.5)

    assert traffic.fates() == (0, 0)


# --- peers


SECOND_KEY = bytes([4]) * 32
SECOND = PeerSettings(
    name="second",
    public_key=public_key_of(SECOND_KEY),
    preshared_key=PSK,
    allowed_ips=(ip_network("10.77.0.3/32"),),
    is_initiator=False,
)


def test_a_client_is_added_while_another_one_sends(pair: Pair) -> None:
    traffic = Traffic(pair)
    traffic.flow(0.2)

    both = replace(SERVER_SETTINGS, peers=(*SERVER_SETTINGS.peers, SECOND))
    reconfigure(pair, pair.server, both)
    traffic.flow(0.2)
    newcomer = Pair(client=settings(is_client=True, own_key=SECOND_KEY))
    newcomer.server = pair.server
    newcomer.now = pair.now
    newcomer.connect()

    assert peer_of(newcomer.client).is_connected
    assert [peer.is_connected for peer in pair.server.statistics().peers] == [True, True]
    pair.now = newcomer.now
    assert traffic.fates() == (0, 0)


def test_a_client_that_is_removed_is_told_and_gets_no_answer_any_more(pair: Pair) -> None:
    removed = BondClosed(peer="server", reason=CloseReason.REMOVED)

    reconfigure(pair, pair.server, replace(SERVER_SETTINGS, peers=()))
    pair.run(5.0)

    assert removed in pair.events["client"]
    assert BondClosed(peer="client", reason=CloseReason.REMOVED) in pair.events["server"]
    assert not peer_of(pair.client).is_connected
    assert pair.server.statistics().peers == ()
    assert pair.server.statistics().dropped[DropReason.UNKNOWN_PEER] > 0
    assert pair.server.poll_timeout() is None


def test_a_client_that_is_removed_and_added_again_connects_by_itself(pair: Pair) -> None:
    reconfigure(pair, pair.server, replace(SERVER_SETTINGS, peers=()))
    pair.run(3.0)

    reconfigure(pair, pair.server, SERVER_SETTINGS)
    pair.run(3.0)

    assert peer_of(pair.client).is_connected


def test_allowed_addresses_change_both_ways(pair: Pair) -> None:
    (client,) = SERVER_SETTINGS.peers
    moved = replace(client, allowed_ips=(ip_network("10.77.0.9/32"),), name="renamed")

    reconfigure(pair, pair.server, replace(SERVER_SETTINGS, peers=(moved,)))
    pair.send(udp_packet(b"from the old one"), udp_packet(b"new", source=bytes([10, 77, 0, 9])))
    pair.send(udp_packet(b"to the old one", source=SERVER_IP, target=CLIENT_IP), from_client=False)
    pair.run(0.5)

    assert [packet[28:] for packet in pair.received("server")] == [b"new"]
    assert pair.received("client") == []
    assert pair.server.statistics().unroutable_packets == 1
    assert peer_of(pair.server).name == "renamed"


def test_a_new_preshared_key_is_used_by_the_next_handshake(pair: Pair) -> None:
    traffic = Traffic(pair)

    for end, old in ((pair.client, CLIENT), (pair.server, SERVER_SETTINGS)):
        peers = (replace(old.peers[0], preshared_key=bytes([9]) * 32),)
        reconfigure(pair, end, replace(old, peers=peers))
        traffic.flow(0.1)
    pair.run(130.0)
    traffic.flow(0.1)

    assert traffic.fates() == (0, 0)
    assert peer_of(pair.client).handshakes == 2


def test_a_call_with_the_old_secret_is_begun_anew() -> None:
    new = (replace(CLIENT.peers[0], preshared_key=bytes([9]) * 32),)
    pair = Pair(server=settings(is_client=False, psk=bytes([9]) * 32))
    pair.connect()
    had = peer_of(pair.client).is_connected

    reconfigure(pair, pair.client, replace(CLIENT, peers=new))
    pair.run(1.0)

    assert not had
    assert peer_of(pair.client).is_connected


def test_parity_and_copies_begin_and_end_with_the_settings(pair: Pair) -> None:
    counts = []

    for wanted in (False, True, False):
        fec, copies = FecSettings(enabled=wanted), DuplicationSettings(packets=wanted)
        reconfigure(pair, pair.client, replace(CLIENT, fec=fec, duplication=copies))
        before = peer_of(pair.client)
        Traffic(pair).flow(0.2)
        after = peer_of(pair.client)
        counts.append(
            (
                after.parity_datagrams > before.parity_datagrams,
                after.copied_packets > before.copied_packets,
            )
        )

    assert counts == [(False, False), (True, True), (False, False)]


def test_the_same_settings_again_change_nothing(pair: Pair) -> None:
    del pair.log[:]
    traffic = Traffic(pair)

    for _ in range(100):
        reconfigure(pair, pair.client, CLIENT)
        reconfigure(pair, pair.server, SERVER_SETTINGS)
        traffic.flow(0.002)

    assert traffic.fates() == (0, 0)
    assert peer_of(pair.client).handshakes == 1


def test_another_cipher_is_taken_with_the_next_keys(pair: Pair) -> None:
    traffic = Traffic(pair)
    costs = CipherCosts(aes_gcm_ns=9000, chacha20_ns=2000)

    reconfigure(pair, pair.client, replace(CLIENT, cipher_costs=costs))
    traffic.flow(0.1)
    before = peer_of(pair.client).cipher
    pair.run(130.0)
    traffic.flow(0.1)

    assert before == "AES_256_GCM"
    assert peer_of(pair.client).cipher == "CHACHA20_POLY1305"
    assert traffic.fates() == (0, 0)


class Operator:
    """Changes settings at random, and does what the client's daemon does with its sockets."""

    def __init__(self, pair: Pair, seed: int) -> None:
        self._pair = pair
        self._random = Random(seed)
        self._open = set(pair.sources)
        self._wanted = set(pair.sources)
        self._leaving: set[int] = set()
        pair.drop = lambda _up, wan, _data: wan not in self._open

    def change_something(self) -> None:
        """Write other files and reload."""
        random, pair = self._random, self._pair
        self._wanted = set(random.sample(sorted(pair.sources), random.randint(1, 3)))
        wans = tuple(
            WanSettings(id=wan, enabled=wan in self._wanted, weight=random.randint(1, 9))
            for wan in pair.sources
            if wan in self._wanted or random.random() < 0.5
        )
        self._leaving |= self._open - self._wanted
        only_first = TrafficClass(name="only by WAN 1", wans=frozenset({1}))
        unordered = TrafficClass(name="unordered", is_ordered=False)
        for endpoint, old in ((pair.server, SERVER_SETTINGS), (pair.client, CLIENT)):
            new = replace(
                old,
                wans=wans if endpoint is pair.client else (),
                routing_mode=random.choice(list(RoutingMode)),
                fec=FecSettings(enabled=random.random() < 0.5, redundancy=random.choice((0.2, 1))),
                duplication=DuplicationSettings(
                    packets=random.random() < 0.3, mode=random.choice(list(DuplicateMode))
                ),
                classes=random.choice(((), (only_first,), (unordered, only_first))),
            )
            reconfigure(pair, endpoint, new)

    def keep(self) -> None:
        """Close the sockets of WANs that have left, and open those of WANs that are wanted."""
        pair, client = self._pair, self._pair.client
        for wan in sorted(self._leaving - self._wanted):
            if client.has_left(wan, pair.now):
                client.handle_link_change(wan, LinkDown(reason="removed"), pair.now)
                self._open.discard(wan)
                self._leaving.discard(wan)
        for wan in sorted(self._wanted - (self._open - self._leaving)):
            self._open.add(wan)
            self._leaving.discard(wan)
            client.handle_link_change(wan, LinkUp(remote=SERVER), pair.now)
        pair.poll()


@pytest.mark.parametrize("seed", range(10))
def test_whatever_is_reloaded_in_whatever_order_nothing_is_lost(pair: Pair, seed: int) -> None:
    print(f"seed {seed}")
    traffic, operator = Traffic(pair), Operator(pair, seed)

    for step in range(100):
        if step % 5 == 0:
            operator.change_something()
        operator.keep()
        traffic.flow(0.1)

    assert traffic.fates() == (0, 0)
