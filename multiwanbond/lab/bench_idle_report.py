"""How the bench's idle bonds are shown: a table for people, JSON for machines."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from multiwanbond.lab import bench_table
from multiwanbond.lab.bench_idle import IdleFigures, IdlePlan

HEADER: Final = (
    "                     CPU s per min     memory in MB\n"
    "scenario       WANs  client  server  client  server"
)
LEGEND: Final = (
    "CPU: user and system time of each daemon, over a bond that carries nothing; nothing befalls "
    "the lines.",
    "memory: resident, shared libraries included, at the end.",
)


def title(plan: IdlePlan) -> str:
    """Return what is run, and on what, in words."""
    return f"{bench_table.machine()}\nidle, medians of {plan.runs} runs of {plan.seconds:g} s"


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
        **bench_table.origin(),
        "idle": [{**asdict(plan), **asdict(figures)} for plan, figures in results],
    }
