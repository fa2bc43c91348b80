"""What stays out of the tunnel: networks, interfaces, and the addresses of names as they change."""

import logging
from collections.abc import Iterable
from ipaddress import ip_network
from typing import Final

import trio

from multiwanbond.core.settings import Prefix
from multiwanbond.errors import MultiWanBondError
from multiwanbond.linux.undo import Undo

from .machine import Machine
from .plan import BypassPlan
from .report import say
from .routes import Routes

REFRESH: Final = 60.0
"""Seconds between two looks at the names' addresses."""
MEMORY: Final = 3600.0
"""Seconds that an address counts after a resolver last named it: connections may still use it."""


class Bypass:
    """Keeps the kernel's rules as the plan, and the resolver, say."""

    def __init__(self, plan: BypassPlan, machine: Machine, undo: Undo) -> None:
        """Change nothing yet; what will be changed is taken back by `undo`."""
        self._plan = plan
        self._machine = machine
        self._rules: Routes[Prefix | str] = Routes("bypass", machine.bypass, undo)
        self._seen: dict[str, dict[Prefix, float]] = {}  # domain -> address -> when
        self._is_changed = trio.Event()
        self._complained: set[str] = set()

    def reconfigure(self, plan: BypassPlan) -> None:
        """Follow another plan, soon."""
        self._plan = plan
        self._is_changed.set()

    async def run(self) -> None:
        """Keep the rules right until cancelled."""
        while True:
            self._is_changed = trio.Event()
            plan = self._plan
            # What needs no resolver does not wait for one.
            await self._apply([*plan.targets, *self._addresses(plan)])
            if plan.domains:
                await self._look_up(plan)
                await self._apply([*plan.targets, *self._addresses(plan)])
            with trio.move_on_after(REFRESH if plan.domains else float("inf")):
                await self._is_changed.wait()

    def _addresses(self, plan: BypassPlan) -> list[Prefix]:
        for domain in [each for each in self._seen if each not in plan.domains]:
            del self._seen[domain]
        return [address for domain in plan.domains for address in self._seen.get(domain, {})]

    async def _look_up(self, plan: BypassPlan) -> None:
        now = trio.current_time()
        async with trio.open_nursery() as nursery:
            for domain in plan.domains:
                nursery.start_soon(self._look_up_one, domain, now)

    async def _look_up_one(self, domain: str, now: float) -> None:
        seen = self._seen.setdefault(domain, {})
        for address in await self._machine.resolve(domain, 0):
            seen[ip_network(address.host)] = now
        for old in [each for each, at in seen.items() if now - at > MEMORY]:
            del seen[old]

    async def _apply(self, targets: Iterable[Prefix | str]) -> None:
        wanted = list(dict.fromkeys(targets))
        failures = []
        for target in wanted:
            try:
                await trio.to_thread.run_sync(self._rules.add, [target])
            except MultiWanBondError as exc:
                failures.append(f"{target}: {exc}")
        failures += await trio.to_thread.run_sync(self._rules.keep_only, wanted)
        for failure in failures:
            if failure not in self._complained:
                self._complained.add(failure)
                say(logging.WARNING, f"Bypass of {failure}")
