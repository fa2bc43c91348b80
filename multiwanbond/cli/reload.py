"""`mwb reload`: a running tunnel follows its changed file, all of it or nothing."""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast

from multiwanbond.config.model import RUN_DIRECTORY
from multiwanbond.control.client import ask
from multiwanbond.control.protocol import Command
from multiwanbond.control.status import ReloadDocument, ReloadOutcome, StatusDocument
from multiwanbond.errors import ConfigError, ControlError, PlatformError

from .config_file import add_config_options, file_of, load_file

PATIENCE: Final = 30.0
"""Seconds to wait for the answer: routes are changed meanwhile, and key files read."""
LOOK_PATIENCE: Final = 1.0

_EXIT_CODES: Final = {
    ReloadOutcome.APPLIED: 0,
    ReloadOutcome.UNCHANGED: 0,
    ReloadOutcome.REFUSED: PlatformError.exit_code,
    ReloadOutcome.BROKEN: ConfigError.exit_code,
}


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "reload",
        help="let a running tunnel follow its changed file",
        description="Let the daemon read its file again. What has changed is applied without "
        'losing a packet, or nothing is: exit code 0; 78: the file is wrong, as "mwb check" would '
        "say; 69: something in it takes a restart.",
    )
    add_config_options(parser)


def run(args: argparse.Namespace) -> int:
    """Ask the daemon and print its answer."""
    answer = cast(ReloadDocument, ask(daemon_of(args), Command.RELOAD, timeout=PATIENCE))
    outcome = ReloadOutcome(answer["outcome"])
    match outcome:
        case ReloadOutcome.UNCHANGED:
            print(f"Nothing has changed in {answer['file']}.")
        case ReloadOutcome.APPLIED:
            print(f"Applied {answer['file']}:")
            for line in answer["lines"]:
                print(f"  {line}")
        case ReloadOutcome.REFUSED | ReloadOutcome.BROKEN:
            for line in answer["lines"]:
                print(f"mwb: {line}", file=sys.stderr)
            print("mwb: Nothing was changed; the tunnel goes on as it was.", file=sys.stderr)
    return _EXIT_CODES[outcome]


def daemon_of(args: argparse.Namespace) -> Path:
    """Return the control socket of the daemon that was started with the file.

    The file itself is looked into only where no daemon says so: what is in it now may be wrong, or
    name another tunnel.

    Raises:
        ConfigFileError: everything that is wrong with the file, which would tell the socket.
    """
    file = os.path.realpath(file_of(args))
    for socket in _sockets():
        try:
            status = cast(StatusDocument, ask(socket, Command.STATUS, timeout=LOOK_PATIENCE))
        except ControlError:
            continue
        if os.path.realpath(status.get("config") or "") == file:
            return socket
    return load_file(args).control_socket


def _sockets() -> Iterator[Path]:
    try:
        yield from sorted(RUN_DIRECTORY.glob("*.sock"))
    except OSError:
        return  # not ours to look at
