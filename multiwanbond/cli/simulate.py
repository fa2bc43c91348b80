"""`mwb simulate`: what the bond makes of the standard line mixes, in the simulator."""

import argparse
import difflib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from multiwanbond.core.settings import RoutingMode
from multiwanbond.errors import UsageError

from .results import STANDARD_OUTPUT, check_writable, write_results

if TYPE_CHECKING:
    from multiwanbond.sim.fetches import FetchFigures
    from multiwanbond.sim.scoreboard import Figures, InnerSender, Plan

SHORTEST: Final = 0.5
"""Less would show the opening of a connection and nothing else."""
MOST_FLOWS: Final = 100

SENDERS: Final = ("cubic", "bbr")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "simulate",
        help="show what the bond makes of standard line mixes",
        description="Run TCP through real endpoints over simulated lines, in virtual time, and "
        "compare with the lines' sum and with the best of them alone. Needs neither root nor "
        "network. All scenarios take a minute or two.",
    )
    parser.add_argument(
        "--scenario",
        action="append",
        type=_one_of("scenario", _scenario_names),
        metavar="NAME",
        help='only this one; may be given more than once; "list" shows them',
    )
    parser.add_argument(
        "--mode",
        type=_one_of("routing mode", lambda: [mode.value for mode in RoutingMode]),
        default=RoutingMode.ADAPTIVE.value,
        metavar="MODE",
        help="routing mode of both ends; default adaptive",
    )
    parser.add_argument(
        "--sender",
        action="append",
        type=_one_of("sender", lambda: SENDERS),
        metavar="NAME",
        help="congestion control of the TCP flows; cubic (the default) or bbr, or both",
    )
    parser.add_argument("--up", action="store_true", help="from the client; default: to it")
    parser.add_argument(
        "--flows", type=_flows, default=1, metavar="N", help="TCP flows at once; default 1"
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
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
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures here; -: print them alone"
    )
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write a chart here")


def _scenario_names() -> list[str]:
    from multiwanbond.sim.scenarios import SCENARIOS

    return [*SCENARIOS, "list"]


def _one_of(what: str, known: Callable[[], Iterable[str]]) -> Callable[[str], str]:
    """Return a function for argparse's `type=` that knows what was probably meant."""

    def read(text: str) -> str:
        names = list(known())
        if text in names:
            return text
        near = difflib.get_close_matches(text[:64], names, n=1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        msg = f"there is no {what} {text!r}.{meant} Known: {', '.join(names)}"
        raise argparse.ArgumentTypeError(msg)

    return read


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not SHORTEST <= seconds < float("inf"):
        msg = f"expected a number of seconds, at least {SHORTEST:g}, found {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return seconds


def _flows(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_FLOWS:
        msg = f"expected a number of flows, 1 to {MOST_FLOWS}, found {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Run the scenarios and show the figures."""
    if args.scenario and "list" in args.scenario:
        _list_scenarios()
        return 0
    is_quiet = args.json == STANDARD_OUTPUT
    if args.fetches:
        _refuse_beside_fetches(args)
        check_writable(args)
        return _run_fetches(args, is_quiet=is_quiet)
    check_writable(args)
    results = []
    for plan in _plans(args):
        results += _run_plan(plan, args.scenario, is_quiet=is_quiet)
    _write_results(args, results)
    return 0


def _senders(args: argparse.Namespace) -> "list[InnerSender]":
    from multiwanbond.sim.scoreboard import InnerSender

    return [InnerSender(name) for name in dict.fromkeys(args.sender or ["cubic"])]


def _plans(args: argparse.Namespace) -> "list[Plan]":
    from multiwanbond.sim.scoreboard import Plan

    return [
        Plan(
            sender=sender,
            mode=RoutingMode(args.mode),
            flows=args.flows,
            is_upload=args.up,
            seconds=args.seconds,
            seed=args.seed,
        )
        for sender in _senders(args)
    ]


def _run_plan(
    plan: "Plan", names: list[str] | None, *, is_quiet: bool
) -> "list[tuple[Plan, Figures]]":
    from multiwanbond.sim import scoreboard, scoreboard_report
    from multiwanbond.sim.scenarios import SCENARIOS

    if not is_quiet:
        print(f"{scoreboard_report.title(plan)}\n\n{scoreboard_report.HEADER}", flush=True)
    results = []
    for name in dict.fromkeys(names or SCENARIOS):
        figures = scoreboard.measure(name, SCENARIOS[name], plan)
        results.append((plan, figures))
        if not is_quiet:
            print(scoreboard_report.row(figures), flush=True)
    if not is_quiet:
        print("\n".join(["", *scoreboard_report.LEGEND]))
    return results


def _refuse_beside_fetches(args: argparse.Namespace) -> None:
    """Refuse what would have no effect.

    Raises:
        UsageError: something was given that says how bulk transfers are measured.
    """
    given = {
        "--up": args.up,
        "--flows": args.flows != 1,
        "--seconds": args.seconds is not None,
        "--svg": args.svg is not None,
    }
    for option, is_given in given.items():
        if is_given:
            raise UsageError(f"{option} does not go with --fetches: it is for bulk transfers.")


def _run_fetches(args: argparse.Namespace, *, is_quiet: bool) -> int:
    from multiwanbond.sim import fetches, fetches_report
    from multiwanbond.sim.scenarios import SCENARIOS

    results: list[FetchFigures] = []
    for sender in _senders(args):
        mode = RoutingMode(args.mode)
        if not is_quiet:
            title = fetches_report.title(sender, mode, args.seed)
            print(f"{title}\n\n{fetches_report.HEADER}", flush=True)
        for name in dict.fromkeys(args.scenario or SCENARIOS):
            figures = fetches.measure_fetches(name, SCENARIOS[name], sender, args.seed, mode)
            results.append(figures)
            if not is_quiet:
                print(fetches_report.row(figures), flush=True)
        if not is_quiet:
            print("\n".join(["", *fetches_report.LEGEND]))
    write_results(args, document=fetches_report.document(results), chart="")
    return 0


def _write_results(args: argparse.Namespace, results: "list[tuple[Plan, Figures]]") -> None:
    from multiwanbond.sim import scoreboard_report

    write_results(
        args, document=scoreboard_report.document(results), chart=scoreboard_report.chart(results)
    )


def _list_scenarios() -> None:
    from multiwanbond.sim.scenarios import SCENARIOS

    for name, scenario in SCENARIOS.items():
        print(f"{name:<16}{len(scenario.wans)} lines; {scenario.purpose}")
