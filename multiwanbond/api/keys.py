"""Key pairs as the configuration writes them."""

import os
from dataclasses import dataclass, field

from multiwanbond.config.keys import encode_key
from multiwanbond.core.handshake import public_key_of


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """What one end keeps, and what the other is told."""

    private: str = field(repr=False)
    """For this end's `security.private_key`, or a file that private_key_file names."""
    public: str
    """For `public_key` in the other end's peers."""


def generate_keys() -> KeyPair:
    """Return a new key pair, as "mwb keygen" makes them."""
    private_key = os.urandom(32)
    return KeyPair(private=encode_key(private_key), public=encode_key(public_key_of(private_key)))
