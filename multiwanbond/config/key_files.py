"""Files that hold a key: read only if nobody else can, written so that nobody else can."""

import os
import stat
from pathlib import Path
from typing import Final

from multiwanbond.units import NotationError

from .keys import decode_key, encode_key

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OWNER_ONLY: Final = stat.S_IRUSR | stat.S_IWUSR
_LARGEST: Final = 4096


def read_key_file(path: Path) -> bytes:
    """Return the key in a file.

    Raises:
        NotationError: there is no such file, it holds no key, or others than its owner may use it.
    """
    try:
        # Non-blocking, because opening a pipe that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as exc:
        remedy = f'Make it with "mwb keygen -o {path}", or correct the name'
        raise NotationError(f"there is no file '{path}'", remedy) from exc
    except PermissionError as exc:
        raise NotationError(f"we may not read '{path}'", "Run the command as root (sudo)") from exc
    except OSError as exc:
        raise NotationError(f"cannot open '{path}': {exc.strerror}", "Correct the name") from exc
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotationError(f"'{path}' is no file", "Name the file that holds the key")
        refuse_if_shared(path, status.st_mode)
        data = os.read(descriptor, _LARGEST)
    finally:
        os.close(descriptor)
    return _decode(data, path)


def _decode(data: bytes, path: Path) -> bytes:
    try:
        return decode_key(data.decode("ascii"))
    except UnicodeDecodeError as exc:
        remedy = 'Make one with "mwb keygen"'
        raise NotationError(f"what '{path}' holds is no key, but binary data", remedy) from exc
    except NotationError as exc:
        raise NotationError(f"what '{path}' holds {exc.problem}", exc.remedy) from exc


def refuse_if_shared(path: Path, mode: int) -> None:
    """Raise NotationError if others than its owner have any right to a file with this mode."""
    if mode & _OTHERS:
        raise NotationError(
            f"'{path}' holds a secret and is open to others (mode {stat.S_IMODE(mode):04o})",
            f'Run "chmod 600 {path}"',
        )


def write_key_file(path: Path, key: bytes) -> None:
    """Write a key to a new file that only its owner can read.

    Raises:
        FileExistsError: there is one already; a key that is lost cannot be had back.
        OSError: it cannot be written; then nothing is left behind.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(encode_key(key) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink()
        raise
