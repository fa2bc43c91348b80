"""`mwb init`: writes the configuration of a server after a few questions, or joins one."""

import argparse
import os
import sys
from ipaddress import ip_interface
from pathlib import Path
from typing import Final

from multiwanbond.config.key_files import share_with_service
from multiwanbond.config.keys import KEY_SIZE
from multiwanbond.config.load import DEFAULT_FILES, load_bytes
from multiwanbond.errors import ConfigFileError, PlatformError, PrivilegeError, UsageError

from .command import main
from .keygen import save

_NETWORK: Final = "10.77.0.1/24"
_NETWORK6: Final = "fd77::1/64"
_PORT: Final = "9000"


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "init",
        help="set this machine up, after a few questions",
        description="Ask what this machine is to be, and set it up: a server gets a configuration "
        'and a key, a client an invitation to paste ("mwb join"). An empty answer takes what is '
        "in brackets.",
    )
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        metavar="FILE",
        help=f"configuration file to write; default {DEFAULT_FILES[0]}",
    )


def run(args: argparse.Namespace) -> int:
    """Ask, then write."""
    config: Path = args.config or DEFAULT_FILES[0]
    if config.exists():
        raise UsageError(f"{config} exists: this machine is set up. Edit it, or move it away.")
    role = _ask("Is this the server with the good line, or the client with the WANs?", "server")
    if role.lower().startswith("c"):
        return main(["join", "-c", str(config)])
    if not role.lower().startswith("s"):
        raise UsageError(f"{role!r} is neither server nor client.")
    text = _server(config)
    try:
        load_bytes(text.encode(), config)
    except ConfigFileError as exc:
        raise UsageError(f"that does not fit: {exc}") from exc
    _write(config, text)
    print(f'{config} is written. Next: "mwb up", then "mwb invite NAME" for each client.')
    return 0


def _server(config: Path) -> str:
    port = _ask("On which UDP port should clients reach it?", _PORT)
    public = _ask("By which address or name do they reach it? Empty: its own public one.", "")
    network = _ask("Its IPv4 address in the tunnel, with the network's length", _NETWORK)
    network6 = _ask('Its IPv6 address in the tunnel, or "none"', _NETWORK6)
    addresses = [network] if network6 == "none" else [network, network6]
    try:
        shown = ", ".join(f'"{ip_interface(each)}"' for each in addresses)
    except ValueError as exc:
        raise UsageError(f"{exc}.") from exc
    host = f"[{public}]" if ":" in public else public
    remote = f', remote_endpoint: "{host}:{port}"' if public else ""
    return (
        '# Written by "mwb init"; yours to change. "mwb config explain" lists all settings.\n'
        "mode: server\n"
        f'session: {{local_endpoint: "[::]:{port}"{remote}}}\n'
        f"tunnel: {{address: [{shown}]}}\n"
        f"security: {{private_key_file: {config.with_suffix('.key').name}}}\n"
        f"# Its clients are in {config.with_suffix('.peers').name}/: mwb invite, revoke, clients.\n"
    )


def _ask(question: str, default: str) -> str:
    shown = f" [{default}]" if default else ""
    print(f"{question}{shown} ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise UsageError("the answers ended too early.")
    return line.strip() or default


def _write(config: Path, text: str) -> None:
    try:
        config.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except PermissionError as exc:
        problem = f"{config.parent} cannot be made."
        raise PrivilegeError(problem, "Run the command as root (sudo).") from exc
    save(config.with_suffix(".key"), os.urandom(KEY_SIZE))
    try:
        with config.open("w") as file:
            share_with_service(file.fileno(), config.parent)
            file.write(text)
    except OSError as exc:
        raise PlatformError(f"{config} cannot be written: {exc.strerror}.", "") from exc
