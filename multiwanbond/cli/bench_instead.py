"""What `mwb bench` measures instead of bulk transfers, and which of its options go with that."""

import argparse
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from multiwanbond.errors import UsageError

from .results import Say

if TYPE_CHECKING:
    from multiwanbond.sim.scenarios import Scenario

STREAM: Final = "stream"
SECONDS: Final = 10.0
RUNS: Final = 3

Plan = TypeVar("Plan")
Figures = TypeVar("Figures")
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
    parser.add_argument(
        "--dataplane",
        action="store_true",
        help="measure what processors allow instead of lines: TCP and UDP over unshaped links, "
        "beside plain links and wireguard-go where it is installed; takes the given seconds some "
        "forty times a run",
    )


def chosen_instead(args: argparse.Namespace) -> Measure | None:
    """Return what to measure instead of bulk transfers; None if those.

    Raises:
        UsageError: something was given that would have no effect.
    """
    if args.fetches:
        _refuse(
            args,
            "--fetches",
            (
                *("--idle", "--dataplane", "--traffic", "--up", "--flows"),
                *("--only", "--runs", "--seconds", "--svg"),
            ),
        )
        return _measure_fetches
    if args.dataplane:
        _refuse(
            args,
            "--dataplane",
            ("--idle", "--scenario", "--traffic", "--up", "--congestion", "--flows", "--svg"),
        )
        return _measure_dataplane
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
        "--dataplane": args.dataplane,
        "--scenario": args.scenario is not None,
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


def measure_each(
    names: Iterable[str],
    plan: Plan,
    measure: "Callable[[str, Scenario, Plan], Figures]",
    report: Any,
    say: Say,
) -> list[tuple[Plan, Figures]]:
    """Measure scenarios by one plan, and show the table that grows with them.

    Args:
        names: of the scenarios; one that is named twice is measured once.
        plan: how.
        measure: measures one.
        report: a module that gives `title(plan)`, `HEADER` and `row(figures)`.
        say: shows a line.
    """
    from multiwanbond.sim.scenarios import SCENARIOS

    say(f"{report.title(plan)}\n\n{report.HEADER}")
    results = []
    for name in dict.fromkeys(names):
        figures = measure(name, SCENARIOS[name], plan)
        results.append((plan, figures))
        say(report.row(figures))
    return results


def _measure_fetches(args: argparse.Namespace, say: Say) -> dict[str, Any]:
    from multiwanbond.lab import bench_fetches, bench_fetches_report

    names = args.scenario or bench_fetches.DEFAULT_SCENARIOS
    results = []
    for congestion in dict.fromkeys(args.congestion or ["cubic"]):
        plan = bench_fetches.FetchPlan(congestion=congestion)
        results += measure_each(names, plan, bench_fetches.measure, bench_fetches_report, say)
        say("")
    say("\n".join(bench_fetches_report.LEGEND))
    return bench_fetches_report.document(results)


def _measure_stream(args: argparse.Namespace, say: Say) -> dict[str, Any]:
    from multiwanbond.lab import bench_stream, bench_stream_report

    plan = bench_stream.StreamPlan(is_upload=args.up, seconds=args.seconds, runs=args.runs)
    names = args.scenario or bench_stream.default_scenarios()
    results = measure_each(names, plan, bench_stream.measure, bench_stream_report, say)
    say("\n" + "\n".join(bench_stream_report.LEGEND))
    return bench_stream_report.document(results)


def _measure_idle(args: argparse.Namespace, say: Say) -> dict[str, Any]:
    from multiwanbond.lab import bench_idle, bench_idle_report
    from multiwanbond.sim.scenarios import SCENARIOS

    plan = bench_idle.IdlePlan(seconds=args.seconds, runs=args.runs)
    names = args.scenario or SCENARIOS
    results = measure_each(names, plan, bench_idle.measure, bench_idle_report, say)
    say("\n" + "\n".join(bench_idle_report.LEGEND))
    return bench_idle_report.document(results)


def _measure_dataplane(args: argparse.Namespace, say: Say) -> dict[str, Any]:
    from multiwanbond.lab import bench_dataplane, bench_dataplane_report

    plan = bench_dataplane.DataplanePlan(
        seconds=args.seconds, runs=args.runs, is_bond_only=args.only == "bond"
    )
    say(bench_dataplane_report.title(plan))
    results = bench_dataplane.measure(plan, lambda count: say(f"run {count} of {plan.runs}"))
    say("\n" + bench_dataplane_report.HEADER)
    for figures in results:
        say(bench_dataplane_report.row(figures))
    say("\n" + "\n".join(bench_dataplane_report.LEGEND))
    return bench_dataplane_report.document(plan, results)
