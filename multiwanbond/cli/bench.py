"""`mwb bench`: what the bond makes of the standard line mixes, with the kernel's own TCP."""

import argparse
import sys
from typing import TYPE_CHECKING, Final

from multiwanbond.errors import UsageError

from .arguments import count, one_of, seconds
from .bench_instead import RUNS, SECONDS, STREAM, add_options, chosen_instead, measure_each
from .chart import chart
from .results import add_bulk_options, add_output_options, check_writable, sayer, write_results

if TYPE_CHECKING:
    from multiwanbond.lab.bench import BenchFigures, BenchPlan

TRAFFIC: Final = ("tcp", "quic", STREAM)
SHORTEST: Final = 1.0
"""Less would show the opening of a connection and nothing else."""
MOST_RUNS: Final = 100


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "bench",
        help="measure the bond on this machine, over emulated lines",
        description="Join two network namespaces by emulated lines and send TCP of this kernel, or "
        "QUIC of ours, through the bond; compare with the best line alone and, for TCP, with the "
        "kernel's MPTCP. Needs root. Everything is removed at the end, also after Ctrl-C. A run "
        "takes the given seconds once for each line and twice more.",
    )
    parser.add_argument(
        "--scenario",
        action="append",
        type=one_of("scenario", _scenario_names),
        metavar="NAME",
        help="only this one; may be given more than once; default all",
    )
    parser.add_argument(
        "--congestion",
        action="append",
        type=one_of("congestion control", _congestion_names),
        metavar="NAME",
        help="of the bulk flows; may be given more than once; default cubic",
    )
    parser.add_argument(
        "--traffic",
        choices=TRAFFIC,
        default="tcp",
        help="what the bulk flows are; default tcp; quic is UDP that takes reordering for loss, "
        "with cubic or bbr of its own; stream is 500 small datagrams a second instead of bulk, by "
        "default where lines go black",
    )
    add_bulk_options(parser)
    parser.add_argument(
        "--only",
        choices=["bond"],
        help="measure nothing to compare with; a run then takes the given seconds once",
    )
    parser.add_argument(
        "--runs",
        type=count("runs", MOST_RUNS),
        default=RUNS,
        metavar="N",
        help=f"of every scenario; the table shows medians; default {RUNS}",
    )
    parser.add_argument(
        "--seconds",
        type=seconds(SHORTEST),
        default=SECONDS,
        metavar="N",
        help=f"of every measurement; at least {SHORTEST:g}, default {SECONDS:g}",
    )
    add_options(parser)
    add_output_options(parser)


def _scenario_names() -> list[str]:
    from multiwanbond.sim.scenarios import SCENARIOS

    return list(SCENARIOS)


def _congestion_names() -> list[str]:
    from multiwanbond.lab.bench import available_congestion

    return available_congestion()


def run(args: argparse.Namespace) -> int:
    """Measure the scenarios and show the figures."""
    from multiwanbond.lab.namespaces import demand_lab
    from multiwanbond.lab.processes import Interrupted, interruptible

    instead = chosen_instead(args)
    if instead is None or args.fetches:
        _check_congestion(args)
    demand_lab("run: sudo mwb bench")
    check_writable(args)
    try:
        with interruptible():
            if instead is not None:
                write_results(args, document=instead(args, sayer(args)), chart="")
                return 0
            results = _measure(args)
    except Interrupted as exc:
        print("Interrupted; everything is removed again.", file=sys.stderr)
        return exc.exit_code
    _write_results(args, results)
    return 0


def _check_congestion(args: argparse.Namespace) -> None:
    """Refuse what the traffic asked for cannot have.

    Raises:
        UsageError: QUIC has fewer congestion controls than the kernel's TCP.
    """
    from multiwanbond.lab.bench import available_congestion
    from multiwanbond.sim.scoreboard import Traffic

    known = available_congestion(Traffic(args.traffic))
    for name in args.congestion or ():
        if name not in known:
            raise UsageError(
                f"--congestion {name} does not go with --traffic {args.traffic}, "
                f"which knows {', '.join(known)}."
            )


def _measure(args: argparse.Namespace) -> "list[tuple[BenchPlan, BenchFigures]]":
    from multiwanbond.lab import bench_report, bench_run
    from multiwanbond.lab.bench import BenchPlan
    from multiwanbond.sim.scenarios import SCENARIOS
    from multiwanbond.sim.scoreboard import Traffic

    say = sayer(args)
    results = []
    for congestion in dict.fromkeys(args.congestion or ["cubic"]):
        plan = BenchPlan(
            traffic=Traffic(args.traffic),
            congestion=congestion,
            flows=args.flows,
            is_upload=args.up,
            seconds=args.seconds,
            runs=args.runs,
            is_bond_only=args.only == "bond",
        )
        names = args.scenario or SCENARIOS
        results += measure_each(names, plan, bench_run.measure, bench_report, say)
        say("")
    say("\n".join(bench_report.LEGEND))
    return results


def _write_results(
    args: argparse.Namespace, results: "list[tuple[BenchPlan, BenchFigures]]"
) -> None:
    from multiwanbond.lab import bench_report
    from multiwanbond.sim.scoreboard_report import CHART, GOAL

    write_results(
        args,
        document=bench_report.document(results),
        chart=chart(CHART, bench_report.bars(results), GOAL),
    )
