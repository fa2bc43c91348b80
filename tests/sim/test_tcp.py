"""The TCP model behaves as TCP is known to, on plain lines without a tunnel."""

from math import sqrt

import pytest

from multiwanbond.core.datagram import Address
from multiwanbond.sim.congestion import Cubic, SlowStartExit
from multiwanbond.sim.inner import PlainHost, plain_line
from multiwanbond.sim.links import BurstLoss, LinkSettings
from multiwanbond.sim.tcp import Transfer
from multiwanbond.sim.tcp_sender import Detection
from multiwanbond.sim.traffic import Questions, Stream
from multiwanbond.sim.world import START, World
from tests.sim.test_network import Pair

MBIT = 1e6 / 8
UP = LinkSettings(rate=20 * MBIT, delay=0.015)
DOWN = LinkSettings(rate=20 * MBIT, delay=0.015, queue=75_000)  # one round trip's worth
SEED = 20


def open_transfer(
    hosts: tuple[PlainHost, PlainHost],
    number: int = 1,
    *,
    size: int | None = None,
    is_upload: bool = False,
) -> Transfer:
    transfer = Transfer(
        *hosts,
        source=Address("192.0.2.1", 1000 + number),
        destination=Address("192.0.2.2", 2000 + number),
        size=size,
        mtu=1500,
        is_upload=is_upload,
    )
    transfer.start()
    return transfer


def run_alone(down: LinkSettings, seconds: float) -> Transfer:
    world = World(SEED)
    transfer = open_transfer(plain_line(world, down, UP))
    world.run_for(seconds)
    return transfer


def test_cubic_fills_a_line_without_a_timeout() -> None:
    transfer = run_alone(DOWN, 15.0)

    share = transfer.goodput(START + 3, START + 15) / (20 * MBIT * 1448 / 1500)

    assert share > 0.95
    assert transfer.sender.timeouts == 0
    assert transfer.sender.resent < 200


def test_slow_start_ends_before_it_overflows_a_deep_queue() -> None:
    transfer = run_alone(LinkSettings(rate=20 * MBIT, delay=0.015, queue=300_000), 0.5)

    controller = transfer.sender.controller
    assert isinstance(controller, Cubic)
    assert controller.slow_start_exit is SlowStartExit.DELAY
    assert transfer.sender.resent == 0


@pytest.mark.parametrize("loss", [0.002, 0.01])
def test_random_loss_keeps_cubic_down_as_theory_says(loss: float) -> None:
    line = LinkSettings(rate=100 * MBIT, delay=0.015, queue=250_000, loss=loss)

    transfer = run_alone(line, 40.0)

    # Mathis et al. 1997; CUBIC's friendly region follows it, its cubic one is above.
    theory = 1448 / (0.030 * sqrt(loss)) * sqrt(3 / 2)
    rate = transfer.goodput(START + 10, START + 40)
    assert 0.6 * theory < rate < 2 * theory
    assert rate < 0.2 * 100 * MBIT


def test_two_flows_share_a_line() -> None:
    world = World(SEED)
    hosts = plain_line(world, DOWN, UP)
    transfers = [open_transfer(hosts, number) for number in (1, 2)]

    world.run_for(40.0)

    rates = [transfer.goodput(START + 10, START + 40) for transfer in transfers]
    fairness = sum(rates) ** 2 / (2 * sum(rate**2 for rate in rates))
    assert fairness > 0.9
    assert sum(rates) > 0.95 * 20 * MBIT * 1448 / 1500


@pytest.mark.parametrize("is_upload", [False, True], ids=["download", "upload"])
def test_a_transfer_ends_when_every_byte_is_there(is_upload: bool) -> None:
    world = World(SEED)
    transfer = open_transfer(plain_line(world, DOWN, UP), size=1_234_567, is_upload=is_upload)

    world.run_until(lambda: transfer.is_done, within=10.0)
    world.run_for(1.0)

    assert transfer.receiver.expected == 1_234_567
    assert transfer.sender.is_done


@pytest.mark.parametrize("size", [1, 1448, 100_000])
def test_a_transfer_survives_a_terrible_line(size: int) -> None:
    world = World(SEED)
    burst = BurstLoss(to_bad=0.05, to_good=0.3, loss_in_bad=0.8)
    bad = LinkSettings(rate=20 * MBIT, delay=0.015, loss=0.2, burst_loss=burst)
    transfer = open_transfer(plain_line(world, bad, bad), size=size)

    world.run_until(lambda: transfer.is_done, within=300.0)

    assert transfer.receiver.expected == size


def test_a_short_transfer_takes_the_round_trips_it_must() -> None:
    world = World(SEED)
    transfer = open_transfer(plain_line(world, DOWN, UP), size=10_000)

    took = world.run_until(lambda: transfer.is_done, within=10.0)

    # SYN, SYN-ACK, request, data: two round trips and the sending time.
    assert took == pytest.approx(0.060 + 10_000 / (20 * MBIT), abs=0.003)


def test_an_outage_ends_in_a_timeout_and_is_survived() -> None:
    world = World(SEED)
    far, near = plain_line(world, DOWN, UP)
    transfer = open_transfer((far, near), size=5_000_000)
    world.run_for(0.5)
    assert far.wire is not None

    far.wire.change(is_black=True)
    world.run_for(1.0)
    far.wire.change(is_black=False)
    world.run_until(lambda: transfer.is_done, within=10.0)

    assert transfer.sender.timeouts > 0


def reordered_transfer(detection: Detection) -> Transfer:
    """Send packets in turn over two WANs, one 15 ms slower, with nothing to order them."""
    pair = Pair(SEED)
    for wan, delay in zip(pair.wans, (0.010, 0.025), strict=True):
        wan.up.change(rate=20 * MBIT, delay=delay, queue=250_000, jitter=0.0)
        wan.down.change(rate=20 * MBIT, delay=delay, jitter=0.0)
    transfer = Transfer(
        pair.client,
        pair.server,
        source=Address(pair.client.inner_hosts[0], 7000),
        destination=Address(pair.server.inner_hosts[0], 80),
        is_upload=True,
        detection=detection,
    )
    transfer.start()
    pair.world.run_for(10.0)
    return transfer


def test_reordering_collapses_a_packet_threshold_and_is_tolerated_by_rack() -> None:
    by_packets = reordered_transfer(Detection.PACKET_THRESHOLD)
    by_time = reordered_transfer(Detection.RACK)

    rates = [t.goodput(START + 3, START + 10) / (40 * MBIT) for t in (by_packets, by_time)]

    assert rates[0] < 0.25
    assert rates[1] > 2 * rates[0]
    assert by_packets.receiver.duplicates > 100


def test_a_stream_knows_what_it_lost_and_how_long_the_rest_took() -> None:
    world = World(SEED)
    line = LinkSettings(rate=20 * MBIT, delay=0.02, loss=0.05)
    stream = Stream(
        *plain_line(world, line, UP),
        source=Address("fd77::1", 5000),
        destination=Address("fd77::2", 5001),
        size=200,
        interval=0.001,
    )

    stream.start(5.0)
    world.run_for(6.0)

    assert stream.sent == 5000
    assert stream.lost == pytest.approx(250, rel=0.2)
    assert stream.delay(0.5) == pytest.approx(0.02 + 200 / (20 * MBIT))
    assert stream.out_of_order == stream.duplicates == 0
    assert 0.001 < stream.longest_silence(START + 1, START + 4) < 0.006


def test_a_question_is_answered_after_one_round_trip() -> None:
    world = World(SEED)
    far, near = plain_line(world, DOWN, UP)
    questions = Questions(
        near,
        far,
        source=Address("192.0.2.2", 5000),
        destination=Address("192.0.2.1", 53),
        interval=0.1,
    )

    questions.start(10)
    world.run_for(2.0)

    assert questions.unanswered == 0
    assert questions.answers[9] == pytest.approx(0.030 + 300 / (20 * MBIT))
