"""BBR behaves as it is known to, on plain lines without a tunnel."""

from dataclasses import replace
from typing import cast

import pytest

from multiwanbond.core.datagram import Address
from multiwanbond.sim.bbr import Bbr, BbrState
from multiwanbond.sim.inner import PlainHost, plain_line
from multiwanbond.sim.links import LinkSettings
from multiwanbond.sim.tcp import Transfer
from multiwanbond.sim.world import START, World

MBIT = 1e6 / 8
PAYLOAD = 1448 / 1500
LINE = LinkSettings(rate=10 * MBIT, delay=0.015, queue=200_000)
SEED = 42


def open_transfer(hosts: tuple[PlainHost, PlainHost], number: int = 1) -> Transfer:
    transfer = Transfer(
        *hosts,
        source=Address("192.0.2.1", 1000 + number),
        destination=Address("192.0.2.2", 2000 + number),
        mtu=1500,
        controller=Bbr,
    )
    transfer.start()
    return transfer


def controller_of(transfer: Transfer) -> Bbr:
    return cast(Bbr, transfer.sender.controller)


def run_alone(line: LinkSettings, seconds: float) -> Transfer:
    print(f"seed {SEED}")
    world = World(SEED)
    transfer = open_transfer(plain_line(world, line, LINE))
    world.run_for(seconds)
    return transfer


@pytest.mark.parametrize("loss", [0.0, 0.01, 0.03])
def test_a_line_is_filled_whether_it_loses_packets_or_not(loss: float) -> None:
    transfer = run_alone(replace(LINE, loss=loss), 6.0)

    share = transfer.goodput(START + 1, START + 6) / (10 * MBIT * PAYLOAD)

    assert share > 0.94 * (1 - loss)
    assert transfer.sender.timeouts == 0


def test_the_model_is_the_line() -> None:
    bbr = controller_of(run_alone(LINE, 5.0))

    assert bbr.state is BbrState.PROBE_RATE
    assert bbr.rate == pytest.approx(10 * MBIT / 1500, rel=0.05)
    assert 0.030 <= bbr.min_rtt < 0.040


def test_a_deep_queue_is_not_filled() -> None:
    world = World(SEED)
    transfer = open_transfer(plain_line(world, replace(LINE, queue=10_000_000), LINE))
    world.run_for(5.0)

    assert transfer.sender.srtt is not None
    assert transfer.sender.srtt < 0.070
    assert transfer.sender.resent == 0


def test_the_delay_is_measured_anew_every_ten_seconds() -> None:
    world = World(SEED)
    far, near = plain_line(world, LINE, LINE)
    transfer = open_transfer((far, near))
    bbr = controller_of(transfer)
    world.run_for(2.0)
    before = bbr.min_rtt
    assert far.wire is not None
    far.wire.change(delay=0.040)

    world.run_until(lambda: bbr.state is BbrState.PROBE_RTT, within=12.0)
    world.run_until(lambda: bbr.state is BbrState.PROBE_RATE, within=1.0)
    during = world.now
    world.run_for(3.0)

    assert before < 0.040
    assert 0.055 <= bbr.min_rtt < 0.075
    assert transfer.goodput(during + 1, during + 3) > 0.9 * 10 * MBIT * PAYLOAD


def test_two_flows_fill_a_line_together() -> None:
    world = World(SEED)
    hosts = plain_line(world, LINE, LINE)
    transfers = [open_transfer(hosts, number) for number in (1, 2)]

    world.run_for(8.0)

    rates = [transfer.goodput(START + 2, START + 8) for transfer in transfers]
    assert sum(rates) > 0.9 * 10 * MBIT * PAYLOAD
    assert min(rates) > 0.2 * sum(rates)


def test_an_outage_is_survived() -> None:
    world = World(SEED)
    far, near = plain_line(world, LINE, LINE)
    transfer = open_transfer((far, near))
    assert far.wire is not None
    world.run_for(2.0)
    far.wire.change(is_black=True)
    world.run_for(1.0)
    far.wire.change(is_black=False)
    world.run_for(6.0)

    assert transfer.sender.timeouts >= 1
    assert transfer.goodput(START + 5, START + 9) > 0.9 * 10 * MBIT * PAYLOAD
