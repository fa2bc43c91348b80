"""Reads a configuration file: the one gate through which text becomes settings.

Everything that is wrong is reported at once, each with file, line, column, value and remedy.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from multiwanbond.errors import ConfigError, ConfigFileError

from .convert import Converter
from .document import LARGEST, read_document
from .fit import check_fit
from .key_files import how_to_read
from .model import Configuration, Mode, Peer
from .origin import Origin
from .peer_files import directory_of, read_peers
from .problems import Problems

DEFAULT_FILES: Final = tuple(
    Path("/etc/multiwanbond") / name for name in ("config.yaml", "config.yml", "config.json")
)
"""Where `mwb` looks if it is not told."""

_EXAMPLE: Final = 'The README shows one; "mwb config explain" lists the settings.'


def find_file(candidates: Sequence[Path] = DEFAULT_FILES) -> Path:
    """Return the first configuration file there is; the first candidate where there is none."""
    return next((path for path in candidates if path.exists()), candidates[0])


def load(path: Path, *, mode: Mode | None = None) -> Configuration:
    """Return the configuration in a file, with the peers beside it; key files are not read.

    Args:
        path: YAML or JSON.
        mode: overrides the file's, as `--mode` does.

    Raises:
        ConfigFileError: everything that is wrong with the file.
    """
    peers = list(read_peers(directory_of(path)))
    return load_bytes(_read(path), path, mode=mode, peers=peers)


def load_bytes(
    data: bytes,
    path: Path | None = None,
    *,
    mode: Mode | None = None,
    peers: Sequence[tuple[Peer, Path]] = (),
) -> Configuration:
    """Return the configuration in a file's content; `path` is where it came from (see `load`).

    Args:
        peers: those in files of their own, which come after the file's.
    """
    origin = Origin(path)
    root = read_document(data, origin)
    if root is None:
        raise ConfigFileError([ConfigError(origin.where(""), "is empty.", _EXAMPLE)])
    problems = Problems()
    directory = path.absolute().parent if path is not None else Path.cwd()
    converter = Converter(Configuration, problems, directory=directory)
    configuration = converter.section(root, Configuration, "") or Configuration()
    security = configuration.security
    first = len(security.peers)
    files = {f"security.peers[{first + i}]": file for i, (_, file) in enumerate(peers)}
    origin = Origin(path, converter.marks, files)
    configuration = dataclasses.replace(
        configuration,
        origin=origin,
        mode=mode or configuration.mode,
        security=dataclasses.replace(
            security, peers=(*security.peers, *(peer for peer, _ in peers))
        ),
    )
    check_fit(configuration, problems)
    problems.raise_if_any(origin)
    return configuration


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # One more than allowed, so that the reader can tell; a device would never end.
            return file.read(LARGEST + 1)
    except FileNotFoundError as exc:
        raise _unreadable(
            path, "does not exist.", f"Write it, or name another with -c. {_EXAMPLE}"
        ) from exc
    except IsADirectoryError as exc:
        raise _unreadable(path, "is a directory.", "Name the file in it.") from exc
    except PermissionError as exc:
        raise _unreadable(path, "may not be read by you.", f"{how_to_read(path)}.") from exc
    except (OSError, ValueError) as exc:
        raise _unreadable(
            path, f"cannot be read: {exc}.", "Look at the disk, or name another file with -c."
        ) from exc


def _unreadable(path: Path, problem: str, remedy: str) -> ConfigFileError:
    return ConfigFileError([ConfigError(str(path), problem, remedy)])
