"""`mwb down`: ends a tunnel and leaves nothing of it behind, with or without a daemon."""

import argparse
from pathlib import Path
from typing import Final

from multiwanbond.control.client import ControlClient, NoDaemonError, remove_stale_socket
from multiwanbond.control.protocol import Command
from multiwanbond.errors import ControlError

from .config_file import add_config_options, load_file

PATIENCE: Final = 20.0
"""Seconds to wait for the daemon's end; its own limit for the clean-up is ten."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "down",
        help="stop a tunnel and clean up",
        description="Stop the daemon and wait for its end. Without a daemon, remove what one left "
        "behind. Doing it twice is fine.",
    )
    add_config_options(parser)
    parser.add_argument(
        "--keep-block",
        action="store_true",
        help="leave what 'tunnel.on_failure: block' refuses refused, as after a crash before the "
        "next start",
    )


def run(args: argparse.Namespace) -> int:
    """Stop the daemon, if there is one, then remove what is left."""
    configuration = load_file(args)
    name = configuration.tunnel.name
    was_running = stop_daemon(configuration.control_socket)
    leftovers = clean_up(name, keeps_block=args.keep_block)
    if remove_stale_socket(configuration.control_socket):
        leftovers.append(f"control socket {configuration.control_socket}")
    for leftover in leftovers:
        print(f"removed {leftover}")
    if not was_running and not leftovers:
        print(f"{name} was not up.")
    else:
        print(f"{name} is down.")
    return 0


def stop_daemon(socket: Path) -> bool:
    """Return True when a daemon has ended, False if there was none.

    Raises:
        ControlError: it does not answer, or does not end.
    """
    try:
        client = ControlClient(socket)
    except NoDaemonError:
        return False
    with client:
        client.ask(Command.STOP)
        if not client.wait_gone(PATIENCE):
            raise ControlError(
                f"Process {client.process_id()} has not ended after {PATIENCE:.0f} s.",
                'End it with "kill -9" and run "mwb down" again to clean up.',
            )
    return True


def clean_up(tunnel: str, *, keeps_block: bool = False) -> list[str]:
    """Remove what a daemon that was killed left in the kernel; return what that was, in words."""
    # Here and not above: stopping a daemon needs no pyroute2, and most often nothing is left.
    from multiwanbond.daemon.linux_machine import LinuxMachine
    from multiwanbond.linux.undo import Undo

    machine = LinuxMachine(tunnel)
    with Undo() as undo:
        machine.lock(undo)
        return machine.clean_up(keeps_block=keeps_block)
