"""`mwb join`: makes this machine the client that a server has invited."""

import argparse
import getpass
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from multiwanbond.config.invitation import Invitation, read_invitation_untrusted
from multiwanbond.config.key_files import share_with_service, write_key_file
from multiwanbond.config.keys import encode_key
from multiwanbond.config.load import DEFAULT_FILES
from multiwanbond.config.model import Mode
from multiwanbond.config.peer_files import directory_of, write_peer
from multiwanbond.errors import PlatformError, PrivilegeError, UsageError
from multiwanbond.units import NotationError

from . import up
from .another_server import another_server, invite_command, read_client
from .command import main
from .invite import tell_daemon

_ASK: Final = 'The line that "mwb invite" printed on the server (it is not shown): '


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "join",
        help="make this machine a client, by a server's invitation",
        description='Ask for the line that "mwb invite" printed on the server, write the '
        "configuration and the keys, and bring the tunnel up over every WAN there is. The line is "
        "a secret: it is asked for, or read from standard input or a file, never taken from the "
        "command line, which every user of the machine can see.",
    )
    parser.add_argument("line", nargs="?", metavar="-", help="- reads the line from standard input")
    parser.add_argument("--file", type=Path, metavar="FILE", help="read the line from this file")
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        metavar="FILE",
        help=f"configuration file to write; default {DEFAULT_FILES[0]}",
    )
    parser.add_argument(
        "--router",
        action="store_true",
        help="let the hosts of the LAN behind this machine use the tunnel, too",
    )
    there = parser.add_mutually_exclusive_group()
    there.add_argument(
        "--add",
        action="store_true",
        help="add the server to the configuration that is there, to be used while those before it "
        "do not answer",
    )
    there.add_argument(
        "--force", action="store_true", help="replace a configuration that is there already"
    )
    parser.add_argument("--no-up", action="store_true", help="write the files, start nothing")


def run(args: argparse.Namespace) -> int:
    """Write the files, then start the tunnel and say how every WAN does."""
    config: Path = args.config or DEFAULT_FILES[0]
    if args.add:
        return _add(args, config)
    if config.exists() and not args.force:
        raise UsageError(
            f"{config} exists: this machine has a tunnel. --add makes the server another one of "
            "it, --force replaces it."
        )
    invitation = _read(args)
    if invitation.client_key is not None:
        raise UsageError(
            "the invitation is for a machine that is a client already: --add it there."
        )
    _write(config, invitation, is_router=args.router)
    print(f"This machine is {invitation.name!r} now; see {config}.")
    if args.no_up:
        return 0
    code = main(["up", "-c", str(config)])
    _say_how_to_stay(config, is_up=code in {0, up.TRIES_LATER})
    return code


def _add(args: argparse.Namespace, config: Path) -> int:
    """Add the server to those there are, and let the daemon know."""
    client = read_client(config)
    if args.line is None and args.file is None and sys.stdin.isatty():
        print(f"On the other server run: {invite_command(client)}", file=sys.stderr)
    server = another_server(client, _read(args))
    with _explained(config.parent):
        write_peer(directory_of(config), server, Mode.CLIENT)
    print(f"{server.name} is a server of this machine now, after those before it.")
    if not args.no_up:
        tell_daemon(argparse.Namespace(config=config, mode=None))
    return 0


def _read(args: argparse.Namespace) -> Invitation:
    try:
        return read_invitation_untrusted(_text(args))
    except NotationError as exc:
        raise UsageError(f"{exc.problem}. {exc.remedy}.") from exc


def _text(args: argparse.Namespace) -> str:
    if args.file is not None:
        try:
            return str(args.file.read_text(errors="replace"))
        except OSError as exc:
            raise PlatformError(f"{args.file} cannot be read: {exc.strerror}.", "") from exc
    if args.line not in (None, "-"):
        raise UsageError(
            "an invitation on the command line can be seen by every user of this machine. Run "
            '"mwb join" alone and paste it when asked, or pipe it in; and "mwb revoke" this one if '
            "others are logged in."
        )
    if args.line is None and sys.stdin.isatty():
        return getpass.getpass(_ASK)
    return sys.stdin.readline()


def _write(config: Path, invitation: Invitation, *, is_router: bool) -> None:
    """Write configuration and keys; what is there gets out of the way under other names."""
    private, preshared = config.with_suffix(".key"), config.with_suffix(".psk")
    with _explained(config.parent):
        config.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (private, preshared, config):
            if path.exists():
                path.replace(path.with_name(f"{path.name}.old"))
        write_key_file(private, invitation.private_key)
        write_key_file(preshared, invitation.preshared_key)
        draft = config.with_name(f"{config.name}.new")
        with draft.open("w") as file:
            share_with_service(file.fileno(), config.parent)
            file.write(_document(config, invitation, is_router=is_router))
        draft.replace(config)


@contextmanager
def _explained(directory: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as exc:
        problem = f"{directory} cannot be written."
        raise PrivilegeError(problem, "Run the command as root (sudo).") from exc
    except OSError as exc:
        problem = f"{directory} cannot be written: {exc.strerror}."
        raise PlatformError(problem, "Look at the disk, or name another file with -c.") from exc


def _document(config: Path, invitation: Invitation, *, is_router: bool) -> str:
    addresses = ", ".join(f'"{address}"' for address in invitation.addresses)
    dns = ", ".join(f'"{server}"' for server in invitation.dns)
    versions = {address.version for address in invitation.addresses}
    everything = ", ".join(
        f'"{prefix}"' for version, prefix in ((4, "0.0.0.0/0"), (6, "::/0")) if version in versions
    )
    lines = [
        f'# Written by "mwb join" for the client {invitation.name!r}; yours to change.',
        "mode: client",
        f'session: {{remote_endpoint: "{invitation.server}"}}',
        f"tunnel: {{address: [{addresses}]{f', dns: [{dns}]' if dns else ''}}}",
        "security:",
        f"  private_key_file: {config.with_suffix('.key').name}",
        "  peers:",
        "    - name: server",
        f'      public_key: "{encode_key(invitation.server_key)}"',
        f"      preshared_key_file: {config.with_suffix('.psk').name}",
        f"      allowed_ips: [{everything}]",
    ]
    if is_router:
        lines.append("gateway: {forward: on}  # the hosts of the LAN use the tunnel, too")
    return "\n".join(lines) + "\n"


def _say_how_to_stay(config: Path, *, is_up: bool) -> None:
    if is_up and shutil.which("systemctl") and config.parent == DEFAULT_FILES[0].parent:
        print(
            f'To have it at every boot: "mwb down", then "systemctl enable --now '
            f'multiwanbond@{config.stem}".'
        )
