"""`mwb bench --fetches`: short downloads instead of bulk, with the kernel's own TCP."""

import argparse
from collections.abc import Callable
from typing import Any

from multiwanbond.errors import UsageError


def add_option(parser: argparse.ArgumentParser) -> None:
    """Describe the option."""
    parser.add_argument(
        "--fetches",
        action="store_true",
        help="time short downloads instead, each a connection of its own, one by one, twenty at "
        "once, and beside a bulk download; takes one to three minutes per scenario, by default the "
        "first four",
    )


def refuse_beside_fetches(
    args: argparse.Namespace, default_runs: int, default_seconds: float
) -> None:
    """Refuse what would have no effect.

    Raises:
        UsageError: something was given that says how bulk transfers are measured.
    """
    given = {
        "--traffic": args.traffic != "tcp",
        "--up": args.up,
        "--flows": args.flows != 1,
        "--only": args.only is not None,
        "--runs": args.runs != default_runs,
        "--seconds": args.seconds != default_seconds,
        "--svg": args.svg is not None,
    }
    for option, is_given in given.items():
        if is_given:
            raise UsageError(f"{option} does not go with --fetches: it is for bulk transfers.")


def measure_fetches(args: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure the scenarios and show the figures; return them as a JSON object."""
    from multiwanbond.lab import bench_fetches, bench_fetches_report
    from multiwanbond.sim.scenarios import SCENARIOS

    results = []
    for congestion in dict.fromkeys(args.congestion or ["cubic"]):
        plan = bench_fetches.FetchPlan(congestion=congestion)
        say(f"{bench_fetches_report.title(plan)}\n\n{bench_fetches_report.HEADER}")
        for name in dict.fromkeys(args.scenario or bench_fetches.DEFAULT_SCENARIOS):
            figures = bench_fetches.measure(name, SCENARIOS[name], plan)
            results.append((plan, figures))
            say(bench_fetches_report.row(figures))
        say("")
    say("\n".join(bench_fetches_report.LEGEND))
    return bench_fetches_report.document(results)
