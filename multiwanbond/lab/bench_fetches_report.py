"""How the kernel's short fetches are shown: the simulator's table and pings, JSON for machines."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from multiwanbond.lab import bench_table
from multiwanbond.lab.bench import TRUSTED_RATE
from multiwanbond.lab.bench_fetches import FetchPlan, KernelFetches
from multiwanbond.sim import fetches_report

_PING_HEADS: Final = ("       ping ms", "   bond   line")

HEADER: Final = "\n".join(
    head + ping for head, ping in zip(fetches_report.HEADER.splitlines(), _PING_HEADS, strict=True)
)

LEGEND: Final = (
    *fetches_report.LEGEND,
    "ping: median round trip over the idle bond, and over the line where it is least, alone.",
)


def title(plan: FetchPlan) -> str:
    """Return what is run, and on what, in words."""
    return f"{bench_table.machine()}\n{plan.congestion}, short fetches, medians of {plan.repeats}"


def row(figures: KernelFetches) -> str:
    """Return a line of the table."""
    cells = fetches_report.row_of(figures.name, figures.fetches, figures.page, figures.disturbance)
    ping = f"{1000 * figures.ping.bond:7.1f}{1000 * figures.ping.best_line:7.1f}"
    given_up = f"  given up: {figures.given_up}" if figures.given_up else ""
    return f"{cells}{ping}{given_up}{bench_table.scale_remark(figures.scale)}"


def document(results: Sequence[tuple[FetchPlan, KernelFetches]]) -> dict[str, Any]:
    """Return the results as a JSON object: seconds, bytes, multiples, and all that was measured."""
    return {
        **bench_table.origin(),
        "trusted_rate": TRUSTED_RATE,
        "fetches": [_run(plan, figures) for plan, figures in results],
    }


def _run(plan: FetchPlan, figures: KernelFetches) -> dict[str, Any]:
    times_of = fetches_report.times_of
    return {
        "name": figures.name,
        "congestion": plan.congestion,
        "scale": figures.scale,
        "fetches": {str(size): times_of(times) for size, times in figures.fetches.items()},
        "page": times_of(figures.page),
        "ping": times_of(figures.ping),
        "beside": figures.beside.p95,
        "undisturbed": figures.undisturbed.p95,
        "disturbance": figures.disturbance,
        "given_up": figures.given_up,
        "measured": asdict(figures),
    }
