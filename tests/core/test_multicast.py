"""Packets to groups: who gets them, who does not, and that none goes round."""

from collections import deque
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from multiwanbond.core.burst import Burst
from multiwanbond.core.datagram import Address, LinkUp, Received
from multiwanbond.core.endpoint import Endpoint
from multiwanbond.core.events import Event, GroupsChanged
from multiwanbond.core.frames import MOST_GROUPS, Groups, decode_frames_untrusted, encode_frames
from multiwanbond.core.groups import LIFETIME, MOST_WISHES, Wishes, is_carried
from multiwanbond.core.handshake import public_key_of
from multiwanbond.core.ip import internet_sum, lower_hop_limit
from multiwanbond.core.multicast import MOST_REMEMBERED, REMEMBERED_FOR, Sightings
from multiwanbond.core.settings import EndpointSettings
from multiwanbond.core.statistics import MulticastStatistics

from .pair import SERVER, Pair, settings, udp_packet

GROUP = ip_address("239.1.2.3").packed
OTHER_GROUP = ip_address("239.1.2.4").packed
GROUP6 = ip_address("ff05::123").packed
HOST = bytes([10, 77, 0, 2])
SERVER_HOST = bytes([10, 77, 0, 1])


def to_group(
    payload: bytes = b"tick", *, source: bytes = HOST, group: bytes = GROUP, hops: int = 16
) -> bytes:
    packet = bytearray(udp_packet(payload, source=source, target=group))
    packet[8] = hops
    packet[10:12] = (-internet_sum(packet[:20]) % 0xFFFF).to_bytes(2, "big")
    return bytes(packet)


def to_group6(payload: bytes = b"tick", *, hops: int = 16) -> bytes:
    length = (8 + len(payload)).to_bytes(2, "big")
    head = b"\x60\0\0\0" + length + bytes([17, hops]) + ip_address("fd77::2").packed + GROUP6
    return head + b"\x30\x39\x00\x35" + length + b"\x12\x34" + payload


class Star:
    """A server and clients, one WAN each; datagrams arrive at once, time passes by `run`."""

    def __init__(self, clients: int = 2, *, server: bool = True, client: bool = True) -> None:
        self.now = 1000.0
        base = settings(is_client=False)
        keys = [bytes([40 + number]) * 32 for number in range(clients)]
        peers = tuple(
            replace(
                base.peers[0],
                name=f"client{number}",
                public_key=public_key_of(key),
                allowed_ips=(ip_network(f"10.77.0.{2 + number}/32"), ip_network("fd77::2/128")),
            )
            for number, key in enumerate(keys)
        )
        self.server = self._endpoint(replace(base, peers=peers, multicast_enabled=server))
        self.clients = []
        for key in keys:
            own = settings(is_client=True, wan_count=1, own_key=key)
            everything = (ip_network("0.0.0.0/0"), ip_network("::/0"))
            peer = replace(own.peers[0], allowed_ips=everything)
            own = replace(own, peers=(peer,), multicast_enabled=client)
            self.clients.append(self._endpoint(own))
        self.delivered: dict[Endpoint, list[bytes]] = {}
        self.events: list[tuple[Endpoint, Event]] = []
        for each in self.clients:
            each.handle_link_change(1, LinkUp(remote=SERVER), self.now)
        self.run(1.0)

    def _endpoint(self, own: EndpointSettings) -> Endpoint:
        entropy = Pair().random.randbytes
        return Endpoint(own, entropy=entropy, now=self.now)

    @property
    def endpoints(self) -> list[Endpoint]:
        return [self.server, *self.clients]

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            self._carry()
            due = min(at for e in self.endpoints if (at := e.poll_timeout()) is not None)
            if due > end:
                self.now = end
                return
            self.now = max(self.now, due) + 1e-6
            for each in self.endpoints:
                each.handle_timeout(self.now)

    def _carry(self) -> None:
        waiting = deque(self.endpoints)
        while waiting:
            each = waiting.popleft()
            for transmit in list(each.poll_transmit()):
                data, size = bytes(transmit.data), transmit.segment_size
                if each is self.server:
                    client = self.clients[transmit.destination.port - 1]
                    client.handle_datagrams(
                        1, [Received(data, SERVER, segment_size=size)], self.now
                    )
                    waiting.append(client)
                else:
                    source = Address("203.0.113.1", 1 + self.clients.index(each))
                    self.server.handle_datagrams(
                        0, [Received(data, source, segment_size=size)], self.now
                    )
                    waiting.append(self.server)
            while (event := each.poll_event()) is not None:
                self.events.append((each, event))
            self.delivered.setdefault(each, []).extend(
                bytes(burst.packet) for burst in each.poll_deliver()
            )

    def want(self, endpoint: Endpoint, *groups: bytes) -> None:
        endpoint.handle_wishes(groups, self.now)
        self.run(0.1)

    def send(self, endpoint: Endpoint, *packets: bytes) -> None:
        endpoint.handle_bursts([Burst(packet) for packet in packets], self.now)
        self.run(0.1)

    def received(self, endpoint: Endpoint) -> list[bytes]:
        return self.delivered.pop(endpoint, [])


def counted(endpoint: Endpoint) -> MulticastStatistics:
    return endpoint.statistics().multicast


# --- who gets what


def test_a_group_is_carried_to_the_end_that_wants_it_both_ways() -> None:
    star = Star(1)
    client = star.clients[0]
    down, up, up6 = to_group(source=SERVER_HOST), to_group(), to_group6()

    star.want(client, GROUP)
    star.want(star.server, GROUP, GROUP6)
    star.send(star.server, down)
    star.send(client, up, up6)

    assert star.received(client) == [down]
    assert star.received(star.server) == [up, up6]
    assert counted(client).sent_packets == 2
    assert counted(star.server).received_packets == 2


def test_a_group_nobody_wants_is_not_carried() -> None:
    star = Star(1)
    star.want(star.server, OTHER_GROUP)

    star.send(star.clients[0], to_group())

    assert star.received(star.server) == []
    assert counted(star.clients[0]).unwanted_packets == 1
    assert counted(star.clients[0]).sent_packets == 0


def test_the_server_sends_one_copy_to_each_client_that_wants_the_group() -> None:
    star = Star(3)
    first, second, third = star.clients
    packet = to_group(source=SERVER_HOST)
    star.want(first, GROUP)
    star.want(third, GROUP)

    star.send(star.server, packet)

    assert [star.received(client) for client in (first, second, third)] == [[packet], [], [packet]]
    assert counted(star.server).sent_packets == 2


def test_the_server_passes_a_clients_packet_on_to_others_with_one_hop_less() -> None:
    star = Star(3)
    first, second, third = star.clients
    star.want(second, GROUP)
    packet = to_group(hops=16)

    star.send(first, packet)

    [passed_on] = star.received(second)
    assert passed_on == to_group(hops=15)
    assert [star.received(first), star.received(third)] == [[], []]
    assert counted(star.server).relayed_packets == 1


def test_a_packet_with_one_hop_left_is_not_passed_on() -> None:
    star = Star(2)
    first, second = star.clients
    star.want(second, GROUP)

    star.send(first, to_group(hops=1))

    assert star.received(second) == []
    assert len(star.received(star.server)) == 1


def test_a_packet_from_an_address_that_is_not_the_peers_is_refused() -> None:
    star = Star(1)
    star.want(star.server, GROUP)

    star.send(star.clients[0], to_group(source=bytes([10, 9, 9, 9])))

    assert star.received(star.server) == []


@pytest.mark.parametrize(("server", "client"), [(False, True), (True, False), (False, False)])
def test_nothing_is_carried_unless_both_ends_allow_it(server: bool, client: bool) -> None:
    star = Star(1, server=server, client=client)
    star.want(star.server, GROUP)
    star.want(star.clients[0], GROUP)

    star.send(star.clients[0], to_group())
    star.send(star.server, to_group(source=SERVER_HOST))

    assert star.received(star.server) == []
    assert star.received(star.clients[0]) == []


def test_the_other_end_is_told_at_once_what_is_wanted_and_what_no_more() -> None:
    star = Star(1)

    star.want(star.server, GROUP)
    star.want(star.server)

    told = [
        event.groups
        for endpoint, event in star.events
        if endpoint is star.clients[0] and isinstance(event, GroupsChanged)
    ]
    assert told[-2:] == [frozenset({GROUP}), frozenset()]


def test_a_wish_outlives_lost_frames_and_ends_when_it_is_repeated_no_more() -> None:
    star = Star(1)
    star.want(star.server, GROUP)

    star.run(3 * LIFETIME)
    star.send(star.clients[0], to_group())

    assert len(star.received(star.server)) == 1


# --- loops


def test_a_packet_that_comes_round_is_not_carried_again() -> None:
    # What the server's network gives back to the client's, because the two are bridged.
    star = Star(1)
    client = star.clients[0]
    star.want(star.server, GROUP)
    star.send(client, to_group(hops=16))

    for hops in (14, 12, 10):
        star.send(client, to_group(hops=hops))

    assert len(star.received(star.server)) == 1
    assert counted(client).looped_packets == 3


def test_a_packet_that_two_clients_of_one_network_bring_is_delivered_once() -> None:
    star = Star(2)
    first, second = star.clients
    star.want(star.server, GROUP)
    star.want(first, GROUP)
    star.want(second, GROUP)
    shared = ip_network("10.77.0.0/24")
    peers = tuple(replace(p, allowed_ips=(shared,)) for p in star.server.settings.peers)
    star.server.reconfigure(replace(star.server.settings, peers=peers), star.now)

    for client in (first, second):
        client.handle_bursts([Burst(to_group())], star.now)
    star.run(0.1)

    assert len(star.received(star.server)) == 1
    # The server passes the first one's copy on to the second, who has had the packet already.
    assert star.received(second) == []


def test_what_the_kernel_gives_back_to_us_never_returns_to_its_peer() -> None:
    star = Star(1)
    client = star.clients[0]
    star.want(client, GROUP)
    star.want(star.server, GROUP)
    star.send(client, to_group(hops=16))
    [arrived] = star.received(star.server)

    star.send(star.server, to_group(hops=arrived[8] - 1))

    assert star.received(client) == []
    assert counted(star.server).looped_packets == 1


def test_the_same_words_said_twice_are_carried_twice() -> None:
    star = Star(1)
    star.want(star.server, GROUP)

    star.send(star.clients[0], to_group(), to_group())

    assert len(star.received(star.server)) == 2


def test_a_copy_is_known_for_two_seconds_and_by_no_more_than_its_hop_limit_and_checksum() -> None:
    sightings = Sightings()
    partial = bytearray(to_group(hops=9))
    partial[26:28] = b"\x55\xaa"

    assert not sightings.is_copy(to_group(hops=10), None, 0.0)
    assert sightings.is_copy(bytes(partial), None, 1.0)
    assert not sightings.is_copy(to_group(b"tock", hops=9), None, 1.0)
    assert not sightings.is_copy(bytes(partial), None, 1.0 + REMEMBERED_FOR)


def test_a_flood_of_packets_is_remembered_within_bounds() -> None:
    sightings = Sightings()

    for number in range(MOST_REMEMBERED + 100):
        sightings.is_copy(to_group(b"%d" % number), None, 0.0)

    assert len(sightings._seen) == MOST_REMEMBERED


# --- what may be carried, and how it is asked for


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("239.1.2.3", True),
        ("232.1.2.3", True),
        ("224.0.1.1", True),
        ("224.0.0.251", False),
        ("223.255.255.255", False),
        ("240.0.0.1", False),
        ("ff05::1:3", True),
        ("ff0e::1", True),
        ("ff15::1", True),
        ("ff3e::1", True),
        ("ff02::fb", False),
        ("ff01::1", False),
        ("ff12::1", False),
        ("ff0f::1", False),
        ("fe80::1", False),
    ],
)
def test_groups_of_one_link_are_never_carried(group: str, expected: bool) -> None:
    assert is_carried(ip_address(group).packed) is expected


def test_many_wishes_travel_in_frames_of_their_own() -> None:
    here, there = Wishes(), Wishes()
    groups = frozenset(ip_address(f"ff05::1:{number:x}").packed for number in range(1, 101))
    here.announce(groups, 0.0)

    frames = here.take(0.0)
    for frame in frames:
        [read] = decode_frames_untrusted(encode_frames([frame]))
        assert isinstance(read, Groups)
        there.on_frame(read, 0.0)

    assert len(frames) == -(-100 // MOST_GROUPS)
    assert there.theirs == groups
    assert max(len(encode_frames([frame])) for frame in frames) < 500


def test_a_wish_is_repeated_ever_more_rarely_until_it_is_withdrawn() -> None:
    wishes = Wishes()
    wishes.announce(frozenset({GROUP}), 0.0)
    times = []
    while (due := wishes.deadline()) is not None and due < 40:
        assert wishes.take(due) == [Groups(True, (GROUP,))]
        times.append(due)

    wishes.announce(frozenset(), 40.0)
    last = [wishes.take(due)[0] for _ in range(6) if (due := wishes.deadline()) is not None]

    assert times == [0, 0.25, 0.75, 1.75, 3.75, 7.75, 15.75, 23.75, 31.75, 39.75]
    assert set(last) == {Groups(False, (GROUP,))}
    assert wishes.deadline() is None


def test_a_peer_cannot_want_more_than_there_is_room_for() -> None:
    wishes = Wishes()

    for number in range(MOST_WISHES + 10):
        group = b"\xef" + number.to_bytes(3, "big")
        wishes.on_frame(Groups(True, (group, b"\xe0\0\0\x01")), 0.0)

    assert len(wishes.theirs) == MOST_WISHES
    assert wishes.ignored == MOST_WISHES + 20


def test_lowering_the_hop_limit_keeps_the_header_right() -> None:
    lowered = lower_hop_limit(Burst(to_group(hops=7)))

    assert lowered is not None
    assert internet_sum(lowered.packet[:20]) == 0
    assert bytes(lowered.packet) == to_group(hops=6)
    assert lower_hop_limit(Burst(to_group6(hops=1))) is None


def test_the_group_that_every_router_joins_is_nobodys_wish() -> None:
    routers, others = ip_address("ff05::2").packed, ip_address("ff05::3").packed

    assert not is_carried(routers)
    assert is_carried(others)
