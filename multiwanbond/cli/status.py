"""`mwb status`: how the tunnel does, for people or as JSON."""

import argparse
import json
from typing import cast

from multiwanbond.control.client import ask
from multiwanbond.control.protocol import Command
from multiwanbond.control.status import StatusDocument

from .config_file import add_config_options, load_file
from .status_view import show_status

CONNECTED, NOT_CONNECTED = 0, 1


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "status",
        help="show how a running tunnel does",
        description="Show the tunnel, its peers and every WAN. Exit code 0: connected (a server: "
        "listening); 1: not.",
    )
    add_config_options(parser)
    parser.add_argument("--json", action="store_true", help="print everything, as JSON")


def run(args: argparse.Namespace) -> int:
    """Ask the daemon and print its answer."""
    status = cast(StatusDocument, ask(load_file(args).control_socket, Command.STATUS))
    if args.json:
        print(json.dumps(status, indent=2, ensure_ascii=False))
    else:
        show_status(status)
    return CONNECTED if status["is_ready"] else NOT_CONNECTED
