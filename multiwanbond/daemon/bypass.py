"""What stays out of the tunnel: networks, interfaces, and the addresses of names as they change."""

import logging
from collections.abc import Iterable

import trio

from multiwanbond.core.settings import Prefix
from multiwanbond.errors import MultiWanBondError
from multiwanbond.linux.undo import Undo

from .machine import Machine
from .places import Places
from .plan import BypassPlan
from .report import say
from .routes import Routes


class Bypass:
    """Keeps the kernel's rules as the plan, and the resolver, say."""

    def __init__(self, plan: BypassPlan, machine: Machine, places: Places, undo: Undo) -> None:
        """Change nothing yet; what will be changed is taken back by `undo`."""
        self._plan = plan
        self._places = places
        self._rules: Routes[Prefix | str] = Routes("bypass", machine.bypass, undo)
        self._is_changed = trio.Event()
        self._complained: set[str] = set()

    def reconfigure(self, plan: BypassPlan) -> None:
        """Follow another plan, soon."""
        self._plan = plan
        self._is_changed.set()

    def look_again(self) -> None:
        """Follow what names stand for now, soon."""
        self._is_changed.set()

    async def run(self) -> None:
        """Keep the rules right until cancelled."""
        while True:
            self._is_changed = trio.Event()
            await self._apply([*self._plan.targets, *self._places.networks(self._plan.places)])
            await self._is_changed.wait()

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
