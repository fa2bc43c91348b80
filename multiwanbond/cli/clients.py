"""`mwb clients`: who may use this server, and who does."""

import argparse
import json
from typing import Any

from multiwanbond.config.model import Configuration, Mode, Peer
from multiwanbond.control.status import PeerDocument, StatusDocument
from multiwanbond.errors import UsageError

from .config_file import add_config_options, load_file
from .up import status_of


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "clients",
        help="list the clients of this server",
        description="List the clients of this server: their addresses, whether they are connected, "
        "and what they have sent and received.",
    )
    add_config_options(parser)
    parser.add_argument("--json", action="store_true", help="for programs")


def run(args: argparse.Namespace) -> int:
    """Print the list."""
    configuration = load_file(args)
    if configuration.mode is not Mode.SERVER:
        raise UsageError(f"{configuration.origin.where('')} is a client's: it has a server only.")
    clients = _clients(configuration, status_of(configuration.control_socket))
    if args.json:
        print(json.dumps(clients, indent=2))
        return 0
    if not clients:
        print('There are no clients. "mwb invite NAME" adds one.')
        return 0
    width = max(len(each["name"]) for each in clients)
    for each in clients:
        state = _state(each)
        print(f"{each['name']:<{width}}  {', '.join(each['allowed_ips'])}  {state}")
    return 0


def _clients(configuration: Configuration, status: StatusDocument | None) -> list[dict[str, Any]]:
    peers = {} if status is None else {peer["name"]: peer for peer in status["peers"]}
    return [_client(peer, peers.get(peer.label)) for peer in configuration.security.peers]


def _client(peer: Peer, known: PeerDocument | None) -> dict[str, Any]:
    return {
        "name": peer.label,
        "allowed_ips": [str(prefix) for prefix in peer.allowed_ips],
        "is_connected": None if known is None else known["is_connected"],
        "paths": 0 if known is None else len(known["paths"]),
        "sent_bytes": 0 if known is None else known["sent_bytes"],
        "received_bytes": 0 if known is None else known["received_bytes"],
    }


def _state(client: dict[str, Any]) -> str:
    if client["is_connected"] is None:
        return "unknown: the daemon does not run, or has not read it yet"
    if not client["is_connected"]:
        return "not connected"
    sent, received = client["sent_bytes"] / 1e6, client["received_bytes"] / 1e6
    return f"connected over {client['paths']} WANs, {sent:.1f} MB to it, {received:.1f} MB from it"
