"""Two WANs with the same gateway and subnet carry traffic, each by its own line."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from multiwanbond.lab.bond import Bond

from .conftest import BuildBond
from .sticks import HOST, OTHER_HOST, Sticks
from .test_bond import download

pytestmark = pytest.mark.netns

BuildSticks = Callable[..., Sticks]
LEAST = 200_000
"""Bytes that a line must have carried to count as used; probes and acks are far fewer."""


@pytest.fixture
def plug_in(kernel: None) -> Iterator[BuildSticks]:
    with ExitStack() as labs:
        yield lambda **options: labs.enter_context(Sticks(**options))


def connected(lab: Sticks, build_bond: BuildBond) -> Bond:
    bond = build_bond(lab, routes=("0.0.0.0/0",))
    for wan, host in zip(bond.client.document["wans"], lab.hosts, strict=True):
        wan["local_addr"] = host
    bond.client.write_config()
    bond.start()
    bond.wait_connected()
    for wan in lab.wans:
        bond.wait_state(wan.number, "Up")
    return bond


def carried(lab: Sticks, *, size: int = 10_000_000) -> list[int]:
    """The bytes that each line has brought of a download, which arrives intact."""
    before = delivered(lab)
    with closing(download(lab, size=size)) as transfer:
        assert transfer.wait(30).is_intact
    return [now - then for now, then in zip(delivered(lab), before, strict=True)]


def delivered(lab: Sticks) -> list[int]:
    statistics = lab.statistics()
    return [statistics[wan.device]["to_client"]["delivered_bytes"] for wan in lab.wans]


@pytest.mark.parametrize("hosts", [(HOST, HOST), (HOST, OTHER_HOST)], ids=["same", "own"])
def test_two_sticks_with_the_same_subnet_are_both_used(
    plug_in: BuildSticks, build_bond: BuildBond, hosts: tuple[str, str]
) -> None:
    lab = plug_in(hosts=hosts)
    bond = connected(lab, build_bond)

    by_line = carried(lab)

    assert min(by_line) > LEAST, by_line
    server = bond.server.status() or {}
    seen = {path["id"]: path["remote"].split(":")[0] for path in server["peers"][0]["paths"]}
    assert seen == {1: "10.91.1.2", 2: "10.91.2.2"}


@pytest.mark.parametrize("gone", [1, 2])
@pytest.mark.parametrize("hosts", [(HOST, HOST), (HOST, OTHER_HOST)], ids=["same", "own"])
def test_a_stick_is_pulled_out_and_put_back_beside_its_twin(
    plug_in: BuildSticks, build_bond: BuildBond, hosts: tuple[str, str], gone: int
) -> None:
    lab = plug_in(hosts=hosts)
    bond = connected(lab, build_bond)
    other = 3 - gone

    lab.unplug(gone)
    bond.wait_until(lambda status: bool(status["wans"][gone - 1]["waiting_for"]), 10.0, "waiting")
    alone = carried(lab, size=2_000_000)
    lab.plug_in(gone)
    bond.wait_state(gone, "Up")
    bond.wait_state(other, "Up")
    together = carried(lab)

    assert alone[other - 1] > 2_000_000
    assert min(together) > LEAST, together


def test_a_stick_that_goes_leaves_its_twin_the_rules_it_needs(
    plug_in: BuildSticks, build_bond: BuildBond
) -> None:
    lab = plug_in()
    bond = connected(lab, build_bond)
    before = rules_from(lab, HOST)

    lab.unplug(1)
    bond.wait_until(lambda status: bool(status["wans"][0]["waiting_for"]), 10.0, "waiting")
    time.sleep(0.5)

    assert len(before) == 3  # one to the main table, which both need, and one to each WAN's
    assert [rule for rule in before if rule in rules_from(lab, HOST)] == before[:1] + before[2:]


def rules_from(lab: Sticks, host: str) -> list[str]:
    said = lab.client.run("ip", "rule", "show", "from", host).stdout
    return sorted(" ".join(line.split()) for line in said.splitlines())


def test_two_routers_on_one_switch_are_both_used(
    plug_in: BuildSticks, build_bond: BuildBond
) -> None:
    lab = plug_in(hosts=(HOST, OTHER_HOST), is_switched=True)
    connected(lab, build_bond)

    # The routers ask anew who has the address; both interfaces hear it.
    for stick in lab.sticks:
        stick.run("ip", "neigh", "flush", "dev", "lan0")
    by_line = carried(lab)

    assert min(by_line) > LEAST, by_line
    for wan, stick in zip(lab.wans, lab.sticks, strict=True):
        mac = lab.client.run("cat", f"/sys/class/net/{wan.device}/address").stdout.strip()
        assert mac in stick.run("ip", "neigh", "show", lab.hosts[wan.number - 1]).stdout
