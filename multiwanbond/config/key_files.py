"""Files that hold a key: read only if nobody else can, written so that nobody else can.

Except the service: it runs as a user of its own, whose group may read what root has written. It
may not write it: who breaks into the daemon shall not be able to let others in for good.
"""

import grp
import os
import stat
from pathlib import Path
from typing import Final

from multiwanbond.units import NotationError

from .keys import decode_key, encode_key

SERVICE_GROUP: Final = "multiwanbond"
"""Of the user that the systemd unit runs the daemon as; has no other members."""
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OWNER_ONLY: Final = stat.S_IRUSR | stat.S_IWUSR
_OWNER_AND_SERVICE: Final = _OWNER_ONLY | stat.S_IRGRP
_DIRECTORY: Final = stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP
_ROOT: Final = 0
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
        raise NotationError(f"we may not read '{path}'", how_to_read(path)) from exc
    except OSError as exc:
        raise NotationError(f"cannot open '{path}': {exc.strerror}", "Correct the name") from exc
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotationError(f"'{path}' is no file", "Name the file that holds the key")
        refuse_if_shared(path, status)
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


def how_to_read(path: Path) -> str:
    """Return what to do about a file that we may not read, as a remedy."""
    root = "Run the command as root (sudo)"
    if _service_group() is None or os.geteuid() == _ROOT:
        return root
    return f'{root}; for the service, "chgrp {SERVICE_GROUP} {path} && chmod 640 {path}"'


def refuse_if_shared(path: Path, status: os.stat_result) -> None:
    """Raise NotationError if others than its owner, or the service, have any right to a file."""
    if not status.st_mode & _OTHERS or _is_shared_with_service(status):
        return
    raise NotationError(
        f"'{path}' holds a secret and is open to others (mode {stat.S_IMODE(status.st_mode):04o})",
        f'Run "chmod 600 {path}"',
    )


def _is_shared_with_service(status: os.stat_result) -> bool:
    return (
        stat.S_IMODE(status.st_mode) & ~_OWNER_AND_SERVICE == 0
        and status.st_uid == _ROOT
        and status.st_gid == _service_group()
    )


def _service_group() -> int | None:
    """Return the number of the service's group; None where the service is not installed."""
    try:
        return grp.getgrnam(SERVICE_GROUP).gr_gid
    except KeyError:
        return None


def share_with_service(descriptor: int, directory: Path, *, mode: int = _OWNER_AND_SERVICE) -> None:
    """Let the service read a file or directory that root makes where the service's files are.

    That is a directory of the service's group, as the packages make /etc/multiwanbond; elsewhere
    nothing happens.
    """
    group = directory.stat().st_gid
    if os.geteuid() == _ROOT and group == _service_group():
        os.fchown(descriptor, _ROOT, group)
        os.fchmod(descriptor, mode)


def make_directory(directory: Path) -> None:
    """Make a directory for secrets, unless it is there; the service may look into it, too."""
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        share_with_service(descriptor, directory.parent, mode=_DIRECTORY)
    finally:
        os.close(descriptor)


def write_key_file(path: Path, key: bytes) -> None:
    """Write a key to a new file that only its owner can read, and the service where it is set up.

    Raises:
        FileExistsError: there is one already; a key that is lost cannot be had back.
        OSError: it cannot be written; then nothing is left behind.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            share_with_service(file.fileno(), path.parent)
            file.write(encode_key(key) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink()
        raise
