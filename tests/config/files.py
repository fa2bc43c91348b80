"""Writes configuration files for tests and collects the complaints about them."""

from pathlib import Path
from typing import Final

import pytest

from multiwanbond.config.keys import encode_key
from multiwanbond.config.load import load_bytes
from multiwanbond.config.model import Configuration, Mode
from multiwanbond.core.handshake import public_key_of
from multiwanbond.errors import ConfigFileError

PRIVATE_KEY: Final = bytes(range(32))
PEER_PRIVATE_KEY: Final = bytes(range(1, 33))
PEER_KEY: Final = encode_key(public_key_of(PEER_PRIVATE_KEY))
OTHER_KEY: Final = encode_key(public_key_of(bytes(range(2, 34))))

CLIENT: Final = f"""\
mode: client
session: {{remote_endpoint: "vps.example.net:9000"}}
tunnel: {{address: [10.77.0.2/24]}}
security:
  private_key_file: private.key
  peers:
    - {{name: vps, public_key: "{PEER_KEY}", allowed_ips: [10.77.0.0/24]}}
"""
"""A client that can run beside a `private.key`."""


def read(text: str, *, mode: Mode | None = None, path: str = "test.yaml") -> Configuration:
    """Load a configuration given as text."""
    return load_bytes(text.encode(), Path(path), mode=mode)


def complaints(text: str | bytes, *, mode: Mode | None = None) -> list[str]:
    """Return what is said about a faulty configuration, one line for each mistake."""
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(ConfigFileError) as caught:
        load_bytes(data, Path("test.yaml"), mode=mode)
    assert len(str(caught.value).splitlines()) == len(caught.value.errors)
    return [str(error) for error in caught.value.errors]


def complaint(text: str | bytes, *, mode: Mode | None = None) -> str:
    """Return what is said about a configuration with one mistake."""
    (only,) = complaints(text, mode=mode)
    return only


def write_key(directory: Path, name: str = "private.key", *, mode: int = 0o600) -> Path:
    """Write our private key to a file and return its path."""
    path = directory / name
    path.write_text(encode_key(PRIVATE_KEY) + "\n")
    path.chmod(mode)
    return path


def write(directory: Path, text: str, *, mode: int = 0o600) -> Path:
    """Write a configuration to a file and return its path."""
    path = directory / "config.yaml"
    path.write_text(text)
    path.chmod(mode)
    return path
