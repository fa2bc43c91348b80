"""What a bond costs while nobody uses it: processor time and memory of both daemons."""

import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from multiwanbond.lab.bench import specs_of
from multiwanbond.lab.bench_run import connected_bond
from multiwanbond.lab.meters import cpu_seconds, resident_memory
from multiwanbond.lab.topology import Topology
from multiwanbond.sim.scenarios import Scenario

HEADER: Final = (
    "                     CPU s per min     memory in MB\n"
    "scenario       WANs  client  server  client  server"
)
LEGEND: Final = (
    "CPU: user and system time of each daemon, over a bond that carries nothing; nothing befalls "
    "the lines.",
    "memory: resident, shared libraries included, at the end.",
)
_MINUTE: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class IdlePlan:
    """How every scenario is run."""

    seconds: float = 10.0
    runs: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one daemon took."""

    cpu_per_minute: float
    """Seconds."""
    memory: int
    """Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleRun:
    """What both daemons took in one run."""

    client: Cost
    server: Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleFigures:
    """All runs of a scenario."""

    name: str
    wans: int
    runs: tuple[IdleRun, ...]


def measure(name: str, scenario: Scenario, plan: IdlePlan) -> IdleFigures:
    """Let a bond over a scenario's lines idle as often as the plan says.

    Raises:
        PlatformError: the lab failed.
    """
    runs = tuple(_run_once(scenario, plan, seed) for seed in range(1, plan.runs + 1))
    return IdleFigures(name=name, wans=len(scenario.wans), runs=runs)


def _run_once(scenario: Scenario, plan: IdlePlan, seed: int) -> IdleRun:
    # At their full rates: the emulator has next to nothing to do.
    with Topology(specs_of(scenario, 1.0), purpose="bench", seed=seed) as lab:
        bond = connected_bond(lab)
        pids = [daemon.process.pid for daemon in (bond.client, bond.server)]
        began, before = time.monotonic(), [cpu_seconds(pid) for pid in pids]
        time.sleep(plan.seconds)
        minutes = (time.monotonic() - began) / _MINUTE
        client, server = (
            Cost(
                cpu_per_minute=(cpu_seconds(pid) - spent) / minutes,
                memory=resident_memory(pid),
            )
            for pid, spent in zip(pids, before, strict=True)
        )
        return IdleRun(client=client, server=server)


def title(plan: IdlePlan) -> str:
    """Return what is run, and on what, in words."""
    return (
        f"Linux {os.uname().release}, Python {platform.python_version()}, {os.cpu_count()} CPUs\n"
        f"idle, medians of {plan.runs} runs of {plan.seconds:g} s"
    )


def row(figures: IdleFigures) -> str:
    """Return a line of the table."""
    ends = [[run.client for run in figures.runs], [run.server for run in figures.runs]]
    cpu = [statistics.median(one.cpu_per_minute for one in costs) for costs in ends]
    memory = [statistics.median(one.memory for one in costs) / 1e6 for costs in ends]
    return (
        f"{figures.name:<14}{figures.wans:5d}"
        + "".join(f"{value:8.2f}" for value in cpu)
        + "".join(f"{value:8.1f}" for value in memory)
    )


def document(results: Sequence[tuple[IdlePlan, IdleFigures]]) -> dict[str, Any]:
    """Return the results as a JSON object: seconds and bytes."""
    return {
        "kernel": os.uname().release,
        "python": platform.python_version(),
        "idle": [{**asdict(plan), **asdict(figures)} for plan, figures in results],
    }
