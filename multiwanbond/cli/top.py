"""`mwb top`: the status of a running tunnel, again and again."""

import argparse
import sys
import time
from typing import Final, cast

from multiwanbond.control.client import ask
from multiwanbond.control.protocol import Command
from multiwanbond.control.status import StatusDocument
from multiwanbond.errors import ControlError

from .config_file import add_config_options, load_file
from .status_view import show_status

_HOME: Final = "\x1b[H\x1b[J"
"""Moves to the top left corner and clears what is below."""
LEAST_INTERVAL: Final = 0.1
"""Seconds; the daemon should carry packets, not answer us."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "top",
        help="watch a running tunnel",
        description="Show what mwb status shows, renewed every second, until Ctrl-C. A tunnel that "
        "is not there yet, or ends, is waited for.",
    )
    add_config_options(parser)
    parser.add_argument(
        "--interval", type=float, default=1.0, metavar="SECONDS", help="time between two looks"
    )
    parser.add_argument(
        "--count", type=int, default=0, metavar="N", help="looks to take; 0, the default: no end"
    )


def run(args: argparse.Namespace) -> int:
    """Ask and print until interrupted."""
    socket = load_file(args).control_socket
    looks = 0
    try:
        while True:
            try:
                status = cast(StatusDocument, ask(socket, Command.STATUS))
            except ControlError as exc:
                _begin()
                print(exc)
            else:
                _begin()
                show_status(status)
            sys.stdout.flush()
            looks += 1
            if looks == args.count:
                return 0
            time.sleep(max(args.interval, LEAST_INTERVAL))
    except KeyboardInterrupt:
        return 0


def _begin() -> None:
    """Begin a new picture; in a pipe they follow each other."""
    print(_HOME if sys.stdout.isatty() else "", end="")
