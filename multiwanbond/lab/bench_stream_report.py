"""How the bench's streams are shown: a table for people, JSON for machines."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from multiwanbond.lab import bench_table
from multiwanbond.lab.bench import TRUSTED_RATE
from multiwanbond.lab.bench_stream import (
    INTERVAL,
    LATE,
    NOTICED,
    SIZE,
    StreamFigures,
    StreamPlan,
)

HEADER: Final = (
    f"                       p50               longest  after {NOTICED:g} s\n"
    "scenario         sent   ms   lost   late  gap ms   lost   late"
)
LEGEND: Final = (
    f"{SIZE} bytes every {1000 * INTERVAL:g} ms, nothing beside them. p50: one way.",
    f"late: more than {1000 * LATE:g} ms later than p50. longest gap: without any arrival.",
    f"after {NOTICED:g} s: of these what was sent later than that after a black-out's begin.",
)


def title(plan: StreamPlan) -> str:
    """Return what is run, and on what, in words."""
    direction = "up" if plan.is_upload else "down"
    return (
        f"{bench_table.machine()}\n"
        f"stream {direction}, medians of {plan.runs} runs of {plan.seconds:g} s"
    )


def row(figures: StreamFigures) -> str:
    """Return a line of the table."""
    delay = figures.median(lambda run: run.p50)
    gap = figures.median(lambda run: run.longest_gap) or 0.0
    sent, lost, late, lost_after, late_after = (
        figures.median(read) or 0
        for read in (
            lambda run: run.sent,
            lambda run: run.lost,
            lambda run: run.late,
            lambda run: run.lost_after,
            lambda run: run.late_after,
        )
    )
    return (
        f"{figures.name:<14}{sent:7.0f}{'-' if delay is None else f'{1000 * delay:.0f}':>5}"
        f"{lost:7.0f}{late:7.0f}{1000 * gap:8.0f}{lost_after:7.0f}{late_after:7.0f}"
        f"{bench_table.scale_remark(figures.scale)}"
    )


def document(results: Sequence[tuple[StreamPlan, StreamFigures]]) -> dict[str, Any]:
    """Return the results as a JSON object: seconds, and numbers of datagrams."""
    return {
        **bench_table.origin(),
        "trusted_rate": TRUSTED_RATE,
        "streams": [{**asdict(plan), **asdict(figures)} for plan, figures in results],
    }
