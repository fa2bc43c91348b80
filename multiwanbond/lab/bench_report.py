"""How the lab's scoreboard is shown: a table for people, JSON for machines, bars for a chart."""

from collections.abc import Sequence
from dataclasses import asdict
from math import inf
from typing import Any, Final

from multiwanbond.lab import bench_table
from multiwanbond.lab.bench import TRUSTED_RATE, BenchFigures, BenchPlan, why_no_mptcp
from multiwanbond.lab.line_return import SHARE
from multiwanbond.sim.scoreboard import Traffic

BUSY: Final = 0.9
"""Share of the processors above which they, and not the lines, may have decided."""
_BYTES_PER_MBIT: Final = 1e6 / 8

HEADER: Final = (
    "                              best         ramp      sparse ms      lost   re-       stall"
    "   CPU CPU\n"
    "scenario       Mbit/s  norm   line  MPTCP     s idle  p50  p95  p99     %  sent  RTO     ms"
    "  s/GB   %"
)
LEGEND: Final = (
    "Mbit/s, norm: what the streams carried after 1 s (a quarter of a short run); as a share of",
    "what the lines could meanwhile after headers, black-outs taken off.",
    "best line: the same over the best line alone, no tunnel. MPTCP: the kernel's, over all lines.",
    "ramp: until 90 % of the later rate. idle: p95 of the sparse flow before the bulk began.",
    "sparse, lost: 160 bytes every 20 ms beside the bulk, one way. re-sent: by the streams' ends.",
    "RTO: how often a stream's end waited for an ack in vain. CPU s/GB: of both daemons together.",
    f"CPU %: of all processors; * above {100 * BUSY:.0f} %, where they may have decided.",
    f"back: from a black-out's end until the bond gave the line {100 * SHARE:.0f} % of its rate.",
)


def title(plan: BenchPlan) -> str:
    """Return what is run, and on what, in words."""
    flows = "1 flow" if plan.flows == 1 else f"{plan.flows} flows"
    direction = "up" if plan.is_upload else "down"
    reason = why_no_mptcp(plan.traffic)
    lines = [
        f"{bench_table.machine()}; "
        f"emulated lines are trusted up to {_mbit(TRUSTED_RATE):.0f} Mbit/s together",
        f"{_sender(plan)}, {flows} {direction}, medians of {plan.runs} runs of {plan.seconds:g} s",
    ]
    if plan.is_bond_only:
        return "\n".join(lines)
    return "\n".join([*lines, f"MPTCP is left out: {reason}"] if reason else lines)


def _sender(plan: BenchPlan) -> str:
    return "quic with " * (plan.traffic is Traffic.QUIC) + plan.congestion


def row(figures: BenchFigures) -> str:
    """Return a line of the table."""
    median = figures.median
    best, mptcp, ramp = figures.best_line, figures.mptcp, median(lambda run: run.bond.ramp)
    delays = "".join(
        f"{_millis(value):>5}"
        for value in (
            median(lambda run: run.sparse.idle_p95),
            median(lambda run: run.sparse.p50),
            median(lambda run: run.sparse.p95),
            median(lambda run: run.sparse.p99),
        )
    )
    loss = median(lambda run: run.sparse.loss) or 0.0
    resent = median(lambda run: run.bond.resent) or 0
    cpu = median(lambda run: run.cpu) or 0.0
    timeouts = median(lambda run: run.bond.timeouts) or 0
    spent = median(lambda run: run.cpu_per_gb)
    return (
        f"{figures.name:<14}{_mbit(figures.goodput):7.1f}{figures.norm:6.2f}"
        f"{'-' if best is None else f'{_mbit(best):.1f}':>7}"
        f"{'-' if mptcp is None else f'{_mbit(mptcp):.1f}':>7}"
        f"{'-' if ramp is None else f'{ramp:.1f}':>6}{delays}{100 * loss:6.1f}{resent:6.0f}"
        f"{timeouts:5.0f}"
        f"{_millis(median(lambda run: run.bond.longest_stall)):>7}"
        f"{'-' if spent is None else f'{spent:.1f}':>6}"
        f"{100 * cpu:4.0f}{'*' if cpu > BUSY else ''}{_remarks(figures)}"
    )


def _remarks(figures: BenchFigures) -> str:
    """Return what must be known of a row before its figures are believed."""
    early = figures.ended_early
    ended = f"  ENDED EARLY: {', '.join(early)}" if early else ""
    return bench_table.scale_remark(figures.scale) + _back(figures.returned) + ended


def _back(returned: float | None) -> str:
    if returned is None:
        return ""
    return "  not back" if returned == inf else f"  back after {returned:.1f} s"


def document(results: Sequence[tuple[BenchPlan, BenchFigures]]) -> dict[str, Any]:
    """Return the results as a JSON object: seconds, bytes, shares of 1."""
    return {
        **bench_table.origin(),
        "trusted_rate": TRUSTED_RATE,
        "mptcp_left_out": why_no_mptcp(),
        "scenarios": [
            {
                **asdict(plan),
                "traffic": plan.traffic.value,
                **asdict(figures),
                "goodput": figures.goodput,
                "norm": figures.norm,
                "best_line": figures.best_line,
                "mptcp": figures.mptcp,
                "cpu_per_gb": figures.median(lambda run: run.cpu_per_gb),
                "returned": None if figures.returned == inf else figures.returned,
                "ended_early": figures.ended_early,
            }
            for plan, figures in results
        ],
    }


def bars(
    results: Sequence[tuple[BenchPlan, BenchFigures]],
) -> list[tuple[str, float, dict[str, float]]]:
    """Return for a chart each scenario's label, norm, and what to compare with, on one scale."""
    return [
        (f"{figures.name} {_sender(plan)}", figures.norm, _marks(figures))
        for plan, figures in results
    ]


def _marks(figures: BenchFigures) -> dict[str, float]:
    rates = {"best line alone": figures.best_line, "MPTCP": figures.mptcp}
    return {name: rate / figures.ceiling for name, rate in rates.items() if rate is not None}


def _mbit(rate: float) -> float:
    return rate / _BYTES_PER_MBIT


def _millis(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.0f}"
