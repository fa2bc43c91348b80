"""Peers in files of their own, one each: a server's clients that `mwb invite` adds and `mwb revoke`
removes, and a client's further servers that `mwb join --add` adds.

They are beside the configuration, in a directory named after it: config.yaml has config.peers/. A
person's file stays as the person wrote it, comments included.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from multiwanbond.errors import ConfigError, ConfigFileError

from .convert import Converter
from .document import LARGEST, read_document
from .key_files import how_to_read, make_directory, share_with_service
from .keys import encode_key
from .model import Mode, Peer
from .origin import Origin
from .problems import Problems

_SUFFIX: Final = ".yaml"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_HEADERS: Final = {
    Mode.SERVER: '# Written by "mwb invite"; "mwb revoke {}" removes it.\n',
    Mode.CLIENT: '# Written by "mwb join --add"; without this file the server is used no more.\n',
}


def directory_of(configuration: Path) -> Path:
    """Return where the peers of a configuration file are."""
    return configuration.with_suffix(".peers")


def is_file_name(name: str) -> bool:
    """Tell whether a peer of this name can have a file: it has no slash, blank or leading dot."""
    return _NAME.fullmatch(name) is not None


def read_peers(directory: Path) -> Iterator[tuple[Peer, Path]]:
    """Yield the peers in a directory by name, each with its file; none if there is no directory.

    Raises:
        ConfigFileError: everything that is wrong with the first file that has anything.
    """
    if not directory.is_dir():
        return
    for path in sorted(directory.glob(f"*{_SUFFIX}")):
        yield _read(path), path


def _read(path: Path) -> Peer:
    origin = Origin(path)
    try:
        with path.open("rb") as file:
            root = read_document(file.read(LARGEST + 1), origin)
    except OSError as exc:
        problem, remedy = f"cannot be read: {exc.strerror}.", f"{how_to_read(path)}."
        raise ConfigFileError([ConfigError(str(path), problem, remedy)]) from exc
    problems = Problems()
    converter = Converter(Peer, problems, directory=path.absolute().parent)
    peer = None if root is None else converter.section(root, Peer, "")
    problems.raise_if_any(Origin(path, converter.marks))
    if peer is None:
        remedy = "Remove the file, or invite the client again."
        raise ConfigFileError([ConfigError(str(path), "holds no peer.", remedy)])
    return peer


def write_peer(directory: Path, peer: Peer, mode: Mode) -> Path:
    """Write a peer to a new file, which nobody can read who cannot read the directory's others.

    Args:
        directory: of `directory_of`; made if need be.
        peer: with a name that is one for a file, and a preshared key.
        mode: of the end whose peer it is.

    Raises:
        FileExistsError: there is one of that name.
        OSError: it cannot be written; then nothing is left behind.
    """
    assert peer.preshared_key is not None
    make_directory(directory)
    path = directory / f"{peer.name}{_SUFFIX}"
    allowed = ", ".join(f'"{prefix}"' for prefix in peer.allowed_ips)
    text = (
        _HEADERS[mode].format(peer.name) + f"name: {peer.name}\n"
        f'public_key: "{encode_key(peer.public_key)}"\n'
        f'preshared_key: "{encode_key(peer.preshared_key)}"\n'
        f"allowed_ips: [{allowed}]\n"
    )
    if peer.endpoint is not None:
        text += f'endpoint: "{peer.endpoint}"\n'
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            share_with_service(file.fileno(), directory)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink()
        raise
    return path


def remove_peer(directory: Path, name: str) -> bool:
    """Remove a peer's file; False if there is none."""
    try:
        (directory / f"{name}{_SUFFIX}").unlink()
    except FileNotFoundError:
        return False
    return True
