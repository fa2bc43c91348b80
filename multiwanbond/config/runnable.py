"""Whether a daemon can run with a configuration: nothing missing, and the key files read."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from multiwanbond.core.handshake import is_public_key, public_key_of
from multiwanbond.units import NotationError

from .key_files import read_key_file, refuse_if_shared
from .model import Configuration, Mode, Security
from .problems import Problems

_MAKE_KEY: Final = (
    'Make one with "mwb keygen -o /etc/multiwanbond/private.key" and add '
    "'private_key_file: /etc/multiwanbond/private.key'"
)
_ADD_PEER: Final = 'Add the server, with its public_key and allowed_ips; or use "mwb join"'


def require_runnable(configuration: Configuration) -> Configuration:
    """Return the configuration with the keys that its key files hold.

    Raises:
        ConfigFileError: everything that a daemon would lack.
    """
    problems = Problems()
    security = _with_keys(configuration.security, problems)
    _check_secrecy(configuration, problems)
    _check_complete(configuration, problems)
    _check_identities(security, problems)
    problems.raise_if_any(configuration.origin)
    return dataclasses.replace(configuration, security=security)


def _with_keys(security: Security, problems: Problems) -> Security:
    private_key = _key(
        security.private_key, security.private_key_file, "security.private_key_file", problems
    )
    peers = tuple(
        dataclasses.replace(
            peer,
            preshared_key=_key(
                peer.preshared_key,
                peer.preshared_key_file,
                f"security.peers[{index}].preshared_key_file",
                problems,
            ),
        )
        for index, peer in enumerate(security.peers)
    )
    return dataclasses.replace(security, private_key=private_key, peers=peers)


def _key(key: bytes | None, file: Path | None, name: str, problems: Problems) -> bytes | None:
    """Return the key itself, or else the one in the file; None if there is neither."""
    if key is not None or file is None:
        return key
    try:
        return read_key_file(file)
    except NotationError as exc:
        problems.add(name, exc.problem, exc.remedy)
        return None


def _check_secrecy(configuration: Configuration, problems: Problems) -> None:
    """Complain about a secret in a file that others can read."""
    origin, security = configuration.origin, configuration.security
    seen: set[Path] = set()
    for key, secret, part in _inline_secrets(security):
        path = origin.files.get(part, origin.path)
        if secret is None or path is None or path in seen:
            continue
        seen.add(path)
        try:
            refuse_if_shared(path, path.stat())
        except NotationError as exc:
            problems.add(key, exc.problem, exc.remedy)


def _inline_secrets(security: Security) -> Iterator[tuple[str, bytes | None, str]]:
    """Yield key, secret, and the part of the configuration that may be a file of its own."""
    yield "security.private_key", security.private_key, "security"
    for index, peer in enumerate(security.peers):
        part = f"security.peers[{index}]"
        yield f"{part}.preshared_key", peer.preshared_key, part


def _check_complete(configuration: Configuration, problems: Problems) -> None:
    if configuration.mode is None:
        remedy = "Add 'mode: client' or 'mode: server', or use --mode"
        problems.add("mode", "is missing", remedy)
    if not configuration.tunnel.address:
        problems.add(
            "tunnel.address",
            "is missing: this end needs an address inside the tunnel",
            "Add one, such as 'address: [10.77.0.2/24]', of one network at both ends",
        )
    wans = configuration.wans
    if configuration.mode is Mode.CLIENT and wans and not any(wan.enabled for wan in wans):
        problems.add("wans", "none of them is enabled", "Write 'enabled: true' for one at least")
    security = configuration.security
    if security.private_key is None and security.private_key_file is None:
        problems.add("security.private_key_file", "is missing", _MAKE_KEY)
    if not security.peers and configuration.mode is not Mode.SERVER:
        problems.add("security.peers", "there is none", _ADD_PEER)
    for index, peer in enumerate(security.peers):
        if not peer.allowed_ips:
            problems.add(
                f"security.peers[{index}].allowed_ips",
                "is missing: nothing could be sent to this peer, nor accepted from it",
                "Add the addresses behind it, such as 'allowed_ips: [10.77.0.0/24]'",
            )


def _check_identities(security: Security, problems: Problems) -> None:
    """Complain about public keys no handshake can succeed with."""
    own = None if security.private_key is None else public_key_of(security.private_key)
    for index, peer in enumerate(security.peers):
        key = f"security.peers[{index}].public_key"
        if not is_public_key(peer.public_key):
            problems.add(
                key, "is no public key", 'Copy what "mwb pubkey" or "mwb keygen" prints there'
            )
        elif peer.public_key == own:
            problems.add(key, "is this end's own", "Put the far end's public key here")
