"""The line that pairs a client with a server: all the client must know, in one piece of text.

    mwb1:<base64url of a JSON object, then of its checksum>

It holds one secret, from which the client's private key and the preshared key are derived: whoever
has the line is the client. A client that has a key pair already, of another server, is invited by
its public key. The checksum tells a line that lost its end in a chat window.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from hashlib import blake2s
from ipaddress import ip_interface
from typing import Any, Final

from multiwanbond.units import NotationError

from .keys import decode_key, encode_key
from .notations import HOST_PORT, IP_ADDRESS, NAME, HostPort, InterfaceAddress, IpAddress

PREFIX: Final = "mwb1:"
_CHECKSUM: Final = 4
_LARGEST: Final = 2000
"""Characters; a QR code holds no more, and no invitation of ours has a third of it."""
_REMEDY: Final = 'Copy the whole line that "mwb invite" printed, or make another'


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """What a client must know to be one."""

    name: str
    """What the server calls the client."""
    server: HostPort
    server_key: bytes
    """The server's public key."""
    addresses: tuple[InterfaceAddress, ...]
    """The client's, in the tunnel."""
    dns: tuple[IpAddress, ...] = ()
    secret: bytes
    client_key: bytes | None = None
    """The client's public key, if it had one; else `private_key` makes it."""

    @property
    def private_key(self) -> bytes:
        """The client's, unless it has one already."""
        return _derived(self.secret, b"private")

    @property
    def preshared_key(self) -> bytes:
        """Of both ends."""
        return _derived(self.secret, b"preshare")

    def line(self) -> str:
        """Return it as one line of text."""
        document = {
            "n": self.name,
            "e": str(self.server),
            "k": encode_key(self.server_key),
            "a": [str(address) for address in self.addresses],
            "d": [str(server) for server in self.dns],
            "s": encode_key(self.secret),
            **({} if self.client_key is None else {"p": encode_key(self.client_key)}),
        }
        data = json.dumps(document, separators=(",", ":")).encode()
        return PREFIX + base64.urlsafe_b64encode(data + _checksum(data)).decode().rstrip("=")


def read_invitation_untrusted(text: str) -> Invitation:
    """Return the invitation in a line.

    Raises:
        NotationError: it is none, or not whole.
    """
    line = "".join(text.split())
    if not line.startswith(PREFIX) or len(line) > _LARGEST:
        raise NotationError("this is no invitation", _REMEDY)
    try:
        encoded = line.removeprefix(PREFIX)
        whole = base64.b64decode(encoded + "=" * (-len(encoded) % 4), b"-_", validate=True)
        data, checksum = whole[:-_CHECKSUM], whole[-_CHECKSUM:]
        if checksum != _checksum(data):
            raise NotationError("the invitation is not whole, or has a typing error", _REMEDY)
        return _read(json.loads(data))
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError) as exc:
        raise NotationError("this is no invitation that we understand", _REMEDY) from exc


def _read(document: dict[str, Any]) -> Invitation:
    return Invitation(
        name=NAME.parse(str(document["n"])),
        server=HOST_PORT.parse(str(document["e"])),
        server_key=decode_key(str(document["k"])),
        addresses=tuple(ip_interface(str(each)) for each in document["a"]),
        dns=tuple(IP_ADDRESS.parse(str(each)) for each in document["d"]),
        secret=decode_key(str(document["s"])),
        client_key=decode_key(str(document["p"])) if "p" in document else None,
    )


def _checksum(data: bytes) -> bytes:
    return blake2s(data, digest_size=_CHECKSUM).digest()


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return blake2s(b"multiwanbond invitation", key=secret, person=purpose[:8]).digest()
