"""What a bond costs while nobody uses it: processor time and memory of both daemons."""

import time
from dataclasses import dataclass
from typing import Final

from multiwanbond.lab.bench import specs_of
from multiwanbond.lab.bench_run import connected_bond
from multiwanbond.lab.meters import cpu_seconds, resident_memory
from multiwanbond.lab.topology import Topology
from multiwanbond.sim.scenarios import Scenario

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
