"""What leaves when: two endpoints, and lines that are slower than what is to be sent."""

from random import Random

import pytest

from multiwanbond.core.burst import Burst
from multiwanbond.core.dispatch import MOST_URGENT_WAIT, PATIENCE
from multiwanbond.core.flow import SPARSE_BURST, YOUNG_BYTES
from multiwanbond.core.pacer import TICK
from multiwanbond.core.statistics import PeerStatistics, ReorderStatistics
from multiwanbond.core.wire import OVERHEAD, DatagramType

from .inner_packets import TCP, Shape
from .pair import CLIENT_IP, SERVER_IP, Pair, udp_packet

MBIT = 1e6 / 8
SIZE = 1200
OTHER_IP = bytes([10, 77, 0, 9])


def slow(*mbit: float, delay: float = 0.02) -> Pair:
    """Two endpoints over lines of these rates, connected, their rates known."""
    pair = Pair(delays=(delay,) * len(mbit), rates=tuple(each * MBIT for each in mbit))
    pair.connect()
    pair.run(2)
    return pair


def client(pair: Pair) -> PeerStatistics:
    return pair.client.statistics().peers[0]


def reorder(pair: Pair) -> ReorderStatistics:
    statistics = pair.server.statistics().peers[0].reorder
    assert statistics is not None
    return statistics


def bulk(count: int, *, first: int = 0) -> list[bytes]:
    """Packets of one flow, far more than a flow may send and still be sparse."""
    return [udp_packet((first + n).to_bytes(4, "big").ljust(SIZE, b"b")) for n in range(count)]


def greeting(size: int) -> bytes:
    """A packet of another flow, of so many bytes with its header."""
    return udp_packet(bytes(size - 28), target=OTHER_IP)


def sizes_sent(pair: Pair, *, since: int) -> list[int]:
    """Bytes of the packets in the client's data datagrams, in the order they left."""
    return [
        len(data) - OVERHEAD
        for up, _, data in pair.log[since:]
        if up and data[0] >> 4 == DatagramType.DATA
    ]


def test_an_urgent_packet_leaves_while_bulk_waits() -> None:
    pair = slow(2.0)
    pair.send(*bulk(100))
    pair.run(0.1)
    arrived = len(pair.received("server"))

    pair.send(greeting(100))
    pair.run(0.06)

    assert arrived < 30
    assert greeting(100) in pair.received("server")


def test_packets_of_a_flow_that_waits_are_not_overtaken_by_their_own() -> None:
    pair = slow(2.0)
    packets = bulk(100)
    pair.send(*packets)
    pair.run(0.4)
    late = udp_packet(b"short")

    pair.send(late)
    pair.run(2)

    received = pair.received("server")
    assert len(received) > 60  # the queue drops some of so many
    assert received == [*sorted(received[:-1]), late]


@pytest.mark.parametrize(("seconds", "is_spared"), [(0.5, True), (PATIENCE + 1.0, False)])
def test_what_waits_is_spared_for_a_while_after_a_path_was_lost(
    seconds: float, *, is_spared: bool
) -> None:
    pair = slow(8.0, 2.0)
    pair.send(*bulk(200))
    pair.run(0.1)
    pair.drop = lambda _up, wan, _data: wan == 1
    pair.run(seconds)
    before = client(pair).shed_packets

    pair.send(*bulk(200, first=200))
    pair.run(1.0)

    assert (client(pair).shed_packets == before) == is_spared


def test_a_path_that_is_back_at_its_rate_ends_the_patience() -> None:
    pair = slow(8.0, 2.0)
    pair.drop = lambda _up, wan, _data: wan == 1
    pair.send(*bulk(100))
    pair.run(1.0)
    pair.drop = lambda _up, _wan, _data: False
    for number in range(10):
        pair.send(*bulk(40, first=1000 * number))
        pair.run(0.1)

    pair.send(*bulk(1000, first=100_000))
    pair.run(1.0)

    assert client(pair).shed_packets > 0


def test_a_sparse_udp_packet_does_not_wait_for_a_lost_one_of_its_flow() -> None:
    pair = Pair(delays=(0.05,))
    pair.connect()
    pair.run(2)
    pair.drop = lambda up, _wan, data: up and data[0] >> 4 == DatagramType.DATA
    pair.send(udp_packet(b"lost"))
    pair.drop = lambda _up, _wan, _data: False

    pair.send(udp_packet(b"next"))
    pair.run(0.055)

    assert pair.received("server") == [udp_packet(b"next")]


def test_a_sparse_tcp_packet_does_wait() -> None:
    pair = Pair(delays=(0.05,))
    pair.connect()
    pair.run(2)
    packets = [tcp_packet(1000), tcp_packet(1100)]
    pair.drop = lambda up, _wan, data: up and data[0] >> 4 == DatagramType.DATA
    pair.send(packets[0])
    pair.drop = lambda _up, _wan, _data: False

    pair.send(packets[1])
    pair.run(0.055)
    assert pair.received("server") == []
    pair.run(0.5)

    assert set(pair.received("server")) == set(packets)


def test_an_ack_waits_for_none_that_is_lost() -> None:
    pair = Pair(delays=(0.05,))
    pair.connect()
    pair.run(2)
    pair.drop = lambda up, _wan, data: up and data[0] >> 4 == DatagramType.DATA
    pair.send(tcp_packet(1000, size=0))
    pair.drop = lambda _up, _wan, _data: False

    pair.send(tcp_packet(1001, size=0))
    pair.run(0.055)

    assert pair.received("server") == [tcp_packet(1001, size=0)]


def test_data_waits_for_data_that_is_lost_and_for_no_ack() -> None:
    pair = Pair(delays=(0.05,))
    pair.connect()
    pair.run(2)
    pair.send(tcp_packet(900))
    pair.drop = lambda up, _wan, data: up and data[0] >> 4 == DatagramType.DATA
    pair.send(tcp_packet(1000, size=0))
    pair.drop = lambda _up, _wan, _data: False

    pair.send(tcp_packet(1000))
    pair.run(0.055)

    assert pair.received("server") == [tcp_packet(900), tcp_packet(1000)]


def tcp_packet(sequence: int, *, size: int = 100) -> bytes:
    packet = bytearray(Shape(protocol=TCP, sequence=sequence).packet(bytes(size)))
    packet[12:20] = CLIENT_IP + SERVER_IP
    return bytes(packet)


def test_a_repair_goes_before_what_waits() -> None:
    pair = slow(2.0)
    pair.run(1)
    odd = udp_packet(b"o" * (SIZE - 111))
    began = len(pair.log)
    is_lost = [False]

    def drop(up: bool, _wan: int, data: bytes) -> bool:
        if not up or is_lost[0] or len(data) - OVERHEAD != len(odd):
            return False
        is_lost[0] = True
        return True

    pair.drop = drop
    pair.send(*bulk(10), odd, *bulk(100, first=10))
    pair.run(1.5)

    order = sizes_sent(pair, since=began)
    first = order.index(len(odd))
    again = order.index(len(odd), first + 1)
    assert again - first < 25
    assert len(order) > again + 40
    assert pair.received("server")[:60] == [*bulk(10), odd, *bulk(49, first=10)]


def test_where_repairs_are_often_lost_too_each_is_sent_twice() -> None:
    """Once it is known that the line loses so much whatever one sends."""
    pair = slow(50.0, delay=0.05)
    lottery = Random(7)
    pair.drop = lambda up, _wan, _data: up and lottery.random() < 0.03
    offer(pair, seconds=6.0)
    needless, repaired = reorder(pair).duplicates, client(pair).repaired_packets

    packets = offer(pair, seconds=3.0)

    needless = reorder(pair).duplicates - needless
    repaired = client(pair).repaired_packets - repaired
    assert needless > 0.4 * repaired
    assert repaired < 0.08 * packets


def offer(pair: Pair, *, seconds: float) -> int:
    """Send 19 Mbit/s for so long; return how many packets that was."""
    rounds = round(seconds / 0.01)
    for first in range(rounds):
        pair.send(*bulk(20, first=20 * first))
        pair.run(0.01)
    return 20 * rounds


def test_of_all_that_a_dead_line_held_the_urgent_goes_first() -> None:
    pair = Pair(delays=(0.01, 0.03), rates=(20 * MBIT, 2 * MBIT))
    pair.connect()
    pair.run(2)
    began = len(pair.log)
    pair.drop = lambda _up, wan, _data: wan == 1

    pair.send(*bulk(40))
    pair.run(0.01)
    pair.send(greeting(300))
    pair.run(0.5)

    elsewhere = [
        len(data) - OVERHEAD
        for up, wan, data in pair.log[began:]
        if up and wan == 2 and data[0] >> 4 == DatagramType.DATA
    ]
    sparse = SPARSE_BURST // SIZE  # so many of the others had passed the queue, too
    assert elsewhere.index(300) <= sparse
    assert len(elsewhere) > 10
    assert greeting(300) in pair.received("server")


def test_what_the_queue_drops_makes_no_hole() -> None:
    pair = slow(2.0)

    pair.send(*bulk(2000))
    pair.run(15)

    received = pair.received("server")
    assert 100 < len(received) < 2000
    assert received == sorted(received)
    assert reorder(pair).given_up == 0
    assert client(pair).sent_packets == len(received)


def test_a_backlog_asks_to_be_woken_within_moments() -> None:
    pair = slow(2.0)

    pair.send(*bulk(50))

    at = pair.client.poll_timeout()
    assert at is not None
    assert pair.now <= at <= pair.now + 0.02


def test_a_flow_that_has_proved_to_be_bulk_fills_all_lines() -> None:
    pair = slow(6.0, 3.0)
    sent = 0

    def offer(octets: int) -> int:
        """Send so much at 13 Mbit/s; return how many packets arrive meanwhile."""
        nonlocal sent
        for _ in range(octets // (10 * SIZE)):
            pair.send(*bulk(10, first=sent))
            sent += 10
            pair.run(10 * SIZE / (13 * MBIT))
        return len(pair.received("server"))

    offer(2 * YOUNG_BYTES)
    arrived = offer(3_000_000) * (SIZE + 28 + OVERHEAD)

    assert arrived > 0.9 * 9 / 13 * 3_000_000


@pytest.mark.parametrize("mbit", [0.5, 5.0, 50.0])
def test_with_all_windows_closed_nobody_spins(mbit: float) -> None:
    pair = slow(mbit, mbit)
    pair.drop = lambda up, _wan, _data: not up  # no ack ever comes
    pair.send(*bulk(1000))

    wake_ups, end = 0, pair.now + 3.0
    while (at := pair.client.poll_timeout()) is not None and at < end:
        pair.now = max(pair.now, at)
        pair.client.handle_timeout(pair.now)
        for _ in pair.client.poll_transmit():
            pass
        wake_ups += 1

    assert wake_ups < 3.0 / TICK / 4


def test_a_flood_of_greetings_waits_like_everybody_else() -> None:
    pair = slow(1.0)
    began = len(pair.log)
    for number in range(200):
        pair.send(udp_packet(bytes(SPARSE_BURST // 4 - 28), target=bytes([10, 77, 1, number])))

    at_once = sum(sizes_sent(pair, since=began))
    pair.run(3)

    assert at_once < 1.2 * MOST_URGENT_WAIT * MBIT + SPARSE_BURST // 2
    assert len(pair.received("server")) == 200


def test_a_run_waits_and_leaves_in_pieces_and_arrives_whole() -> None:
    pair = slow(3.0)
    shape = Shape(protocol=TCP)
    run = shape.run(bytes(range(256)) * 200, 1300)
    packet = bytearray(run.packet)
    packet[12:20] = CLIENT_IP + SERVER_IP
    run = Burst(
        bytes(packet),
        segment_size=run.segment_size,
        header_length=run.header_length,
        is_checksum_partial=True,
    )

    pair.client.handle_bursts([run], pair.now)
    pair.poll()
    pair.run(1)

    pieces = pair.delivered["server"]
    payload = b"".join(bytes(each.packet[40:]) for each in pieces)
    assert payload == bytes(packet[40:])
    assert len(pieces) > 3
