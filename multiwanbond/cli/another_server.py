"""Another server for a machine that is a client: one that invites it by the key it has."""

from collections.abc import Iterable
from ipaddress import ip_network
from pathlib import Path

from multiwanbond.config.invitation import Invitation
from multiwanbond.config.keys import encode_key
from multiwanbond.config.load import load
from multiwanbond.config.model import Configuration, Mode, Peer
from multiwanbond.config.notations import IpAddress
from multiwanbond.config.peer_files import is_file_name
from multiwanbond.config.runnable import require_runnable
from multiwanbond.core.handshake import public_key_of
from multiwanbond.errors import UsageError


def read_client(config: Path) -> Configuration:
    """Return the configuration of a client.

    Raises:
        ConfigFileError: what is wrong with the file.
        UsageError: it is a server's.
    """
    configuration = require_runnable(load(config))
    if configuration.mode is not Mode.CLIENT:
        raise UsageError(f"{config} is a server's: it has no servers.")
    return configuration


def invite_command(client: Configuration) -> str:
    """Return what to run on the other server."""
    addresses = " ".join(f"--address {address.ip}" for address in client.tunnel.address)
    return f"mwb invite NAME --key {encode_key(_public_key(client))} {addresses}"


def another_server(client: Configuration, invitation: Invitation) -> Peer:
    """Return the server that has sent an invitation, as a peer of the client.

    Raises:
        UsageError: the client cannot use it beside those it has.
    """
    if invitation.client_key != _public_key(client):
        raise UsageError(
            "the invitation is not for this machine's key. On the server run: "
            + invite_command(client)
        )
    offered = {address.ip for address in invitation.addresses}
    own = {address.ip for address in client.tunnel.address}
    if not own <= offered:
        raise UsageError(
            f"the server would give this machine {_listed(offered)}, but it has {_listed(own)} "
            f"already. On the server run: {invite_command(client)}"
        )
    peers = client.security.peers
    if any(peer.public_key == invitation.server_key for peer in peers):
        raise UsageError("this machine has that server already.")
    host = invitation.server.host
    name = host if is_file_name(host) else f"server{len(peers) + 1}"
    if any(peer.label == name for peer in peers):
        name = f"{name}-{invitation.server.port}"
    return Peer(
        name=name,
        public_key=invitation.server_key,
        preshared_key=invitation.preshared_key,
        allowed_ips=tuple(
            dict.fromkeys(
                ip_network("0.0.0.0/0" if address.version == 4 else "::/0")
                for address in client.tunnel.address
            )
        ),
        endpoint=invitation.server,
    )


def _public_key(client: Configuration) -> bytes:
    private_key = client.security.private_key
    assert private_key is not None, "it is runnable"
    return public_key_of(private_key)


def _listed(addresses: Iterable[IpAddress]) -> str:
    return ", ".join(sorted(map(str, addresses)))
