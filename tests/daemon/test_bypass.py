"""What stays out of the tunnel follows the file, and the resolver."""

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import trio
from trio.testing import MockClock

from multiwanbond.core.datagram import Address
from multiwanbond.daemon.bypass import MEMORY, REFRESH, Bypass
from multiwanbond.daemon.plan import BypassPlan
from multiwanbond.linux.undo import Undo

from .machine import FakeMachine
from .sites import Sites, client_plan, wait_states
from .waiting import wait_until

BANK = "bank.example"
THREADS = 0.02
"""Real seconds that virtual time stands still for threads, which it does not see."""
ONE, OTHER = "192.0.2.80", "2001:db8::80"


def bypassed(machine: FakeMachine) -> list[str]:
    return [each.removeprefix("bypass ") for each in machine.standing if "bypass" in each]


async def test_networks_interfaces_and_names_stay_out_until_the_end(tmp_path: Path) -> None:
    sites = Sites(tmp_path)
    sites.client.names[BANK] = [Address(ONE, 0), Address(OTHER, 0)]
    plan = BypassPlan(targets=(ip_network("10.9.0.0/16"), "guests"), domains=(BANK,))
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
    autojump_clock.autojump_threshold = THREADS
    machine = FakeMachine(Sites(Path()).client.host, names={BANK: [Address(ONE, 0)]})
    with Undo() as undo:
        bypass = Bypass(BypassPlan(domains=(BANK,)), machine, undo)
        nursery.start_soon(bypass.run)
        await trio.sleep(1)
        assert bypassed(machine) == [f"{ONE}/32"]

        machine.names[BANK] = [Address(OTHER, 0)]
        await trio.sleep(REFRESH)
        assert bypassed(machine) == [f"{ONE}/32", f"{OTHER}/128"]
        machine.names[BANK] = []  # the resolver does not answer: what was known stays
        await trio.sleep(MEMORY - 3 * REFRESH)
        assert bypassed(machine) == [f"{ONE}/32", f"{OTHER}/128"]
        machine.names[BANK] = [Address(OTHER, 0)]
        await trio.sleep(4 * REFRESH)

        assert bypassed(machine) == [f"{OTHER}/128"]


async def test_what_the_kernel_refuses_hinders_nothing_else(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    autojump_clock.autojump_threshold = THREADS
    machine = FakeMachine(Sites(Path()).client.host)
    machine.fails_at = "bypass bad0"
    with Undo() as undo:
        plan = BypassPlan(targets=("bad0", ip_network("10.9.0.0/16")))
        nursery.start_soon(Bypass(plan, machine, undo).run)
        await trio.sleep(1)

        assert bypassed(machine) == ["10.9.0.0/16"]
