"""`mwb up`: starts a tunnel in the background and waits until it carries traffic."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast

from multiwanbond.config.model import Configuration
from multiwanbond.control.client import ask
from multiwanbond.control.protocol import Command
from multiwanbond.control.status import StatusDocument
from multiwanbond.errors import ControlError, PlatformError, PrivilegeError
from multiwanbond.units import DURATION

from .arguments import written_as
from .config_file import add_config_options, config_arguments, load_runnable
from .status_view import show_status

LOG_DIRECTORY: Final = Path("/var/log/multiwanbond")
TRIES_LATER: Final = 75
"""EX_TEMPFAIL: not connected yet; the daemon goes on trying."""
LOOK_EVERY: Final = 0.1
LAST_LINES: Final = 15


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "up",
        help="start a tunnel and wait until it is connected",
        description="Start the daemon in the background and wait until the tunnel carries traffic "
        "(a server: until it listens). If that takes too long, say what is missing, WAN by WAN; "
        f"the daemon then goes on trying and the exit code is {TRIES_LATER}.",
    )
    add_config_options(parser)
    parser.add_argument(
        "--timeout",
        type=written_as(DURATION),
        default=20.0,
        metavar="DURATION",
        help="how long to wait, such as 20s (the default) or 1min",
    )
    parser.add_argument(
        "--log",
        type=Path,
        metavar="FILE",
        help=f"where the daemon logs; default {LOG_DIRECTORY}/<tunnel>.log",
    )


def run(args: argparse.Namespace) -> int:
    """Start the daemon unless it runs, and wait until it is connected."""
    configuration = load_runnable(args)
    name, socket = configuration.tunnel.name, configuration.control_socket
    running = status_of(socket)
    log = args.log or LOG_DIRECTORY / f"{name}.log"
    process = None
    if running is not None:
        print(f"{name} is up already (process {running['pid']}).")
    else:
        process = start(config_arguments(args), log)
    return wait_connected(configuration, process, log, args.timeout)


class Started:
    """A daemon we started, and where its log begins."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path, offset: int) -> None:
        self.process: Final = process
        self._log = log
        self._offset = offset

    def last_words(self) -> str:
        """Return the end of what it logged."""
        with self._log.open(errors="replace") as lines:
            lines.seek(self._offset)
            return "".join(lines.readlines()[-LAST_LINES:])


def start(arguments: list[str], log: Path) -> Started:
    """Start `mwb run` in a session of its own, so that it outlives our terminal."""
    try:
        log.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    except PermissionError as exc:
        raise PrivilegeError(
            f"The log {log} cannot be written.", "Run the command as root (sudo)."
        ) from exc
    except OSError as exc:
        raise PlatformError(
            f"The log {log} cannot be written: {exc.strerror}.", "Choose another with --log."
        ) from exc
    try:
        offset = os.lseek(descriptor, 0, os.SEEK_END)
        process = subprocess.Popen(
            # -P: not from a directory that root happens to be in, which may be anybody's.
            [sys.executable, "-P", "-m", "multiwanbond", "run", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)
    return Started(process, log, offset)


def wait_connected(
    configuration: Configuration, started: Started | None, log: Path, timeout: float
) -> int:
    """Return the exit code: 0 once connected, the daemon's own if it dies, else TRIES_LATER."""
    name = configuration.tunnel.name
    begun = time.monotonic()
    status = None
    while time.monotonic() < begun + timeout:
        status = status_of(configuration.control_socket)
        if status is not None and status["is_ready"]:
            print(f"{name} is up after {time.monotonic() - begun:.1f} s; its log: {log}")
            show_status(status)
            return 0
        if started is not None and (code := started.process.poll()) is not None:
            print(started.last_words(), end="", file=sys.stderr)
            print(f"mwb: the daemon ended (exit code {code}).", file=sys.stderr)
            return code if code > 0 else 1
        time.sleep(LOOK_EVERY)
    print(f"{name} is not connected after {timeout:g} s:", file=sys.stderr)
    for line in missing_lines(status):
        print(f"  {line}", file=sys.stderr)
    print(
        f'It goes on trying in the background: see "mwb status" and {log}. "mwb down" ends it.',
        file=sys.stderr,
    )
    return TRIES_LATER


def missing_lines(status: StatusDocument | None) -> Iterator[str]:
    """Yield what a client that is not connected waits for, WAN by WAN."""
    if status is None:
        yield "The daemon does not answer yet."
        return
    if not status["wans"]:
        yield "No WAN: no interface has a default route."
    for wan in status["wans"]:
        where = f" ({wan['interface']})" if wan["interface"] not in (None, wan["name"]) else ""
        if wan["waiting_for"]:
            yield f"WAN {wan['name']}{where}: {wan['waiting_for']}"
        else:
            yield (
                f"WAN {wan['name']}{where}: {wan['remote']} does not answer. Does the server run, "
                "do the keys match, does a firewall let UDP through?"
            )


def status_of(socket: Path) -> StatusDocument | None:
    """Return what the daemon says, None while none answers."""
    try:
        return cast(StatusDocument, ask(socket, Command.STATUS))
    except ControlError:
        return None
