"""Two endpoints, end to end, without any kernel: from the first handshake to the last."""

from collections.abc import Iterator
from random import Random

import pytest

from multiwanbond.core.burst import Burst
from multiwanbond.core.datagram import Address, LinkDown, LinkUp
from multiwanbond.core.endpoint import Endpoint
from multiwanbond.core.events import BondClosed, BondOpened, CloseReason, PathAddressChanged
from multiwanbond.core.path_state import PathState
from multiwanbond.core.settings import RoutingMode
from multiwanbond.core.statistics import PeerStatistics
from multiwanbond.core.wire import DatagramType
from multiwanbond.errors import DropReason

from .pair import CLIENT_IP, SERVER, SERVER_IP, Pair, settings, udp_packet


@pytest.fixture
def pair() -> Pair:
    connected = Pair()
    connected.connect()
    return connected


def peer_of(endpoint: Endpoint) -> PeerStatistics:
    return endpoint.statistics().peers[0]


def states(endpoint: Endpoint) -> dict[int, PathState]:
    return {path.path_id: path.state for path in peer_of(endpoint).paths}


def test_a_client_and_a_server_connect_over_every_wan(pair: Pair) -> None:
    for endpoint in (pair.client, pair.server):
        assert peer_of(endpoint).is_connected
        assert states(endpoint) == dict.fromkeys((1, 2, 3), PathState.UP)
    opened = BondOpened(peer="server", is_resumed=False, cipher="AES_256_GCM", inner_mtu=1420)
    assert opened in pair.events["client"]


def test_255_wans_make_one_bond() -> None:
    pair = Pair(delays=tuple(0.005 + n / 20_000 for n in range(255)), mode=RoutingMode.ROUND_ROBIN)
    pair.connect()
    pair.run(0.5)
    packets = [udp_packet(b"%d" % n) for n in range(1000)]

    for first in range(0, 1000, 50):
        pair.send(*packets[first : first + 50])
        pair.run(0.01)
    pair.run(0.1)

    for endpoint in (pair.client, pair.server):
        assert states(endpoint) == dict.fromkeys(range(1, 256), PathState.UP)
    assert sorted(pair.received("server")) == sorted(packets)
    assert {wan for up, wan, data in pair.log if up and data[0] >> 4 == DatagramType.DATA} == set(
        range(1, 256)
    )
    assert max(len(data) for _, _, data in pair.log) <= 1460


def test_the_handshake_needs_one_message_each_way() -> None:
    pair = Pair(delays=(0.05,))

    pair.client.handle_link_change(1, LinkUp(remote=SERVER), pair.now)
    pair.poll()
    pair.run(0.11)

    handshakes = [(up, data[0] >> 4) for up, _, data in pair.log if data[0] >> 4 <= 3]
    assert handshakes == [(True, 1), (False, 2)]
    assert any(isinstance(event, BondOpened) for event in pair.events["client"])


def test_the_round_trip_of_each_path_is_measured_at_both_ends(pair: Pair) -> None:
    pair.run(3)

    for endpoint in (pair.client, pair.server):
        rtts = {path.path_id: path.rtt for path in peer_of(endpoint).paths}
        assert rtts == {
            1: pytest.approx(0.010, abs=1e-4),
            2: pytest.approx(0.040, abs=1e-4),
            3: pytest.approx(0.025, abs=1e-4),
        }


def test_packets_travel_both_ways_in_order(pair: Pair) -> None:
    up = [udp_packet(b"up %d" % n) for n in range(100)]
    down = [udp_packet(b"down %d" % n, source=SERVER_IP, target=CLIENT_IP) for n in range(100)]

    pair.send(*up)
    pair.send(*down, from_client=False)
    pair.run(0.2)

    assert pair.received("server") == up
    assert pair.received("client") == down


def test_nothing_of_a_packet_is_readable_on_a_wan(pair: Pair) -> None:
    pair.send(udp_packet(b"the secret of the house" * 10))
    pair.run(0.1)

    assert all(b"secret" not in data for _, _, data in pair.log)


def tcp_run(size: int, mss: int) -> Burst:
    """What the kernel hands over for `size` bytes of a TCP stream."""
    head = bytearray(udp_packet(b"")[:20])
    head[9] = 6
    head[2:4] = (40 + size).to_bytes(2, "big")
    tcp = (
        b"\x30\x39\x00\x50" + (1000).to_bytes(4, "big") + bytes(4) + b"\x50\x18\x01\x00" + bytes(4)
    )
    payload = Random(1).randbytes(size)
    return Burst(
        bytes(head) + tcp + payload, segment_size=mss, header_length=40, is_checksum_partial=True
    )


def test_a_run_arrives_as_one_run(pair: Pair) -> None:
    burst = tcp_run(20_000, 1380)

    pair.client.handle_bursts([burst], pair.now)
    pair.poll()
    pair.run(0.1)

    (delivered,) = pair.delivered["server"]
    assert bytes(delivered.packet[40:]) == bytes(burst.packet[40:])
    assert (delivered.segment_size, delivered.header_length) == (1380, 40)
    assert peer_of(pair.client).sent_packets == 15
    assert peer_of(pair.server).received_packets == 15


def test_a_run_leaves_as_one_run_of_datagrams() -> None:
    pair = Pair(delays=(0.01,))
    pair.connect()

    pair.client.handle_bursts([tcp_run(20_000, 1380)], pair.now)

    (transmit,) = pair.client.poll_transmit()
    assert transmit.segment_size == 1380 + 40 + 32
    assert len(transmit.data) == 20_000 + 15 * (40 + 32)


def a_read(pair: Pair, burst: Burst) -> tuple[bytearray, int]:
    """A run's datagrams as the server's socket would give them, and the size of each."""
    pair.client.handle_bursts([burst], pair.now)
    (transmit,) = pair.client.poll_transmit()
    return bytearray(transmit.data), transmit.segment_size


def test_a_read_of_many_segments_is_delivered_once_however_often_it_is_replayed() -> None:
    pair = Pair(delays=(0.01,))
    pair.connect()
    read, size = a_read(pair, tcp_run(20_000, 1380))

    pair.inject(bytes(read), size=size)
    pair.inject(bytes(read), size=size)
    pair.inject(bytes(read[5 * size :]), size=size)

    (delivered,) = pair.delivered["server"]
    assert delivered.segment_count == 15
    assert pair.server.statistics().dropped[DropReason.REPLAYED] == 15 + 10


def test_a_forged_datagram_amid_a_read_is_the_only_one_lost() -> None:
    pair = Pair(delays=(0.01,))
    pair.connect()
    read, size = a_read(pair, tcp_run(20_000, 1380))
    forged = bytearray(read)
    forged[7 * size + 100] ^= 1

    pair.inject(bytes(forged), size=size)
    assert pair.server.statistics().dropped[DropReason.FORGED] == 1
    assert [burst.segment_count for burst in pair.delivered["server"]] == [7]

    pair.inject(bytes(read), size=size)
    assert [burst.segment_count for burst in pair.delivered["server"]] == [7, 8]


def test_a_run_from_an_inner_source_that_is_not_the_peers_is_refused_as_a_whole() -> None:
    pair = Pair(delays=(0.01,))
    pair.connect()
    burst = tcp_run(20_000, 1380)
    packet = bytearray(burst.packet)
    packet[15] += 1
    spoofed = Burst(bytes(packet), segment_size=1380, header_length=40, is_checksum_partial=True)
    read, size = a_read(pair, spoofed)

    pair.inject(bytes(read), size=size)

    assert pair.delivered["server"] == []
    assert pair.server.statistics().dropped[DropReason.BAD_SOURCE] == 15


def test_a_path_is_down_within_a_second_of_going_silent(pair: Pair) -> None:
    pair.run(1)
    stream(pair, seconds=1)
    cut_at = pair.now

    pair.drop = lambda _up, wan, _data: wan == 1
    stream(pair, seconds=1)

    assert states(pair.client)[1] is PathState.DOWN
    assert states(pair.server)[1] is PathState.DOWN
    path = peer_of(pair.client).paths[0]
    assert path.state_since - cut_at < 0.8


def stream(pair: Pair, *, seconds: float) -> None:
    """A packet each 10 ms, so that the bond is not idle."""
    for _ in range(round(seconds * 100)):
        pair.send(udp_packet(b"tick"))
        pair.run(0.01)


def fast_stream(pair: Pair, *, count: int) -> set[bytes]:
    """Numbered packets, 500 a second; return them."""
    packets = [udp_packet(b"number %d at %f" % (n, pair.now)) for n in range(count)]
    for packet in packets:
        pair.send(packet)
        pair.run(0.002)
    return set(packets)


def test_a_silent_path_is_abandoned_and_what_it_held_is_sent_elsewhere(pair: Pair) -> None:
    pair.run(1)
    fast_stream(pair, count=500)
    pair.run(0.1)
    pair.received("server")
    repaired = peer_of(pair.client).repaired_packets

    pair.drop = lambda _up, wan, _data: wan == 1
    sent = fast_stream(pair, count=500)
    pair.run(0.2)

    assert set(pair.received("server")) == sent
    assert peer_of(pair.client).paths[0].suspicions == 1
    assert 0 < peer_of(pair.client).repaired_packets - repaired <= 60


def test_one_lost_packet_is_sent_again_and_makes_no_path_suspect(pair: Pair) -> None:
    pair.run(1)
    last = len(pair.log)
    pair.drop = lambda up, wan, _data: up and wan == 1 and len(pair.log) == last + 1

    pair.send(udp_packet(b"lost"))
    pair.run(0.3)

    assert pair.received("server") == [udp_packet(b"lost")]
    assert [path.suspicions for path in peer_of(pair.client).paths] == [0, 0, 0]


@pytest.mark.parametrize("loss", [0.01, 0.05])
def test_a_lossy_line_delivers_everything_and_hardly_ever_late(loss: float) -> None:
    pair = Pair(delays=(0.02,))
    pair.connect()
    pair.drop = lambda up, _wan, data: up and data[0] >> 4 == 4 and pair.random.random() < loss
    packets = [udp_packet(b"%d" % n) for n in range(1000)]

    for packet in packets:
        pair.send(packet)
        pair.run(0.002)
    pair.run(1)

    assert len(pair.received("server")) >= 1000 - 1000 * loss**3
    reorder = peer_of(pair.server).reorder
    assert reorder is not None
    # Only what was lost three times comes after those behind it.
    assert reorder.late <= 1000 * loss**2
    # Where much is lost, what was lost is sent twice.
    assert 0.5 < peer_of(pair.client).repaired_packets / (1000 * loss) < 2.2


def test_a_lost_segment_in_the_middle_of_a_run_is_sent_again(pair: Pair) -> None:
    pair.run(1)
    burst = tcp_run(20_000, 1380)
    last = len(pair.log)
    pair.drop = lambda up, _wan, _data: up and last + 4 <= len(pair.log) <= last + 5

    pair.client.handle_bursts([burst], pair.now)
    pair.poll()
    pair.run(0.3)

    payload = b"".join(bytes(each.packet[40:]) for each in pair.delivered["server"])
    assert payload == bytes(burst.packet[40:])
    assert peer_of(pair.client).repaired_packets == 2


def test_nothing_is_sent_again_on_lines_that_lose_nothing(pair: Pair) -> None:
    fast_stream(pair, count=2000)
    pair.run(1)

    assert peer_of(pair.client).repaired_packets == 0


def test_a_path_that_was_only_frozen_loses_its_packets_but_not_its_state(pair: Pair) -> None:
    pair.run(1)
    fast_stream(pair, count=250)
    pair.events["client"].clear()

    pair.delays = (0.150, *pair.delays[1:])
    fast_stream(pair, count=75)
    pair.delays = (0.005, *pair.delays[1:])
    fast_stream(pair, count=75)

    assert peer_of(pair.client).paths[0].suspicions == 1
    assert pair.events["client"] == []


def test_the_peer_is_told_of_a_wan_that_lost_its_link(pair: Pair) -> None:
    pair.run(1)
    pair.drop = lambda _up, wan, _data: wan == 1
    pair.client.handle_link_change(1, LinkDown(reason="unplugged"), pair.now)
    pair.poll()
    pair.run(0.03)

    down = [udp_packet(b"%d" % n, source=SERVER_IP, target=CLIENT_IP) for n in range(10)]
    pair.send(*down, from_client=False)
    pair.run(0.1)

    assert pair.received("client") == down


def both_ways(pair: Pair, seconds: float) -> None:
    """Send 500 packets a second from either end."""
    for number in range(round(seconds / 0.002)):
        pair.send(udp_packet(b"up %d" % number))
        down = udp_packet(b"down %d" % number, source=SERVER_IP, target=CLIENT_IP)
        pair.send(down, from_client=False)
        pair.run(0.002)


@pytest.mark.parametrize(("seconds", "suspicions"), [(0.11, 0), (0.25, 1)])
def test_acks_may_be_late_for_a_while_on_a_path_by_which_packets_come(
    pair: Pair, seconds: float, suspicions: int
) -> None:
    pair.run(1)
    both_ways(pair, 0.5)

    is_ack = DatagramType.CONTROL
    pair.drop = lambda up, _wan, data: not up and data[0] >> 4 == is_ack
    both_ways(pair, seconds)
    pair.drop = lambda _up, _wan, _data: False
    both_ways(pair, 0.2)

    assert peer_of(pair.client).paths[0].suspicions == suspicions


def test_paths_that_work_are_never_suspected(pair: Pair) -> None:
    fast_stream(pair, count=2000)
    pair.run(30)
    fast_stream(pair, count=2000)

    for endpoint in (pair.client, pair.server):
        assert [path.suspicions for path in peer_of(endpoint).paths] == [0, 0, 0]


def test_packets_take_another_way_when_a_path_is_down(pair: Pair) -> None:
    pair.drop = lambda _up, wan, _data: wan == 1
    stream(pair, seconds=2)
    pair.run(0.1)
    pair.received("server")

    pair.send(udp_packet(b"detour"))
    pair.run(0.1)

    assert pair.received("server") == [udp_packet(b"detour")]


def test_a_returned_path_is_used_again_within_two_seconds(pair: Pair) -> None:
    pair.drop = lambda _up, wan, _data: wan == 1
    stream(pair, seconds=5)
    back_at = pair.now

    pair.drop = lambda _up, _wan, _data: False
    stream(pair, seconds=2)

    path = peer_of(pair.client).paths[0]
    assert path.state is PathState.UP
    assert path.state_since - back_at < 2


def test_an_idle_bond_also_notices_a_path_that_returned(pair: Pair) -> None:
    pair.run(30)
    pair.drop = lambda _up, wan, _data: wan == 1
    pair.run(30)
    assert states(pair.client)[1] is PathState.DOWN

    pair.drop = lambda _up, _wan, _data: False
    pair.run(2)

    assert states(pair.client)[1] is PathState.UP
    assert states(pair.server)[1] is PathState.UP


def test_an_idle_bond_is_quiet(pair: Pair) -> None:
    pair.run(10)
    pair.log.clear()

    pair.run(60)

    for wan_id in (1, 2, 3):
        for is_up in (True, False):
            octets = sum(len(d) + 28 for up, wan, d in pair.log if (up, wan) == (is_up, wan_id))
            assert octets * 8 / 60 < 2000, "bit/s on an idle WAN"


def test_a_server_hardly_knocks_at_a_wan_of_the_client_that_is_down(pair: Pair) -> None:
    pair.drop = lambda _up, wan, _data: wan == 1
    pair.run(10)
    pair.log.clear()

    pair.run(60)

    assert len([data for is_up, wan, data in pair.log if wan == 1 and not is_up]) <= 12
    assert len([data for is_up, wan, data in pair.log if wan == 1 and is_up]) <= 120


@pytest.mark.parametrize("dead", [1, 2, 3])
def test_any_wan_may_be_dead_from_the_start(dead: int) -> None:
    pair = Pair()
    pair.drop = lambda _up, wan, _data: wan == dead

    pair.connect()
    pair.send(udp_packet(b"through"))
    pair.run(0.5)

    assert pair.received("server") == [udp_packet(b"through")]


def test_the_last_path_is_never_gated() -> None:
    pair = Pair(delays=(0.01,))
    pair.connect()
    pair.drop = lambda up, _wan, data: up and data[0] >> 4 == 5  # probes die, packets do not

    pair.run(3)
    assert states(pair.client)[1] is PathState.DOWN
    pair.send(udp_packet(b"anyway"))
    pair.run(0.1)

    assert pair.received("server") == [udp_packet(b"anyway")]


def test_the_server_follows_a_client_whose_address_changes(pair: Pair) -> None:
    pair.sources[1] = Address("203.0.113.99", 51234)

    stream(pair, seconds=0.5)
    pair.send(udp_packet(b"answer", source=SERVER_IP, target=CLIENT_IP), from_client=False)
    pair.run(0.1)

    assert pair.received("client") == [udp_packet(b"answer", source=SERVER_IP, target=CLIENT_IP)]
    moved = [event for event in pair.events["server"] if isinstance(event, PathAddressChanged)]
    assert [(event.path_id, event.address_to) for event in moved] == [(1, pair.sources[1])]


def test_keys_change_every_two_minutes_without_losing_a_packet(pair: Pair) -> None:
    sent = 0
    for _ in range(1300):  # 390 s, three rekeys
        pair.send(udp_packet(b"%d" % sent))
        sent += 1
        pair.run(0.3)
    pair.run(0.2)

    assert pair.received("server") == [udp_packet(b"%d" % n) for n in range(sent)]
    resumed = [e for e in pair.events["client"] if isinstance(e, BondOpened) and e.is_resumed]
    assert len(resumed) == 3
    assert not any(isinstance(e, BondClosed) for e in pair.events["client"])


def test_a_restarted_server_is_found_again_within_seconds(pair: Pair) -> None:
    stream(pair, seconds=1)
    pair.server = Endpoint(settings(is_client=False), entropy=pair.random.randbytes, now=pair.now)

    stream(pair, seconds=4)
    pair.received("server")
    pair.send(udp_packet(b"again"))
    pair.run(0.1)

    assert pair.received("server") == [udp_packet(b"again")]


def test_a_restarted_client_replaces_its_old_bond_at_once(pair: Pair) -> None:
    stream(pair, seconds=1)
    pair.client = Endpoint(settings(is_client=True), entropy=pair.random.randbytes, now=pair.now)

    pair.connect()
    pair.send(udp_packet(b"reborn"))
    pair.run(0.1)

    assert pair.received("server")[-1] == udp_packet(b"reborn")
    assert BondClosed(peer="client", reason=CloseReason.REPLACED) in pair.events["server"]


def test_a_replayed_initiation_replaces_nothing(pair: Pair) -> None:
    initiation = next(data for _, _, data in pair.log if data[0] >> 4 == 1)
    pair.run(10)
    pair.log.clear()

    for _ in range(100):
        pair.inject(initiation, source=Address("192.0.2.66", 6666))

    assert pair.server.statistics().dropped[DropReason.REPLAYED_HANDSHAKE] == 100
    assert not any(data[0] >> 4 <= 3 for _, _, data in pair.log), "it was answered"
    assert not any(isinstance(event, BondClosed) for event in pair.events["server"])


def test_a_replayed_initiation_harms_nobody_even_after_a_server_restart(pair: Pair) -> None:
    initiation = next(data for _, _, data in pair.log if data[0] >> 4 == 1)
    pair.server = Endpoint(settings(is_client=False), entropy=pair.random.randbytes, now=pair.now)
    stream(pair, seconds=4)
    opened = len([event for event in pair.events["server"] if isinstance(event, BondOpened)])

    pair.inject(initiation, source=Address("192.0.2.66", 6666))
    stream(pair, seconds=1)

    assert not any(isinstance(event, BondClosed) for event in pair.events["server"])
    assert len([e for e in pair.events["server"] if isinstance(e, BondOpened)]) == opened
    assert peer_of(pair.server).is_connected


def test_replayed_forged_and_truncated_datagrams_change_nothing(pair: Pair) -> None:
    pair.send(udp_packet(b"once"))
    pair.run(0.2)
    assert len(pair.received("server")) == 1
    datagrams = [data for up, _, data in pair.log if up and data[0] >> 4 >= 4]
    before = {path.path_id: path.remote for path in peer_of(pair.server).paths}
    stranger = Address("192.0.2.66", 6666)

    for data in datagrams:
        pair.inject(data, source=stranger)
        forged = bytearray(data)
        forged[4:8] = (int.from_bytes(data[4:8], "big") + 1000).to_bytes(4, "big")
        pair.inject(bytes(forged), source=stranger)
        pair.inject(data[:31], source=stranger)

    dropped = pair.server.statistics().dropped
    assert dropped[DropReason.REPLAYED] == len(datagrams)
    assert dropped[DropReason.FORGED] == len(datagrams)
    assert dropped[DropReason.TOO_SHORT] == len(datagrams)
    assert pair.received("server") == []
    assert {path.path_id: path.remote for path in peer_of(pair.server).paths} == before


def random_datagrams(count: int) -> Iterator[bytes]:
    random = Random(11)
    for _ in range(count):
        yield random.randbytes(random.randrange(0, 200))


def test_random_datagrams_are_counted_and_never_answered(pair: Pair) -> None:
    pair.log.clear()

    for data in random_datagrams(5000):
        pair.inject(data, source=Address("192.0.2.66", 6666))

    assert sum(pair.server.statistics().dropped.values()) == 5000
    assert pair.log == []


def test_a_stranger_without_the_servers_key_gets_no_answer_even_under_load() -> None:
    stranger = Pair(client=settings(is_client=True, own_key=bytes([9]) * 32))
    stranger.client.handle_link_change(1, LinkUp(remote=SERVER), stranger.now)
    (transmit,) = stranger.client.poll_transmit()
    initiation = bytearray(transmit.data)
    initiation[-20] ^= 1  # what somebody who cannot compute MAC 1 would send

    for _ in range(1000):
        stranger.inject(bytes(initiation))

    assert stranger.log == []
    assert stranger.server.statistics().dropped[DropReason.BAD_MAC] == 1000


def test_a_stranger_who_knows_the_servers_key_is_refused_too() -> None:
    pair = Pair(client=settings(is_client=True, own_key=bytes([9]) * 32))

    pair.connect()

    assert not [data for up, _, data in pair.log if not up]
    assert pair.server.statistics().dropped[DropReason.UNKNOWN_PEER] > 0


def test_a_wrong_preshared_key_never_connects() -> None:
    pair = Pair(client=settings(is_client=True, psk=bytes([8]) * 32))

    pair.connect()
    pair.run(5)

    assert not peer_of(pair.client).is_connected
    assert not peer_of(pair.server).is_connected
    assert pair.client.statistics().dropped[DropReason.BAD_HANDSHAKE] > 0


def test_under_load_a_client_proves_its_address_and_gets_in() -> None:
    pair = Pair()
    flood = Pair(client=settings(is_client=True, own_key=bytes([9]) * 32))
    for _ in range(200):  # real initiations of a stranger, to use up what is answered unproven
        flood.client = Endpoint(
            settings(is_client=True, own_key=bytes([9]) * 32),
            entropy=flood.random.randbytes,
            now=pair.now,
        )
        flood.client.handle_link_change(1, LinkUp(remote=SERVER), pair.now)
        (transmit,) = flood.client.poll_transmit()
        pair.inject(bytes(transmit.data), source=Address("192.0.2.66", 6666))
    assert pair.server.statistics().dropped[DropReason.COOKIE_REQUIRED] > 0

    pair.connect()
    pair.run(1)

    assert peer_of(pair.client).is_connected


def test_an_inner_source_that_is_not_the_peers_is_refused(pair: Pair) -> None:
    pair.send(udp_packet(b"spoofed", source=bytes([10, 77, 0, 3])))
    pair.run(0.1)

    assert pair.received("server") == []
    assert pair.server.statistics().dropped[DropReason.BAD_SOURCE] == 1


def test_a_packet_for_nobody_is_counted(pair: Pair) -> None:
    pair.send(udp_packet(b"lost", source=SERVER_IP, target=b"\x08\x08\x08\x08"), from_client=False)

    assert pair.server.statistics().unroutable_packets == 1


def test_without_a_bond_packets_are_counted_as_unsendable() -> None:
    pair = Pair()

    pair.send(udp_packet(b"too early"))

    assert peer_of(pair.client).unsendable_packets == 1


def test_a_wan_without_link_is_left_alone_and_comes_back(pair: Pair) -> None:
    pair.client.handle_link_change(1, LinkDown(reason="carrier lost"), pair.now)
    pair.poll()
    pair.log.clear()
    pair.run(5)
    assert not [data for up, wan, data in pair.log if up and wan == 1]

    pair.client.handle_link_change(1, LinkUp(remote=SERVER), pair.now)
    pair.poll()
    pair.run(2)

    assert states(pair.client)[1] is PathState.UP


def test_closing_tells_the_peer(pair: Pair) -> None:
    pair.client.close(pair.now)
    pair.poll()
    pair.run(0.1)

    assert BondClosed(peer="client", reason=CloseReason.SHUT_DOWN) in pair.events["server"]
    assert not peer_of(pair.server).is_connected


def test_a_client_opens_a_new_bond_when_the_server_says_goodbye(pair: Pair) -> None:
    pair.server.close(pair.now)
    pair.poll()
    pair.run(0.1)
    pair.server = Endpoint(settings(is_client=False), entropy=pair.random.randbytes, now=pair.now)

    pair.run(3)

    assert peer_of(pair.client).is_connected


def test_a_silent_bond_is_forgotten_by_the_server(pair: Pair) -> None:
    pair.drop = lambda _up, _wan, _data: True

    pair.run(200)

    assert BondClosed(peer="client", reason=CloseReason.SILENT) in pair.events["server"]
