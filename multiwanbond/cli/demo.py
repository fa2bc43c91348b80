"""`mwb demo`: client and server on this machine, three WANs between them, one of which is cut."""

import argparse
import json
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from multiwanbond.lab.demo import Outcome

SECONDS: Final = 30.0
SHORTEST: Final = 6.0
"""Less would not leave time to notice the cut and the return."""
FAILED: Final = 1


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "demo",
        help="show a bond at work on this machine",
        description="Join two network namespaces by three emulated WANs, bond them, download "
        "something, cut the fastest WAN without a word and restore it, and say how it went. "
        "Everything is removed at the end, also after Ctrl-C. Exit code 0 only if the download "
        "was intact, went on during the cut, and got the WAN back.",
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=SECONDS,
        metavar="N",
        help=f"how long to download; at least {SHORTEST:g}, default {SECONDS:g}",
    )
    parser.add_argument("--no-live", action="store_true", help="print lines, draw nothing")
    parser.add_argument("--json", action="store_true", help="print the outcome alone, as JSON")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds >= SHORTEST:
        msg = f"expected a number of seconds, at least {SHORTEST:g}, found {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return seconds


def run(args: argparse.Namespace) -> int:
    """Play the demo and say what it showed."""
    # Here and not above: rich and the lab are no use to other verbs.
    from multiwanbond.lab.namespaces import demand_lab
    from multiwanbond.lab.processes import Interrupted, interruptible

    demand_lab("run: sudo mwb demo")
    try:
        with interruptible():
            return _play(args)
    except Interrupted as exc:
        print("Interrupted; everything is removed again.", file=sys.stderr)
        return exc.exit_code


def _play(args: argparse.Namespace) -> int:
    from multiwanbond.lab import demo, demo_report

    if args.json:
        outcome = demo.run(args.seconds, show=_ignore, say=_ignore)
        print(json.dumps(demo_report.document(outcome), indent=2))
    else:
        is_live = sys.stdout.isatty() and not args.no_live
        outcome = _play_live(args.seconds) if is_live else _play_plainly(args.seconds)
        print("\n".join(["", *demo_report.lines(outcome)]))
    return 0 if outcome.is_success else FAILED


def _play_live(seconds: float) -> "Outcome":
    from rich.console import Console

    from multiwanbond.lab import demo, demo_view

    console = Console()
    with demo_view.LiveView(console) as view:
        return demo.run(seconds, show=view.show, say=console.print)


def _play_plainly(seconds: float) -> "Outcome":
    from multiwanbond.lab import demo, demo_view

    view = demo_view.PlainView(_say)
    return demo.run(seconds, show=view.show, say=_say)


def _say(text: str) -> None:
    # Flushed, so that a pipe shows the story as it happens.
    print(text, flush=True)


def _ignore(_: object) -> None:
    """Show nothing: JSON speaks only at the end."""
