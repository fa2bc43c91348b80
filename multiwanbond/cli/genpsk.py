"""`mwb genpsk`: makes a preshared key."""

import argparse
import os
from pathlib import Path

from multiwanbond.config.keys import KEY_SIZE, encode_key

from .keygen import save


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "genpsk",
        help="make a preshared key",
        description="Make a preshared key and print it, or write it to a file that only its owner "
        "can read. Both ends of a bond need the same.",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write the key to this new file"
    )


def run(args: argparse.Namespace) -> int:
    """Make a key."""
    key = os.urandom(KEY_SIZE)
    if args.output is None:
        print(encode_key(key))
    else:
        save(args.output, key)
    return 0
