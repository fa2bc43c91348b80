"""Keys as text: base64 of 32 bytes, as WireGuard writes them."""

import base64
import binascii
from typing import Final

from multiwanbond.units import NotationError

KEY_SIZE: Final = 32
TEXT_SIZE: Final = 44

_ADVICE: Final = f'Keys are {TEXT_SIZE} characters ending in "=", as "mwb keygen" prints them'


def encode_key(key: bytes) -> str:
    """Return a key as text."""
    return base64.b64encode(key).decode()


def decode_key(text: str) -> bytes:
    """Return the 32 bytes of a key; surrounding white space does not matter.

    Raises:
        NotationError: it is no key. The message does not quote it, since it may be a secret.
    """
    text = text.strip()
    if len(text) != TEXT_SIZE:
        raise NotationError(f"is no key: it has {len(text)} characters", _ADVICE)
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise NotationError("is no key: it has characters that base64 has not", _ADVICE) from exc
    if len(key) != KEY_SIZE:
        raise NotationError(f"is no key: it stands for {len(key)} bytes, not 32", _ADVICE)
    # Two texts that differ in unused bits only would be one key under two names.
    if encode_key(key) != text:
        raise NotationError("is no key: its last character is impossible", _ADVICE)
    return key
