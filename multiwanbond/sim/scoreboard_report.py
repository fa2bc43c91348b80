"""How the scoreboard is shown: a table for people, JSON for machines, bars for a chart."""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from statistics import median, median_low
from typing import Any, Final

from .scoreboard import Figures, Plan, SparseFigures, Traffic

GOAL: Final = 0.95
"""The norm we want everywhere."""
CHART: Final = "What the bond carried, as a share of what the lines could after headers"

_BYTES_PER_MBIT: Final = 1e6 / 8

HEADER: Final = (
    "                              best    to  ramp     sparse ms    lost   re-  stall\n"
    "scenario       Mbit/s  norm   line  best     s  p50  p95  p99     %  sent     ms"
)

LEGEND: Final = (
    "Mbit/s, norm: what the streams carried; as a share of what the lines could after headers.",
    "best line, to best: Mbit/s of the best line alone, same headers; the bond over that.",
    "ramp: until 90 % of the final rate. sparse, lost: 160 bytes every 20 ms beside it, one way.",
    "re-sent: by the senders of the streams. stall: longest time without progress of a stream.",
)


def row(figures: Figures) -> str:
    """Return a line of the table."""
    sparse = figures.sparse
    ratio = "-" if figures.ratio is None else f"{figures.ratio:.2f}"
    ramp = "-" if figures.ramp is None else f"{figures.ramp:.2f}"
    delays = "".join(f"{_millis(value):>5}" for value in (sparse.p50, sparse.p95, sparse.p99))
    return (
        f"{figures.name:<14}{_mbit(figures.goodput):7.1f}{figures.norm:6.2f}"
        f"{_mbit(figures.best_line_goodput):7.1f}{ratio:>6}{ramp:>6}{delays}"
        f"{100 * sparse.loss:6.1f}{figures.resent:6}{_millis(figures.longest_stall):>7}"
    )


def medians(runs: Sequence[Figures]) -> Figures:
    """Return the median of every figure of runs of one scenario; None counts as worst."""
    sparse = [run.sparse for run in runs]
    return replace(
        runs[0],
        goodput=median(run.goodput for run in runs),
        ceiling=median(run.ceiling for run in runs),
        best_line=median_low(run.best_line for run in runs),
        best_line_goodput=median(run.best_line_goodput for run in runs),
        ramp=_median([run.ramp for run in runs]),
        resent=median_low(run.resent for run in runs),
        timeouts=median_low(run.timeouts for run in runs),
        longest_stall=median(run.longest_stall for run in runs),
        sparse=SparseFigures(
            idle_p95=_median([each.idle_p95 for each in sparse]),
            p50=_median([each.p50 for each in sparse]),
            p95=_median([each.p95 for each in sparse]),
            p99=_median([each.p99 for each in sparse]),
            loss=median(each.loss for each in sparse),
        ),
    )


def _median(values: Sequence[float | None]) -> float | None:
    middle = median(math.inf if value is None else value for value in values)
    return None if middle == math.inf else middle


def summary(rows: Sequence[Figures]) -> str:
    """Return what matters of many mixes together: their median, the worst, and what must not be."""
    worst = min(rows, key=lambda figures: figures.norm)
    below = [figures.name for figures in rows if figures.ratio is not None and figures.ratio < 1]
    return (
        f"{len(rows)} mixes: norm median {median(figures.norm for figures in rows):.2f}, "
        f"worst {worst.norm:.2f} ({worst.name}); below the best line: {len(below)}"
        + (f" ({', '.join(below)})" if below else "")
    )


def title(plan: Plan, runs: int = 1) -> str:
    """Return what is run, in words."""
    flows = "1 flow" if plan.flows == 1 else f"{plan.flows} flows"
    direction = "up" if plan.is_upload else "down"
    seeds = f"seed {plan.seed}"
    if runs > 1:
        seeds = f"medians of seeds {plan.seed} to {plan.seed + runs - 1}"
    return f"{_sender(plan)}, {flows} {direction}, mode {plan.mode.value}, {seeds}"


def document(results: Sequence[tuple[Plan, Figures]]) -> dict[str, Any]:
    """Return the results as a JSON object: seconds, bytes, shares of 1."""
    return {"runs": [_run(plan, figures) for plan, figures in results]}


def _run(plan: Plan, figures: Figures) -> dict[str, Any]:
    return {
        "sender": plan.sender.value,
        "traffic": plan.traffic.value,
        "mode": plan.mode.value,
        "direction": "up" if plan.is_upload else "down",
        "flows": plan.flows,
        "seed": plan.seed,
        **asdict(figures),
        "norm": figures.norm,
        "ratio": figures.ratio,
    }


def bars(results: Sequence[tuple[Plan, Figures]]) -> list[tuple[str, float, dict[str, float]]]:
    """Return for a chart each run's label, norm, and the best line alone on the same scale."""
    return [
        (
            f"{figures.name} {_sender(plan)}",
            figures.norm,
            {"best line alone": figures.best_line_goodput / figures.ceiling},
        )
        for plan, figures in results
    ]


def _sender(plan: Plan) -> str:
    traffic = "" if plan.traffic is Traffic.TCP else f"{plan.traffic.value} with "
    return traffic + plan.sender.value


def _mbit(rate: float) -> float:
    return rate / _BYTES_PER_MBIT


def _millis(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.0f}"
