"""Times short downloads with the kernel's TCP, over an idle bond and over each of its lines alone.

What is fetched is what the simulator fetches (see `multiwanbond.sim.fetches`), and so fair weather
too. One lab serves a whole scenario: first each line alone without a tunnel, then the bond, which
thus knows from one kind of fetch what its lines can take at the next.
"""

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from multiwanbond.errors import PlatformError
from multiwanbond.lab import processes, programs
from multiwanbond.lab.bench import percentile, scale_of, specs_of
from multiwanbond.lab.bench_run import connected_bond
from multiwanbond.lab.bond import SERVER_INNER_IPV4
from multiwanbond.lab.namespaces import Namespace, inside
from multiwanbond.lab.topology import Topology
from multiwanbond.sim.fetches import (
    BULK_HEAD_START,
    LONGEST,
    PAGE_FETCHES,
    PAGE_REPEATS,
    PAUSE,
    REPEATS,
    SHORT_FLOWS,
    SHORT_INTERVAL,
    SHORT_SIZE,
    SIZES,
    FetchTimes,
)
from multiwanbond.sim.scenarios import SCENARIOS, Scenario

DEFAULT_SCENARIOS: Final = tuple(SCENARIOS)[:4]
"""S1 to S4, the mixes whose lines only carry."""
PINGS: Final = 25
PING_INTERVAL: Final = 0.1
_PING_PATIENCE: Final = 1.0
_PORT: Final = 5202
_MARGIN: Final = 30.0
"""Seconds for a test program to start and end on a busy machine."""
_NO_METRICS: Final = Path("/proc/sys/net/ipv4/tcp_no_metrics_save")


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchPlan:
    """How every scenario is measured."""

    congestion: str = "cubic"
    """Of the end that serves."""
    repeats: int = REPEATS
    page_repeats: int = PAGE_REPEATS
    short_flows: int = SHORT_FLOWS
    pings: int = PINGS


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the asking end said of one kind of fetch, or of pings."""

    times: tuple[tuple[float | None, ...], ...]
    """Seconds, by group of what began together; None: given up."""
    received: int = 0
    """Bytes, those of downloads without end left out."""
    bulk: int = 0
    """Bytes of the download beside."""

    @property
    def seconds(self) -> list[float]:
        """How long each took; what was given up took the longest there is."""
        return [LONGEST if one is None else one for group in self.times for one in group]

    @property
    def given_up(self) -> int:
        """How many of them did not end in time."""
        return sum(one is None for group in self.times for one in group)

    @property
    def median(self) -> float:
        """Median over the groups of when the last of each had ended."""
        return statistics.median(
            max(LONGEST if one is None else one for one in group) for group in self.times
        )

    @property
    def p95(self) -> float:
        """95th percentile, whatever the group."""
        found = percentile(self.seconds, 0.95)
        assert found is not None
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What was measured over one line alone, or over the bond."""

    ping: float
    """Median round trip in seconds of what came back."""
    fetches: dict[int, Said]
    """By size in bytes, one after the other."""
    page: Said
    """A group began at once."""

    @property
    def kinds(self) -> tuple[Said, ...]:
        """All its fetches."""
        return (*self.fetches.values(), self.page)


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelFetches:
    """What one scenario gave."""

    name: str
    scale: float
    """What the lines' rates were multiplied with, 1 mostly."""
    lines: tuple[Way, ...]
    bond: Way
    undisturbed: Said
    """Short flows over the bond, one every 0.1 s."""
    beside: Said
    """The same beside a bulk download."""

    @property
    def fetches(self) -> dict[int, FetchTimes]:
        """By size in bytes; medians."""
        return {size: self._compare(partial(_median_of, size)) for size in SIZES}

    @property
    def page(self) -> FetchTimes:
        """Until the last of 20 fetches that begin at once has ended; medians."""
        return self._compare(lambda way: way.page.median)

    @property
    def ping(self) -> FetchTimes:
        """Round trips; medians."""
        return self._compare(lambda way: way.ping)

    @property
    def disturbance(self) -> float:
        """Time of a short flow beside a bulk download as a multiple of its time without."""
        return self.beside.p95 / self.undisturbed.p95

    @property
    def given_up(self) -> int:
        """How many fetches over the bond did not end in time."""
        return sum(said.given_up for said in (*self.bond.kinds, self.undisturbed, self.beside))

    def _compare(self, read: Callable[[Way], float]) -> FetchTimes:
        alone = [read(line) for line in self.lines]
        best = min(alone)
        return FetchTimes(bond=read(self.bond), best_line=best, line=alone.index(best) + 1)


def _median_of(size: int, way: Way) -> float:
    return way.fetches[size].median


def measure(name: str, scenario: Scenario, plan: FetchPlan) -> KernelFetches:
    """Fetch over each line of a scenario alone, then over the bond.

    Raises:
        PlatformError: the lab or a test program failed.
    """
    scale = scale_of(scenario)
    with Topology(specs_of(scenario, scale), purpose="bench") as lab:
        for namespace in (lab.server, lab.client):
            _forget_connections(namespace)
        congestion = f"--congestion={plan.congestion}"
        serving = programs.start(lab.server, "fetch_end", "serve", str(_PORT), congestion)
        try:
            serving.wait_ready()
            lines = tuple(_measure_way(lab.client, wan.gateway_ipv4, plan) for wan in lab.wans)
            connected_bond(lab)
            return KernelFetches(
                name=name,
                scale=scale,
                lines=lines,
                bond=_measure_way(lab.client, SERVER_INNER_IPV4, plan),
                undisturbed=_stream(lab.client, plan),
                beside=_stream(lab.client, plan, is_beside_bulk=True),
            )
        finally:
            processes.stop(serving.process)


def _forget_connections(namespace: Namespace) -> None:
    """Keep the kernel from beginning a connection with what it learned from an earlier one."""
    with inside(namespace.name):
        if _NO_METRICS.read_text().strip() == "1":
            return
        _NO_METRICS.write_text("1")
        if _NO_METRICS.read_text().strip() != "1":
            raise PlatformError(
                f"The kernel keeps {_NO_METRICS} in {namespace.name} as it was.",
                "Repeated fetches would learn from each other. Is /proc/sys writable?",
            )


def _measure_way(client: Namespace, host: str, plan: FetchPlan) -> Way:
    one_by_one = partial(_groups, client, host, at_once=1, repeats=plan.repeats)
    return Way(
        ping=_ping(client, host, plan.pings),
        fetches={size: one_by_one(size) for size in SIZES},
        page=_groups(client, host, SHORT_SIZE, at_once=PAGE_FETCHES, repeats=plan.page_repeats),
    )


def _ping(client: Namespace, host: str, count: int) -> float:
    options = (f"--count={count}", f"--interval={PING_INTERVAL}", f"--patience={_PING_PATIENCE}")
    said = _ask(client, "ping", host, *options, within=count * _PING_PATIENCE)
    answered = [seconds for seconds in said.times[0] if seconds is not None]
    if not answered:
        raise PlatformError(f"{host} answers no ping in {client.name}.", "Is it reachable there?")
    return statistics.median(answered)


def _groups(client: Namespace, host: str, size: int, *, at_once: int, repeats: int) -> Said:
    return _ask(
        client,
        "groups",
        host,
        str(_PORT),
        f"--size={size}",
        f"--fetches={at_once}",
        f"--repeats={repeats}",
        f"--pause={PAUSE}",
        f"--patience={LONGEST}",
        within=repeats * (LONGEST + PAUSE),
    )


def _stream(client: Namespace, plan: FetchPlan, *, is_beside_bulk: bool = False) -> Said:
    return _ask(
        client,
        "stream",
        SERVER_INNER_IPV4,
        str(_PORT),
        f"--size={SHORT_SIZE}",
        f"--fetches={plan.short_flows}",
        f"--interval={SHORT_INTERVAL}",
        f"--patience={LONGEST}",
        *([f"--bulk-head-start={BULK_HEAD_START}"] if is_beside_bulk else []),
        within=BULK_HEAD_START + plan.short_flows * SHORT_INTERVAL + LONGEST,
    )


def _ask(client: Namespace, *arguments: str, within: float) -> Said:
    """Be the asking end to its end."""
    done = client.run(*programs.command("fetch_end", *arguments), timeout=within + _MARGIN)
    said: dict[str, Any] = json.loads(done.stdout)
    return said_of(said)


def said_of(document: dict[str, Any]) -> Said:
    """Return what the asking end's JSON says."""
    times = tuple(tuple(group) for group in document["times"])
    return Said(times=times, received=document.get("received", 0), bulk=document.get("bulk", 0))
