"""`mwb invite`: adds a client to a server, and prints the line that makes a machine that client."""

import argparse
import os
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from multiwanbond.config.invitation import Invitation
from multiwanbond.config.keys import KEY_SIZE
from multiwanbond.config.model import Configuration, Mode, Peer
from multiwanbond.config.notations import HOST_PORT, IP_ADDRESS, KEY, HostPort
from multiwanbond.config.peer_files import directory_of, is_file_name, write_peer
from multiwanbond.config.pool import claimed_addresses, free_addresses
from multiwanbond.control.client import ask
from multiwanbond.control.protocol import Command
from multiwanbond.errors import ControlError, PlatformError, PrivilegeError, UsageError
from multiwanbond.units import NotationError

from .arguments import written_as
from .config_file import add_config_options, file_of, load_runnable
from .reload import PATIENCE, daemon_of


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "invite",
        help="add a client to this server",
        description="Add a client to this server, with an address of its own, and print the line "
        'that "mwb join" on that machine asks for. Whoever has the line is that client: send it as '
        'you would a password. "mwb revoke" takes the client out again.',
    )
    add_config_options(parser)
    parser.add_argument("name", metavar="NAME", help="what to call the client")
    parser.add_argument(
        "--endpoint",
        type=written_as(HOST_PORT),
        metavar="HOST:PORT",
        help="where clients reach this server; default session.remote_endpoint, or the public "
        "address it has",
    )
    parser.add_argument(
        "--address",
        type=written_as(IP_ADDRESS),
        action="append",
        default=[],
        metavar="ADDRESS",
        help="the client's address in the tunnel, once each for IPv4 and IPv6; default the lowest "
        "free ones",
    )
    parser.add_argument(
        "--key",
        type=written_as(KEY),
        metavar="PUBLIC_KEY",
        help='the client has this key already, from another server: "mwb join --add" there prints '
        "what to write here",
    )
    parser.add_argument("--no-qr", action="store_true", help="print no QR code")


def run(args: argparse.Namespace) -> int:
    """Write the client's file, let the daemon know, and print the line."""
    configuration = load_runnable(args)
    _check(configuration, args.name, args.key)
    invitation = _invitation(configuration, args)
    _save(directory_of(file_of(args)), invitation)
    tell_daemon(args)
    line = invitation.line()
    addresses = ", ".join(str(address.ip) for address in invitation.addresses)
    verb = "join" if args.key is None else "join --add"
    print(
        f"{args.name} is a client now, with {addresses}. "
        f'On its machine run "sudo mwb {verb}", and paste this line there:',
        file=sys.stderr,
    )
    print(line)
    if not args.no_qr and sys.stdout.isatty():
        _print_qr(line)
    return 0


def _check(configuration: Configuration, name: str, key: bytes | None) -> None:
    if configuration.mode is not Mode.SERVER:
        raise UsageError(f"{configuration.origin.where('')} is a client's: invite on the server.")
    if not is_file_name(name):
        raise UsageError(
            f"{name!r} cannot be a client's name: use letters, digits, '-', '_' and '.'."
        )
    if any(peer.label == name for peer in configuration.security.peers):
        raise UsageError(f'there is a client {name!r} already. "mwb clients" lists them all.')
    for peer in configuration.security.peers:
        if peer.public_key == key:
            raise UsageError(f"the client {peer.label!r} has this key already.")


def _invitation(configuration: Configuration, args: argparse.Namespace) -> Invitation:
    from multiwanbond.core.handshake import public_key_of

    try:
        claimed = claimed_addresses(configuration, args.address)
    except NotationError as exc:
        raise UsageError(f"{exc.problem}. {exc.remedy}.") from exc
    addresses = claimed or free_addresses(configuration)
    if not addresses:
        raise PlatformError(
            "Every address of the tunnel's networks is taken.", "Choose a larger tunnel.address."
        )
    private_key = configuration.security.private_key
    assert private_key is not None, "it is runnable"
    return Invitation(
        name=args.name,
        server=args.endpoint or configuration.session.remote_endpoint or _public(configuration),
        server_key=public_key_of(private_key),
        addresses=addresses,
        dns=configuration.tunnel.dns,
        secret=os.urandom(KEY_SIZE),
        client_key=args.key,
    )


def _public(configuration: Configuration) -> HostPort:
    """Return where the Internet sees this machine, if it has such an address itself."""
    from multiwanbond.linux.netlink import Netlink
    from multiwanbond.linux.wans import Uplinks

    local = configuration.session.local_endpoint
    candidates = [local.host] if local.host not in ("::", "0.0.0.0") else []
    uplinks = Uplinks(Netlink(), tunnel=configuration.tunnel.name)
    candidates += [found.local_host for found in uplinks.discover()]
    for host in candidates:
        if ip_network(host).is_global:
            return HostPort(host, local.port)
    raise PlatformError(
        f"This machine has no public address of its own ({', '.join(candidates) or 'none'}).",
        "Say by which clients reach it: --endpoint HOST:PORT, or session.remote_endpoint in the "
        "file.",
    )


def _save(directory: Path, invitation: Invitation) -> None:
    from multiwanbond.core.handshake import public_key_of

    peer = Peer(
        name=invitation.name,
        public_key=invitation.client_key or public_key_of(invitation.private_key),
        preshared_key=invitation.preshared_key,
        allowed_ips=tuple(ip_network(address.ip) for address in invitation.addresses),
    )
    try:
        write_peer(directory, peer, Mode.SERVER)
    except PermissionError as exc:
        problem = f"{directory} cannot be written."
        raise PrivilegeError(problem, "Run the command as root (sudo).") from exc
    except OSError as exc:
        raise PlatformError(f"{directory} cannot be written: {exc.strerror}.", "") from exc


def tell_daemon(args: argparse.Namespace) -> None:
    """Let a running daemon read the clients again; one that is not running will when it starts."""
    try:
        answer = ask(daemon_of(args), Command.RELOAD, timeout=PATIENCE)
    except ControlError:
        print('The daemon does not run: start it with "mwb up".', file=sys.stderr)
        return
    if answer["outcome"] not in _FOLLOWED:
        for line in answer["lines"]:
            print(f"mwb: {line}", file=sys.stderr)
        print("The daemon goes on as before: restart it.", file=sys.stderr)


_FOLLOWED: Final = frozenset({"applied", "unchanged"})


def _print_qr(line: str) -> None:
    import segno

    segno.make(line, error="l").terminal(out=sys.stderr, compact=True)
