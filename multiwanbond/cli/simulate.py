"""`mwb simulate`: what the bond makes of the standard line mixes, in the simulator."""

import argparse
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from multiwanbond.core.settings import RoutingMode
from multiwanbond.errors import UsageError

from .arguments import count, one_of, seconds
from .chart import chart
from .results import (
    Say,
    add_bulk_options,
    add_output_options,
    check_writable,
    sayer,
    write_results,
)

if TYPE_CHECKING:
    from multiwanbond.sim.fetches import FetchFigures
    from multiwanbond.sim.scoreboard import Figures, InnerSender, Plan

SHORTEST: Final = 0.5
"""Less would show the opening of a connection and nothing else."""

MOST_RUNS: Final = 20
MOST_RANDOM: Final = 99

TRAFFIC: Final = ("tcp", "quic")
SENDERS: Final = ("cubic", "bbr")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "simulate",
        help="show what the bond makes of standard line mixes",
        description="Run TCP or QUIC through real endpoints over simulated lines, in virtual "
        "time, and compare with the lines' sum and with the best of them alone. Needs neither root "
        "nor network. All scenarios take a minute or two.",
    )
    parser.add_argument(
        "--scenario",
        action="append",
        type=_scenario,
        metavar="NAME",
        help="only this one, or one drawn at random: random01 to random99; may be given more "
        'than once; "list" shows them',
    )
    parser.add_argument(
        "--random",
        type=count("mixes", MOST_RANDOM),
        default=0,
        metavar="N",
        help="the first N mixes drawn at random, random01 and so on, instead of the standard "
        "ones; 30 of them take about ten minutes",
    )
    parser.add_argument(
        "--mode",
        type=one_of("routing mode", lambda: [mode.value for mode in RoutingMode]),
        default=RoutingMode.ADAPTIVE.value,
        metavar="MODE",
        help="routing mode of both ends; default adaptive",
    )
    parser.add_argument(
        "--sender",
        action="append",
        type=one_of("sender", lambda: SENDERS),
        metavar="NAME",
        help="congestion control of the bulk flows; cubic (the default) or bbr, or both",
    )
    parser.add_argument(
        "--traffic",
        choices=TRAFFIC,
        default="tcp",
        help="what the bulk flows are; default tcp; quic is UDP that takes reordering for loss",
    )
    add_bulk_options(parser)
    parser.add_argument(
        "--runs",
        type=count("runs", MOST_RUNS),
        default=1,
        metavar="N",
        help="of every scenario, each with the next seed; the table shows medians; default 1",
    )
    parser.add_argument(
        "--seconds",
        type=seconds(SHORTEST),
        metavar="N",
        help="simulated, for every scenario; default 4, and more where a line goes black, "
        "until 2 s after its return",
    )
    parser.add_argument(
        "--fetches",
        action="store_true",
        help="time short downloads instead, each a connection of its own, one by one, twenty at "
        "once, and beside a bulk transfer; takes about 20 s per scenario",
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of all chance; default 1")
    add_output_options(parser)


def _scenario(text: str) -> str:
    """Return the name of a scenario; the random ones are too many to be shown for a mistake."""
    from multiwanbond.sim.random_mixes import MOST, random_names
    from multiwanbond.sim.scenarios import SCENARIOS

    if text in random_names(MOST):
        return text
    return one_of("scenario", lambda: [*SCENARIOS, "list"])(text)


def run(args: argparse.Namespace) -> int:
    """Run the scenarios and show the figures."""
    if args.scenario and "list" in args.scenario:
        _list_scenarios(_chosen(args))
        return 0
    if args.fetches:
        _refuse_beside_fetches(args)
    check_writable(args)
    say = sayer(args)
    if args.fetches:
        _measure_fetches(args, say)
    else:
        _measure_bulk(args, say)
    return 0


def _chosen(args: argparse.Namespace) -> list[str]:
    """Return the scenarios asked for, or all standard mixes."""
    from multiwanbond.sim.random_mixes import random_names
    from multiwanbond.sim.scenarios import SCENARIOS

    named = [name for name in args.scenario or () if name != "list"]
    names = dict.fromkeys([*named, *random_names(args.random)])
    return list(names or SCENARIOS)


def _senders(args: argparse.Namespace) -> "list[InnerSender]":
    from multiwanbond.sim.scoreboard import InnerSender

    return [InnerSender(name) for name in dict.fromkeys(args.sender or ["cubic"])]


def _plans(args: argparse.Namespace) -> "list[Plan]":
    from multiwanbond.sim.scoreboard import Plan, Traffic

    return [
        Plan(
            sender=sender,
            traffic=Traffic(args.traffic),
            mode=RoutingMode(args.mode),
            flows=args.flows,
            is_upload=args.up,
            seconds=args.seconds,
            seed=args.seed,
        )
        for sender in _senders(args)
    ]


def _measure_bulk(args: argparse.Namespace, say: Say) -> None:
    from multiwanbond.sim import scoreboard_report

    results, shown = [], []
    for plan in _plans(args):
        say(f"{scoreboard_report.title(plan, args.runs)}\n\n{scoreboard_report.HEADER}")
        rows = []
        for name in _chosen(args):
            runs = _measure_runs(name, plan, args.runs)
            results += runs
            rows.append(scoreboard_report.medians([figures for _, figures in runs]))
            say(scoreboard_report.row(rows[-1]))
        say("")
        if len(rows) > 1:
            say(f"{scoreboard_report.summary(rows)}\n")
        shown += [(plan, figures) for figures in rows]
    say("\n".join(scoreboard_report.LEGEND))
    write_results(
        args,
        document=scoreboard_report.document(results),
        chart=chart(scoreboard_report.CHART, scoreboard_report.bars(shown), scoreboard_report.GOAL),
    )


def _measure_runs(name: str, plan: "Plan", count: int) -> "list[tuple[Plan, Figures]]":
    """Return `count` runs of one scenario, each with another seed."""
    from multiwanbond.sim.random_mixes import scenario_named
    from multiwanbond.sim.scoreboard import measure

    plans = [replace(plan, seed=plan.seed + number) for number in range(count)]
    return [(each, measure(name, scenario_named(name), each)) for each in plans]


def _refuse_beside_fetches(args: argparse.Namespace) -> None:
    """Refuse what would have no effect.

    Raises:
        UsageError: something was given that says how bulk transfers are measured.
    """
    given = {
        "--up": args.up,
        "--traffic": args.traffic != "tcp",
        "--flows": args.flows != 1,
        "--seconds": args.seconds is not None,
        "--runs": args.runs != 1,
        "--svg": args.svg is not None,
    }
    for option, is_given in given.items():
        if is_given:
            raise UsageError(f"{option} does not go with --fetches: it is for bulk transfers.")


def _measure_fetches(args: argparse.Namespace, say: Say) -> None:
    from multiwanbond.sim import fetches, fetches_report
    from multiwanbond.sim.random_mixes import scenario_named

    results: list[FetchFigures] = []
    mode = RoutingMode(args.mode)
    for sender in _senders(args):
        say(f"{fetches_report.title(sender, mode, args.seed)}\n\n{fetches_report.HEADER}")
        for name in _chosen(args):
            figures = fetches.measure_fetches(name, scenario_named(name), sender, args.seed, mode)
            results.append(figures)
            say(fetches_report.row(figures))
        say("")
    say("\n".join(fetches_report.LEGEND))
    write_results(args, document=fetches_report.document(results), chart="")


def _list_scenarios(names: Iterable[str]) -> None:
    from multiwanbond.sim.random_mixes import scenario_named

    for name in names:
        scenario = scenario_named(name)
        print(f"{name:<16}{len(scenario.wans)} lines; {scenario.purpose}")
