"""`mwb pubkey`: turns the private key on standard input into its public key."""

import argparse
import sys

from multiwanbond.config.keys import decode_key, encode_key
from multiwanbond.core.handshake import public_key_of
from multiwanbond.errors import UsageError
from multiwanbond.units import NotationError


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the verb."""
    subparsers.add_parser(
        "pubkey",
        help="turn a private key into its public key",
        description="Read a private key from standard input and print its public key: "
        "mwb pubkey < private.key",
    )


def run(args: argparse.Namespace) -> int:
    """Print the public key."""
    text = sys.stdin.buffer.read(4096).decode("ascii", errors="replace")
    try:
        private_key = decode_key(text)
    except NotationError as exc:
        raise UsageError(f"what came on standard input {exc}") from exc
    print(encode_key(public_key_of(private_key)))
    return 0
