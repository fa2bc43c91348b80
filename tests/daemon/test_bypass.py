"""What stays out of the tunnel follows the file, and the resolver."""

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import trio
from trio.testing import MockClock

from multiwanbond.core.datagram import Address
from multiwanbond.core.settings import TrafficClass
from multiwanbond.daemon.bypass import Bypass
from multiwanbond.daemon.machine import PlaceWish
from multiwanbond.daemon.places import MEMORY, REFRESH, Places, placed
from multiwanbond.daemon.plan import NOWHERE, BypassPlan
from multiwanbond.daemon.tunnel import Tunnel
from multiwanbond.linux.undo import Undo

from .machine import FakeMachine
from .sites import Sites, client_plan, wait_states
from .waiting import wait_until

BANK = "bank.example"
ONE, OTHER = "192.0.2.80", "2001:db8::80"


def bypassed(machine: FakeMachine) -> list[str]:
    return [each.removeprefix("bypass ") for each in machine.standing if "bypass" in each]


async def test_networks_interfaces_and_names_stay_out_until_the_end(tmp_path: Path) -> None:
    sites = Sites(tmp_path)
    sites.client.names[BANK] = [Address(ONE, 0), Address(OTHER, 0)]
    plan = BypassPlan(
        targets=(ip_network("10.9.0.0/16"), "guests"), places=PlaceWish(domains=(BANK,))
    )
    wanted = ["10.9.0.0/16", "guests", f"{ONE}/32", f"{OTHER}/128"]
    async with trio.open_nursery() as nursery:
        await sites.start_server(nursery)
        tunnel = await sites.start_client(nursery, replace(client_plan(tmp_path), bypass=plan))
        await wait_states(tunnel, "Up", "Up")
        await wait_until(lambda: bypassed(sites.client) == wanted)

        changed = BypassPlan(targets=("guests", ip_network("10.8.0.0/16")))
        await tunnel.reconfigure(replace(tunnel.plan, bypass=changed))
        await wait_until(lambda: bypassed(sites.client) == ["guests", "10.8.0.0/16"])
        nursery.cancel_scope.cancel()

    assert bypassed(sites.client) == []


async def test_an_address_counts_for_an_hour_after_a_resolver_last_named_it(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    machine = FakeMachine(Sites(Path()).client.host, names={BANK: [Address(ONE, 0)]})
    wish = PlaceWish(domains=(BANK,))
    changes = list[list[str]]()
    places = Places(machine, lambda: changes.append(list(map(str, places.networks(wish)))))
    places.want([wish])
    nursery.start_soon(places.run)
    await trio.sleep(1)
    machine.names[BANK] = [Address(OTHER, 0)]
    await trio.sleep(REFRESH)
    machine.names[BANK] = []  # the resolver does not answer: what was known stays
    await trio.sleep(MEMORY - 3 * REFRESH)
    machine.names[BANK] = [Address(OTHER, 0)]
    assert changes == [[f"{ONE}/32"], [f"{ONE}/32", f"{OTHER}/128"]]

    await trio.sleep(4 * REFRESH)

    assert changes[2:] == [[f"{OTHER}/128"]]


async def test_what_the_kernel_refuses_hinders_nothing_else(nursery: trio.Nursery) -> None:
    machine = FakeMachine(Sites(Path()).client.host)
    machine.fails_at = "bypass bad0"
    with Undo() as undo:
        plan = BypassPlan(targets=("bad0", ip_network("10.9.0.0/16")))
        nursery.start_soon(Bypass(plan, machine, Places(machine, print), undo).run)

        await wait_until(lambda: bypassed(machine) == ["10.9.0.0/16"])


async def test_a_class_has_the_networks_of_its_names_and_interfaces(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    sites = Sites(tmp_path)
    sites.client.names[BANK] = [Address(ONE, 0)]
    sites.client.networks["lan0"] = (ip_network("10.20.0.0/24"),)
    plan = client_plan(tmp_path)
    rule = TrafficClass(name="x", prefixes=(ip_network("10.9.0.0/16"),))
    nowhere = TrafficClass(name="y", prefixes=(NOWHERE,))
    wishes = (PlaceWish(domains=(BANK,), devices=("lan0",)), PlaceWish(devices=("gone0",)))
    plan = replace(
        plan, endpoint=replace(plan.endpoint, classes=(rule, nowhere)), class_places=wishes
    )
    await sites.start_server(nursery)
    tunnel = await sites.start_client(nursery, plan)

    wanted = [[*rule.prefixes, ip_network(ONE), ip_network("10.20.0.0/24")], [NOWHERE]]
    await wait_until(lambda: [list(each.prefixes) for each in now(tunnel)] == wanted)
    await tunnel.reconfigure(replace(plan, class_places=(PlaceWish(), PlaceWish())))
    assert now(tunnel) == (rule, nowhere)


def now(tunnel: Tunnel) -> tuple[TrafficClass, ...]:
    """The classes that the endpoint goes by."""
    return tunnel.endpoint._settings.classes


def test_without_names_and_interfaces_a_class_stays_as_it_is() -> None:
    rule = TrafficClass(name="x")

    assert placed([rule], [PlaceWish()], Places(FakeMachine(Sites(Path()).client.host), print)) == (
        rule,
    )
