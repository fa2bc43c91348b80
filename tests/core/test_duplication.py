"""Which packets leave by several lines at once, what that is good for and what it may cost."""

from collections import Counter
from dataclasses import replace

import pytest

from multiwanbond.core.burst import Burst
from multiwanbond.core.duplication import BURST, SHARE
from multiwanbond.core.settings import DuplicateMode, DuplicationSettings, RoutingMode
from multiwanbond.core.statistics import PeerStatistics
from multiwanbond.core.wire import DatagramType

from .inner_packets import TCP, Shape
from .pair import CLIENT_IP, SERVER_IP, Pair, settings, udp_packet

MBIT = 1e6 / 8
INTERVAL = 0.05
STEADY = (0.02, 0.035)
LATE = (0.045, 0.035)


def lines(*mbit: float) -> Pair:
    """Two endpoints over two lines, the first of which is the quicker one, mostly."""
    pair = Pair(delays=STEADY, rates=tuple(each * MBIT for each in mbit))
    pair.connect()
    pair.run(2)
    return pair


def call(pair: Pair, *, packets: int, is_unsteady: bool, kind: bytes = b"voice") -> list[bytes]:
    """Send a packet every 50 ms, every third of them while the first line takes longer."""
    sent = [udp_packet(kind + number.to_bytes(4, "big")) for number in range(packets)]
    for number, packet in enumerate(sent):
        pair.delays = LATE if is_unsteady and number % 3 == 2 else STEADY
        pair.send(packet)
        pair.run(INTERVAL)
    return sent


def client(pair: Pair) -> PeerStatistics:
    return pair.client.statistics().peers[0]


def test_over_steady_lines_every_packet_leaves_once() -> None:
    pair = lines(20.0, 20.0)

    call(pair, packets=100, is_unsteady=False)

    assert client(pair).copied_packets == 0


def test_where_a_line_is_late_now_and_then_a_call_has_what_the_quicker_one_brings() -> None:
    pair = lines(20.0, 20.0)
    call(pair, packets=100, is_unsteady=True)
    pair.received("server")

    sent = [udp_packet(b"later" + number.to_bytes(4, "big")) for number in range(20)]
    on_time = []
    for packet in sent:
        pair.delays = LATE
        pair.send(packet)
        pair.run(max(STEADY) + 0.002)
        on_time += pair.received("server")
        pair.delays = STEADY
        pair.run(INTERVAL)

    assert on_time == sent
    assert client(pair).copied_packets >= 20
    assert client(pair).repaired_packets == 0


def test_a_packet_that_comes_twice_is_delivered_once() -> None:
    pair = lines(20.0, 20.0)

    sent = call(pair, packets=200, is_unsteady=True)
    pair.run(0.5)

    assert client(pair).copied_packets > 50
    assert sorted(pair.received("server")) == sorted(sent)


def test_over_a_line_that_loses_packets_a_call_loses_none_and_waits_for_none() -> None:
    pair = lines(20.0, 20.0)
    count = 0

    def drop(up: bool, wan: int, _data: bytes) -> bool:
        nonlocal count
        count += up and wan == 1
        return up and wan == 1 and count % 20 == 0

    pair.drop = drop
    call(pair, packets=200, is_unsteady=False)
    pair.run(0.5)
    pair.received("server")

    for packet in call(pair, packets=1, is_unsteady=False, kind=b"steady"):
        pair.run(0.5)
        assert pair.received("server") == [packet]
    for number in range(60):
        packet = udp_packet(b"last" + number.to_bytes(4, "big"))
        pair.send(packet)
        pair.run(max(STEADY) + 0.002)
        assert pair.received("server") == [packet]


def test_acks_leave_once_since_the_next_one_says_the_same() -> None:
    pair = lines(20.0, 20.0)
    call(pair, packets=100, is_unsteady=True)
    copied = client(pair).copied_packets

    for sequence in range(20):
        ack = bytearray(Shape(protocol=TCP, sequence=sequence).packet(b""))
        ack[12:20] = CLIENT_IP + SERVER_IP
        pair.send(bytes(ack))
        pair.run(INTERVAL)

    assert client(pair).copied_packets == copied


def test_copies_take_no_more_than_their_share_of_a_line() -> None:
    pair = lines(20.0, 2.0)
    call(pair, packets=100, is_unsteady=True)
    copied, began, size = client(pair).copied_packets, pair.now, 1000

    for number in range(300):
        pair.delays = LATE if number % 3 == 2 else STEADY
        for host in range(4):
            pair.send(udp_packet(bytes(size - 28), target=bytes([10, 77, number % 200, host])))
        pair.run(0.005)

    copied = client(pair).copied_packets - copied
    share = SHARE * 2 * MBIT
    assert 0 < copied * size <= 1.3 * share * (pair.now - began + BURST)


# --- what the operator wants


def duplicating(mode: DuplicateMode, *, wans: int = 3) -> Pair:
    """Two endpoints that duplicate everything, over lines of 10, 20, 30, ... ms one way."""
    ends = [
        replace(
            settings(is_client=is_client, wan_count=wans, mode=RoutingMode.LEAST_LATENCY),
            duplication=DuplicationSettings(packets=True, mode=mode),
        )
        for is_client in (True, False)
    ]
    delays = tuple(0.01 * number for number in range(1, wans + 1))
    pair = Pair(delays=delays, client=ends[0], server=ends[1])
    pair.connect()
    pair.run(1.0)
    pair.log.clear()
    return pair


def say(pair: Pair, count: int) -> list[bytes]:
    """Send a packet every 50 ms."""
    sent = [udp_packet(number.to_bytes(4, "big")) for number in range(count)]
    for packet in sent:
        pair.send(packet)
        pair.run(INTERVAL)
    return sent


def carried(pair: Pair) -> Counter[int]:
    """How many datagrams with packets left the client by which WAN."""
    return Counter(wan for up, wan, data in pair.log if up and data[0] >> 4 == DatagramType.DATA)


def test_first_sends_everything_by_all_wans() -> None:
    pair = duplicating(DuplicateMode.FIRST)

    sent = say(pair, 20)

    assert carried(pair) == {1: 20, 2: 20, 3: 20}
    assert pair.received("server") == sent
    assert client(pair).copied_packets == 40


def test_fastest_sends_everything_by_the_two_quickest_wans() -> None:
    pair = duplicating(DuplicateMode.FASTEST)

    say(pair, 20)

    assert carried(pair) == {1: 20, 2: 20}


def test_best_sends_the_copy_by_the_wan_that_loses_least() -> None:
    pair = duplicating(DuplicateMode.BEST)
    count = 0

    def drop(up: bool, wan: int, _data: bytes) -> bool:
        nonlocal count
        count += up and wan == 2
        return up and wan == 2 and count % 10 == 0

    pair.drop = drop
    pair.run(30.0)  # probes tell
    pair.log.clear()

    say(pair, 20)

    assert carried(pair) == {1: 20, 3: 20}


def test_a_run_is_duplicated_as_a_run_and_arrives_once() -> None:
    pair = duplicating(DuplicateMode.FASTEST, wans=2)
    head = bytearray(udp_packet(b"")[:20])
    head[9] = TCP
    head[2:4] = (40 + 20_000).to_bytes(2, "big")
    tcp = bytes(12) + b"\x50\x10\x01\x00" + bytes(4)
    run = Burst(
        bytes(head) + tcp + bytes(range(200)) * 100,
        segment_size=1300,
        header_length=40,
        is_checksum_partial=True,
    )

    pair.client.handle_bursts([run], pair.now)
    pair.poll()
    pair.run(0.2)

    (delivered,) = pair.delivered["server"]
    assert bytes(delivered.packet[40:]) == bytes(run.packet[40:])
    assert carried(pair) == {1: 16, 2: 16}
    assert client(pair).copied_packets == 16


@pytest.mark.parametrize("mode", list(DuplicateMode))
def test_a_call_loses_nothing_and_waits_for_nothing_when_a_wan_goes_black(
    mode: DuplicateMode,
) -> None:
    pair = duplicating(mode)
    pair.drop = lambda _up, wan, _data: wan == 1

    for number in range(100):
        packet = udp_packet(b"call" + number.to_bytes(4, "big"))
        pair.send(packet)
        pair.run(0.032)
        assert pair.received("server") == [packet]
