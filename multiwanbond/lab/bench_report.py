"""How the lab's scoreboard is shown: a table for people, JSON for machines, a chart for a page."""

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from typing import Any, Final

from multiwanbond.lab.bench import TRUSTED_RATE, BenchFigures, BenchPlan, why_no_mptcp
from multiwanbond.sim.scoreboard import Traffic

GOAL: Final = 0.95
"""The norm we want everywhere."""
BUSY: Final = 0.9
"""Share of the processors above which they, and not the lines, may have decided."""
_BYTES_PER_MBIT: Final = 1e6 / 8

HEADER: Final = (
    "                              best         ramp      sparse ms      lost   re-  stall CPU\n"
    "scenario       Mbit/s  norm   line  MPTCP     s idle  p50  p95  p99     %  sent     ms   %"
)
LEGEND: Final = (
    "Mbit/s, norm: what the streams carried; as a share of what the lines could after headers.",
    "best line: the same over the best line alone, no tunnel. MPTCP: the kernel's, over all lines.",
    "ramp: until 90 % of the later rate. idle: p95 of the sparse flow before the bulk began.",
    "sparse, lost: 160 bytes every 20 ms beside the bulk, one way. re-sent: by the streams' ends.",
    f"CPU: of all processors; * above {100 * BUSY:.0f} %, where they may have decided.",
)


def title(plan: BenchPlan) -> str:
    """Return what is run, and on what, in words."""
    flows = "1 flow" if plan.flows == 1 else f"{plan.flows} flows"
    direction = "up" if plan.is_upload else "down"
    reason = why_no_mptcp(plan.traffic)
    lines = [
        f"Linux {os.uname().release}, Python {platform.python_version()}, {os.cpu_count()} CPUs; "
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
    scaled = "" if figures.scale == 1 else f"  rates x {figures.scale:.2f}"
    return (
        f"{figures.name:<14}{_mbit(figures.goodput):7.1f}{figures.norm:6.2f}"
        f"{'-' if best is None else f'{_mbit(best):.1f}':>7}"
        f"{'-' if mptcp is None else f'{_mbit(mptcp):.1f}':>7}"
        f"{'-' if ramp is None else f'{ramp:.1f}':>6}{delays}{100 * loss:6.1f}{resent:6.0f}"
        f"{_millis(median(lambda run: run.bond.longest_stall)):>7}"
        f"{100 * cpu:4.0f}{'*' if cpu > BUSY else ''}{scaled}"
    )


def document(results: Sequence[tuple[BenchPlan, BenchFigures]]) -> dict[str, Any]:
    """Return the results as a JSON object: seconds, bytes, shares of 1."""
    return {
        "kernel": os.uname().release,
        "python": platform.python_version(),
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
            }
            for plan, figures in results
        ],
    }


# --- the chart -----------------------------------------------------------------------------------

_LEFT, _WIDTH, _BAR, _STEP, _TOP = 190, 500, 14, 22, 50


def chart(results: Sequence[tuple[BenchPlan, BenchFigures]]) -> str:
    """Return an SVG: a bar per norm, black for the best line, orange for MPTCP, red the goal."""
    bottom = _TOP + _STEP * len(results)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 70}" '
        f'height="{bottom + 30}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        _text(10, 20, "Share of what the lines could carry; black: best line, orange: MPTCP"),
    ]
    parts += [
        _text(_LEFT + _WIDTH * tenth / 10, bottom + 16, f"{tenth / 10:.1f}")
        for tenth in range(0, 11, 2)
    ]
    for number, (plan, figures) in enumerate(results):
        parts += _bar(_TOP + _STEP * number, plan, figures)
    parts.append(_mark(GOAL, _TOP - 6, bottom - _TOP + 6, "#c33"))
    return "\n".join([*parts, "</svg>", ""])


def _bar(y: int, plan: BenchPlan, figures: BenchFigures) -> list[str]:
    marks = []
    if figures.best_line is not None:
        marks.append(_mark(figures.best_line / figures.ceiling, y - 2, _BAR + 4, "black"))
    if figures.mptcp is not None:
        marks.append(_mark(figures.mptcp / figures.ceiling, y - 2, _BAR + 4, "#e80"))
    width = _WIDTH * figures.norm
    return [
        _text(10, y + 11, f"{figures.name} {_sender(plan)}"),
        f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="#47a"/>',
        *marks,
        _text(_LEFT + _WIDTH + 30, y + 11, f"{figures.norm:.2f}"),
    ]


def _mark(share: float, y: int, height: int, colour: str) -> str:
    x = _LEFT + _WIDTH * share
    return f'<rect x="{x:.1f}" y="{y}" width="2" height="{height}" fill="{colour}"/>'


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:g}" y="{y:g}">{escape(text)}</text>'


def _mbit(rate: float) -> float:
    return rate / _BYTES_PER_MBIT


def _millis(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.0f}"
