"""How the data plane's figures are shown: a table for people, JSON for machines."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from multiwanbond.core import segments
from multiwanbond.lab import bench_table
from multiwanbond.lab.bench_dataplane import LOADS, Datagrams, DataplanePlan, WayFigures
from multiwanbond.lab.rivals import RIVALS

HEADER: Final = (
    "                     one TCP flow     eight flows  UDP in runs    UDP 1400 B      UDP 200 B\n"
    "way            Gbit/s  s/GB ping  Gbit/s  s/GB  Gbit/s     %  Gbit/s     %    1/ms     %    MB"
)
LEGEND: Final = (
    "s/GB: of all processors together; the load, both ends and the kernel share this machine.",
    "ping: ms, 95th percentile beside the one TCP flow. %: lost of the datagrams that are offered:",
    *(
        f"  {name}: {load.rate * load.size * 8 / 1e9:.2f} Gbit/s, {load.rate / 1000:g} every ms"
        for name, load in LOADS.items()
        if isinstance(load, Datagrams)
    ),
    "MB: memory of the larger daemon at the end.",
)


def title(plan: DataplanePlan) -> str:
    """Return what is run, and on what, in words."""
    done_by = "Python" if segments.COMPILED is None else "compiled code"
    lines = [
        bench_table.machine(),
        f"unshaped links, segments sealed by {done_by}, "
        f"medians of {plan.runs} runs of {plan.seconds:g} s",
    ]
    for name, rival in RIVALS.items():
        reason = rival.why_not()
        if reason and not plan.is_bond_only:
            lines.append(f"{name} is left out: {reason}")
    return "\n".join(lines)


def row(figures: WayFigures) -> str:
    """Return a line of the table."""
    one, eight, runs, bulk, small = LOADS
    gbits = {
        name: _number(figures.median(name, lambda c: c.rate * 8 / 1e9), 8, 2) for name in LOADS
    }
    cost = {name: _number(figures.median(name, lambda c: c.cpu_per_gb), 6, 1) for name in LOADS}
    lost = {name: _number(figures.median(name, _percent_lost), 6, 2) for name in LOADS}
    ping = figures.median(one, lambda carried: carried.ping_p95)
    packets = figures.median(small, lambda carried: carried.packets)
    return (
        f"{figures.name:<13}{gbits[one]}{cost[one]}{_number(ping, 5, 1, 1e3)}"
        f"{gbits[eight]}{cost[eight]}{gbits[runs]}{lost[runs]}{gbits[bulk]}{lost[bulk]}"
        f"{_number(packets, 8, 1, 1e-3)}{lost[small]}{_number(figures.memory, 6, 0, 1e-6)}"
    )


def _percent_lost(carried: Any) -> float | None:
    return None if carried.loss is None else 100 * carried.loss


def _number(value: float | None, width: int, digits: int, unit: float = 1.0) -> str:
    return f"{'-':>{width}}" if value is None else f"{value * unit:{width}.{digits}f}"


def document(plan: DataplanePlan, results: Sequence[WayFigures]) -> dict[str, Any]:
    """Return the results as a JSON object: bytes, seconds, shares of 1."""
    return {
        **bench_table.origin(),
        "is_compiled": segments.COMPILED is not None,
        "dataplane": asdict(plan),
        "ways": [asdict(figures) for figures in results],
    }
