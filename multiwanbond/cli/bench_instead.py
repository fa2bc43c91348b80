"""What `mwb bench` measures instead of bulk transfers, and which of its options go with that."""

import argparse
from collections.abc import Callable, Collection
from typing import Any, Final

from multiwanbond.errors import UsageError

STREAM: Final = "stream"
SECONDS: Final = 10.0
RUNS: Final = 3

Say = Callable[[str], None]
"""Shows a line of text."""
Measure = Callable[[argparse.Namespace, Say], dict[str, Any]]
"""Measures the scenarios and shows the figures; returns them as a JSON object."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the options that are of nothing else."""
    parser.add_argument(
        "--fetches",
        action="store_true",
        help="time short downloads instead, each a connection of its own, one by one, twenty at "
        "once, and beside a bulk download; takes one to three minutes per scenario, by default the "
        "first four",
    )
    parser.add_argument(
        "--idle",
        action="store_true",
        help="measure what a bond costs that carries nothing, for the given seconds",
    )


def chosen_instead(args: argparse.Namespace) -> Measure | None:
    """Return what to measure instead of bulk transfers; None if those.

    Raises:
        UsageError: something was given that would have no effect.
    """
    if args.fetches:
        options = (
            "--idle",
            "--traffic",
            "--up",
            "--flows",
            "--only",
            "--runs",
            "--seconds",
            "--svg",
        )
        _refuse(args, "--fetches", options)
        return _measure_fetches
    if args.idle:
        _refuse(args, "--idle", ("--traffic", "--up", "--congestion", "--flows", "--only", "--svg"))
        return _measure_idle
    if args.traffic == STREAM:
        _refuse(args, "--traffic stream", ("--congestion", "--flows", "--only", "--svg"))
        return _measure_stream
    return None


def _refuse(args: argparse.Namespace, choice: str, options: Collection[str]) -> None:
    given = {
        "--idle": args.idle,
        "--runs": args.runs != RUNS,
        "--seconds": args.seconds != SECONDS,
        "--traffic": args.traffic != "tcp",
        "--up": args.up,
        "--congestion": args.congestion is not None,
        "--flows": args.flows != 1,
        "--only": args.only is not None,
        "--svg": args.svg is not None,
    }
    for option in options:
        if given[option]:
            raise UsageError(f"{option} does not go with {choice}, where it would have no effect.")


def _measure_fetches(args: argparse.Namespace, say: Say) -> dict[str, Any]:
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


def _measure_stream(args: argparse.Namespace, say: Say) -> dict[str, Any]:
    from multiwanbond.lab import bench_stream, bench_stream_report
    from multiwanbond.sim.scenarios import SCENARIOS

    plan = bench_stream.StreamPlan(is_upload=args.up, seconds=args.seconds, runs=args.runs)
    say(f"{bench_stream_report.title(plan)}\n\n{bench_stream_report.HEADER}")
    results = []
    for name in dict.fromkeys(args.scenario or bench_stream.default_scenarios()):
        figures = bench_stream.measure(name, SCENARIOS[name], plan)
        results.append((plan, figures))
        say(bench_stream_report.row(figures))
    say("\n" + "\n".join(bench_stream_report.LEGEND))
    return bench_stream_report.document(results)


def _measure_idle(args: argparse.Namespace, say: Say) -> dict[str, Any]:
    from multiwanbond.lab import bench_idle
    from multiwanbond.sim.scenarios import SCENARIOS

    plan = bench_idle.IdlePlan(seconds=args.seconds, runs=args.runs)
    say(f"{bench_idle.title(plan)}\n\n{bench_idle.HEADER}")
    results = []
    for name in dict.fromkeys(args.scenario or SCENARIOS):
        figures = bench_idle.measure(name, SCENARIOS[name], plan)
        results.append((plan, figures))
        say(bench_idle.row(figures))
    say("\n" + "\n".join(bench_idle.LEGEND))
    return bench_idle.document(results)
