"""Times short downloads over a bond and over each of its lines alone: what browsing feels like.

Each fetch is a connection of its own: SYN, SYN-ACK, request, data from a window of ten segments.
Its time runs from the client's SYN to the last byte. The lines alone have no tunnel, but its header
counted, as on the scoreboard. What befalls a scenario's lines is left out: this is fair weather.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from multiwanbond.core.datagram import Address
from multiwanbond.core.settings import RoutingMode

from .bonded import INNER_MTU, Bonded
from .inner import plain_line
from .network import WanLinks
from .scenarios import Scenario
from .scoreboard import InnerSender, percentile, without_tunnel_header
from .tcp import Transfer
from .world import World

SIZES: Final = (10_000, 100_000, 1_000_000)
"""Bytes of the fetches that are made one after the other."""
REPEATS: Final = 9
PAUSE: Final = 0.3
"""Seconds between two fetches."""
PAGE_FETCHES: Final = 20
"""Connections a web page opens at once."""
PAGE_REPEATS: Final = 3
SHORT_SIZE: Final = 100_000
"""Bytes of each fetch of a page and beside a bulk transfer."""
SHORT_FLOWS: Final = 50
SHORT_INTERVAL: Final = 0.1
"""One of the short flows begins this often."""
BULK_HEAD_START: Final = 1.0
"""Seconds until a bulk transfer has filled the lines."""
LONGEST: Final = 30.0
"""A fetch that takes longer than this is given up and counts as this long."""

Open = Callable[[int | None], Transfer]
"""Starts a download of so many bytes; None: without end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchTimes:
    """How long one kind of fetch took; seconds."""

    bond: float
    best_line: float
    """Over the line alone that was best at this kind."""
    line: int
    """Which line that was, from 1."""

    @property
    def ratio(self) -> float:
        """Time over the bond as a multiple of that over the line; below 1 the bond is sooner."""
        return self.bond / self.best_line


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchFigures:
    """What one scenario gave."""

    name: str
    sender: InnerSender
    mode: RoutingMode
    seed: int
    fetches: dict[int, FetchTimes]
    """By size in bytes, one after the other while nothing else runs; medians."""
    page: FetchTimes
    """Until the last of 20 fetches that begin at once has ended; medians."""
    beside: FetchTimes
    """95th percentile of 50 short flows beside a bulk transfer."""
    undisturbed: float
    """95th percentile of the same 50 over the bond without the bulk transfer."""

    @property
    def disturbance(self) -> float:
        """Time of a short flow beside a bulk transfer as a multiple of its time without."""
        return self.beside.bond / self.undisturbed


def measure_fetches(
    name: str,
    scenario: Scenario,
    sender: InnerSender,
    seed: int,
    mode: RoutingMode = RoutingMode.ADAPTIVE,
) -> FetchFigures:
    """Fetch over the bond and over each line alone, each kind in a world of its own."""
    bond = _bond_opener(scenario, sender, seed, mode)
    lines = [_line_opener(wan, sender, seed) for wan in scenario.wans]

    def compare(fetch: Callable[[World, Open], float]) -> FetchTimes:
        alone = [fetch(*make()) for make in lines]
        best = min(alone)
        return FetchTimes(bond=fetch(*bond()), best_line=best, line=alone.index(best) + 1)

    return FetchFigures(
        name=name,
        sender=sender,
        mode=mode,
        seed=seed,
        fetches={size: compare(_one_by_one(size)) for size in SIZES},
        page=compare(_page),
        beside=compare(_beside_bulk),
        undisturbed=_short_flows(*bond()),
    )


# --- where to fetch from -------------------------------------------------------------------------


def _bond_opener(
    scenario: Scenario, sender: InnerSender, seed: int, mode: RoutingMode
) -> Callable[[], tuple[World, Open]]:
    """Return what makes a world with an idle bond over all lines."""

    def make() -> tuple[World, Open]:
        bonded = Bonded(seed, wans=scenario.wans, mode=mode)
        bonded.connect()
        client, controller = bonded.client, sender.controller
        return bonded.world, lambda size: client.transfer(size, controller=controller)

    return make


def _line_opener(wan: WanLinks, sender: InnerSender, seed: int) -> Callable[[], tuple[World, Open]]:
    """Return what makes a world with one line and no tunnel."""

    def make() -> tuple[World, Open]:
        world = World(seed)
        hosts = plain_line(world, without_tunnel_header(wan.down), without_tunnel_header(wan.up))
        count = 0

        def open_transfer(size: int | None) -> Transfer:
            nonlocal count
            count += 1
            transfer = Transfer(
                *hosts,
                source=Address("192.0.2.1", 20_000 + count),
                destination=Address("192.0.2.2", 30_000 + count),
                size=size,
                mtu=INNER_MTU,
                controller=sender.controller,
            )
            transfer.start()
            return transfer

        return world, open_transfer

    return make


# --- the kinds of fetches ------------------------------------------------------------------------


def _one_by_one(size: int) -> Callable[[World, Open], float]:
    def fetch(world: World, start: Open) -> float:
        times = []
        for _ in range(REPEATS):
            times.append(_wait_all(world, [start(size)]))
            world.run_for(PAUSE)
        return median(times)

    return fetch


def _page(world: World, start: Open) -> float:
    times = []
    for _ in range(PAGE_REPEATS):
        times.append(_wait_all(world, [start(SHORT_SIZE) for _ in range(PAGE_FETCHES)]))
        world.run_for(PAUSE)
    return median(times)


def _beside_bulk(world: World, start: Open) -> float:
    start(None)
    world.run_for(BULK_HEAD_START)
    return _short_flows(world, start)


def _short_flows(world: World, start: Open) -> float:
    """Return the 95th percentile of the time of short flows that begin whatever others do."""
    transfers = []
    for _ in range(SHORT_FLOWS):
        transfers.append(start(SHORT_SIZE))
        world.run_for(SHORT_INTERVAL)
    _wait_all(world, transfers)
    times = percentile(sorted(_time_of(transfer) for transfer in transfers), 0.95)
    assert times is not None
    return times


def _wait_all(world: World, transfers: Sequence[Transfer]) -> float:
    """Let time pass until all have ended or are given up; return the longest time of them."""
    try:
        world.run_until(lambda: all(each.is_done for each in transfers), within=LONGEST)
    except TimeoutError:
        return LONGEST
    return max(map(_time_of, transfers))


def _time_of(transfer: Transfer) -> float:
    if transfer.started_at is None or transfer.finished_at is None:
        return LONGEST
    return min(LONGEST, transfer.finished_at - transfer.started_at)
