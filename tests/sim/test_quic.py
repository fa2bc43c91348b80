"""The QUIC model behaves as QUIC is known to, on plain lines without a tunnel."""

from math import sqrt

import pytest

from multiwanbond.core.datagram import Address
from multiwanbond.sim.bbr import Bbr
from multiwanbond.sim.inner import PlainHost, plain_line
from multiwanbond.sim.links import BurstLoss, LinkSettings
from multiwanbond.sim.quic import CHUNK, PAYLOAD, QuicTransfer
from multiwanbond.sim.world import START, World
from tests.sim.test_network import Pair

MBIT = 1e6 / 8
UP = LinkSettings(rate=20 * MBIT, delay=0.015)
DOWN = LinkSettings(rate=20 * MBIT, delay=0.015, queue=75_000)  # one round trip's worth
SHARE = CHUNK / (PAYLOAD + 28)
"""What the headers leave of a line."""
SEED = 21


def open_transfer(
    hosts: tuple[PlainHost, PlainHost], *, size: int | None = None, is_upload: bool = False
) -> QuicTransfer:
    transfer = QuicTransfer(
        *hosts,
        source=Address("192.0.2.1", 443),
        destination=Address("192.0.2.2", 2000),
        size=size,
        is_upload=is_upload,
    )
    transfer.start()
    return transfer


def test_it_fills_a_line_without_a_probe_timeout() -> None:
    world = World(SEED)
    transfer = open_transfer(plain_line(world, DOWN, UP))

    world.run_for(15.0)

    assert transfer.goodput(START + 3, START + 15) > 0.95 * 20 * MBIT * SHARE
    assert transfer.timeouts == 0
    assert transfer.sender.spurious == 0


def test_random_loss_keeps_it_down_as_theory_says() -> None:
    loss = 0.01
    world = World(SEED)
    line = LinkSettings(rate=100 * MBIT, delay=0.015, queue=250_000, loss=loss)
    transfer = open_transfer(plain_line(world, line, UP))

    world.run_for(20.0)

    # Mathis et al. 1997.
    theory = CHUNK / (0.030 * sqrt(loss)) * sqrt(3 / 2)
    assert 0.6 * theory < transfer.goodput(START + 5, START + 20) < 2 * theory


@pytest.mark.parametrize("is_upload", [False, True], ids=["download", "upload"])
@pytest.mark.parametrize("size", [1, CHUNK, 1_234_567])
def test_a_transfer_ends_when_every_byte_is_there(size: int, is_upload: bool) -> None:
    world = World(SEED)
    transfer = open_transfer(plain_line(world, DOWN, UP), size=size, is_upload=is_upload)

    world.run_until(lambda: transfer.is_done, within=10.0)
    world.run_for(1.0)

    assert transfer.progress[-1][1] == size
    assert transfer.sender.is_done


@pytest.mark.parametrize("size", [1, 100_000])
def test_a_transfer_survives_a_terrible_line(size: int) -> None:
    world = World(SEED)
    burst = BurstLoss(to_bad=0.05, to_good=0.3, loss_in_bad=0.8)
    bad = LinkSettings(rate=20 * MBIT, delay=0.015, loss=0.2, burst_loss=burst)
    transfer = open_transfer(plain_line(world, bad, bad), size=size)

    world.run_until(lambda: transfer.is_done, within=300.0)

    assert transfer.progress[-1][1] == size


def test_an_outage_is_survived_by_probing() -> None:
    world = World(SEED)
    far, near = plain_line(world, DOWN, UP)
    transfer = open_transfer((far, near), size=5_000_000)
    world.run_for(0.5)
    assert far.wire is not None

    far.wire.change(is_black=True)
    world.run_for(1.0)
    far.wire.change(is_black=False)
    world.run_until(lambda: transfer.is_done, within=10.0)

    assert transfer.timeouts > 0


def reordered(*delays: float) -> QuicTransfer:
    """Send packets in turn over two lines of these delays, with nothing to order them."""
    pair = Pair(SEED)
    for wan, delay in zip(pair.wans, delays, strict=True):
        wan.up.change(rate=20 * MBIT, delay=delay, queue=250_000, jitter=0.0, loss=0.0)
        wan.down.change(rate=20 * MBIT, delay=delay, jitter=0.0, loss=0.0)
    transfer = QuicTransfer(
        pair.client,
        pair.server,
        source=Address(pair.client.inner_hosts[0], 7000),
        destination=Address(pair.server.inner_hosts[0], 443),
        is_upload=True,
    )
    transfer.start()
    pair.world.run_for(10.0)
    return transfer


def test_reordering_is_taken_for_loss_and_collapses_it() -> None:
    even, uneven = reordered(0.025, 0.025), reordered(0.010, 0.025)

    rates = [transfer.goodput(START + 3, START + 10) for transfer in (even, uneven)]

    assert rates[0] > 0.8 * 40 * MBIT * SHARE
    assert rates[1] < 0.25 * rates[0]
    assert uneven.sender.reductions > 50
    # All it "lost" arrived.
    assert uneven.sender.spurious > 0.9 * uneven.resent


def test_bbr_runs_it_too() -> None:
    world = World(SEED)
    transfer = QuicTransfer(
        *plain_line(world, DOWN, UP),
        source=Address("192.0.2.1", 443),
        destination=Address("192.0.2.2", 2000),
        controller=Bbr,
    )
    transfer.start()

    world.run_for(10.0)

    assert transfer.goodput(START + 3, START + 10) > 0.9 * 20 * MBIT * SHARE
