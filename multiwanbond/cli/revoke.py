"""`mwb revoke`: takes an invited client out of a server."""

import argparse

from multiwanbond.config.peer_files import directory_of, is_file_name, remove_peer
from multiwanbond.errors import PrivilegeError, UsageError

from .config_file import add_config_options, file_of, load_file
from .invite import tell_daemon


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "revoke",
        help="take a client out of this server",
        description="Take a client that was invited out of this server. Its keys are worthless "
        "from then on, and so is the line it was invited with.",
    )
    add_config_options(parser)
    parser.add_argument("name", metavar="NAME", help='the client, as "mwb clients" calls it')


def run(args: argparse.Namespace) -> int:
    """Remove the client's file and let the daemon know."""
    configuration = load_file(args)
    directory = directory_of(file_of(args))
    try:
        is_removed = is_file_name(args.name) and remove_peer(directory, args.name)
    except PermissionError as exc:
        problem = f"{directory} cannot be written."
        raise PrivilegeError(problem, "Run the command as root (sudo).") from exc
    if not is_removed:
        if any(peer.label == args.name for peer in configuration.security.peers):
            raise UsageError(f"{args.name!r} is in {file_of(args)} itself: remove it there.")
        raise UsageError(f'there is no client {args.name!r}. "mwb clients" lists them all.')
    tell_daemon(args)
    print(f"{args.name} is a client no more.")
    return 0
