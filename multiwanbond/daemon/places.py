"""The networks that names and interfaces stand for, as resolver and kernel tell by and by."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from ipaddress import ip_network
from typing import Final

import trio

from multiwanbond.core.settings import Prefix, TrafficClass

from .machine import Machine, PlaceWish

REFRESH: Final = 60.0
"""Seconds between two looks."""
MEMORY: Final = 3600.0
"""Seconds that an address counts after a resolver last named it: connections may still use it."""


class Places:
    """Looks up what is wanted every minute."""

    def __init__(self, machine: Machine, on_change: Callable[[], None]) -> None:
        """Look at nothing yet; `on_change` is told when a network came or went."""
        self._machine = machine
        self._on_change = on_change
        self._seen: dict[str, dict[Prefix, float]] = {}  # domain -> address -> when
        self._behind: dict[str, tuple[Prefix, ...]] = {}  # interface -> networks
        self._is_other = trio.Event()

    def want(self, wishes: Iterable[PlaceWish]) -> None:
        """Look for these from now on, and at once for those that are new."""
        wanted = list(wishes)
        domains = {domain for wish in wanted for domain in wish.domains}
        devices = {device for wish in wanted for device in wish.devices}
        if domains != self._seen.keys() or devices != self._behind.keys():
            self._seen = {each: self._seen.get(each, {}) for each in sorted(domains)}
            self._behind = {each: self._behind.get(each, ()) for each in sorted(devices)}
            self._is_other.set()

    def networks(self, wish: PlaceWish) -> list[Prefix]:
        """Return what is known by now."""
        found: list[Prefix] = []
        for domain in wish.domains:
            found += self._seen.get(domain, {})
        for device in wish.devices:
            found += self._behind.get(device, ())
        return found

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._is_other = trio.Event()
            before = self._known()
            self._behind = {each: self._machine.networks_behind(each) for each in self._behind}
            async with trio.open_nursery() as nursery:
                for domain, seen in self._seen.items():
                    nursery.start_soon(self._look_up, domain, seen)
            if self._known() != before:
                self._on_change()
            is_busy = bool(self._seen or self._behind)
            with trio.move_on_after(REFRESH if is_busy else float("inf")):
                await self._is_other.wait()

    async def _look_up(self, domain: str, seen: dict[Prefix, float]) -> None:
        now = trio.current_time()
        for address in await self._machine.resolve(domain, 0):
            seen[ip_network(address.host)] = now
        for old in [each for each, at in seen.items() if now - at > MEMORY]:
            del seen[old]

    def _known(self) -> object:
        return {domain: set(seen) for domain, seen in self._seen.items()}, dict(self._behind)


def placed(
    classes: Sequence[TrafficClass], wishes: Sequence[PlaceWish], places: Places
) -> tuple[TrafficClass, ...]:
    """Return classes with the networks of their names and interfaces, one wish for each."""
    return tuple(
        replace(each, prefixes=(*each.prefixes, *places.networks(wish))) if wish else each
        for each, wish in zip(classes, wishes, strict=True)
    )
