"""`mwb keygen`: makes a private key."""

import argparse
import os
from pathlib import Path

from multiwanbond.config.key_files import write_key_file
from multiwanbond.config.keys import KEY_SIZE, encode_key
from multiwanbond.core.handshake import public_key_of
from multiwanbond.errors import PlatformError, PrivilegeError


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "keygen",
        help="make a private key",
        description="Make a private key and print it, or write it to a file that only its owner "
        "can read and print the public key, which the other end needs.",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write the key to this new file"
    )


def run(args: argparse.Namespace) -> int:
    """Make a key."""
    private_key = os.urandom(KEY_SIZE)
    if args.output is None:
        print(encode_key(private_key))
        return 0
    save(args.output, private_key)
    print(encode_key(public_key_of(private_key)))
    return 0


def save(path: Path, key: bytes) -> None:
    """Write a key to a new file.

    Raises:
        PlatformError: it exists, or cannot be written.
    """
    try:
        write_key_file(path, key)
    except FileExistsError as exc:
        raise PlatformError(
            f"The file '{path}' exists; the key in it could not be had back.",
            "Choose another name, or move it away.",
        ) from exc
    except PermissionError as exc:
        raise PrivilegeError(
            f"The file '{path}' cannot be written.", "Run the command as root (sudo)."
        ) from exc
    except OSError as exc:
        raise PlatformError(
            f"The file '{path}' cannot be written: {exc.strerror}.",
            "Choose another name, or make its directory first.",
        ) from exc
