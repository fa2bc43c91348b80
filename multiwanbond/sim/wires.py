"""Links that run in a world, and what an attacker or a bad network may do in front of them."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from random import Random
from typing import Any, Generic, NamedTuple

from .links import Item, Link, LinkSettings, LinkStatistics
from .world import Timer, World


class Wire(Generic[Item]):
    """A link whose packets arrive by themselves."""

    def __init__(
        self, world: World, settings: LinkSettings, rng: Random, on_arrival: Callable[[Item], None]
    ) -> None:
        self._world = world
        self._link: Link[Item] = Link(settings, rng)
        self._on_arrival = on_arrival
        self._timer = Timer(world, self._arrive)

    @property
    def settings(self) -> LinkSettings:
        """What the link is like now."""
        return self._link.settings

    @property
    def statistics(self) -> LinkStatistics:
        """What became of the packets so far."""
        return self._link.statistics

    def send(self, item: Item, size: int) -> None:
        """Put an IP packet of `size` bytes on the wire."""
        self._link.push(item, size, self._world.now)
        self._timer.set(self._link.next_due())

    def change(self, **changes: Any) -> None:
        """Replace some of the link's settings from now on."""
        self._link.reconfigure(replace(self._link.settings, **changes), self._world.now)
        self._timer.set(self._link.next_due())

    def _arrive(self) -> None:
        on_arrival = self._on_arrival
        for item in self._link.pop_due(self._world.now):
            on_arrival(item)
        self._timer.set(self._link.next_due())


class Altered(NamedTuple):
    """One datagram that leaves a tamperer."""

    data: bytes
    after: float = 0.0
    """Seconds it is kept back; later ones overtake it meanwhile."""


Tamper = Callable[[bytes], Iterable[Altered]]
"""What becomes of a datagram before it reaches the link: nothing, one, several, another one."""


class Scrambler:
    """A terrible network: loses, doubles, delays and corrupts datagrams at random."""

    def __init__(
        self,
        rng: Random,
        *,
        loss: float = 0.0,
        duplication: float = 0.0,
        corruption: float = 0.0,
        delay: float = 0.0,
    ) -> None:
        self._rng = rng
        self._loss = loss
        self._duplication = duplication
        self._corruption = corruption
        self._delay = delay
        self.corrupted = 0
        """Datagrams changed so far."""

    def __call__(self, data: bytes) -> Iterable[Altered]:
        """Return what comes out for `data`."""
        rng = self._rng
        if rng.random() < self._loss:
            return
        yield Altered(self._maybe_corrupt(data), rng.random() * self._delay)
        while rng.random() < self._duplication:
            yield Altered(self._maybe_corrupt(data), rng.random() * self._delay)

    def _maybe_corrupt(self, data: bytes) -> bytes:
        if not data or self._rng.random() >= self._corruption:
            return data
        self.corrupted += 1
        changed = bytearray(data)
        changed[self._rng.randrange(len(data))] ^= 1 << self._rng.randrange(8)
        return bytes(changed)


class Recorder:
    """An eavesdropper: keeps a copy of every datagram and passes it on."""

    def __init__(self) -> None:
        self.datagrams: list[bytes] = []
        """What went by, oldest first."""

    def __call__(self, data: bytes) -> Iterable[Altered]:
        """Keep and pass on `data`."""
        self.datagrams.append(data)
        return (Altered(data),)
