"""One daemon per tunnel: a lock that ends with its process, however that ends."""

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from multiwanbond.errors import PlatformError, PrivilegeError


class TunnelLock:
    """Held from its making until `release`, or the process's end."""

    def __init__(self, tunnel: str, directory: Path) -> None:
        """Take the lock.

        Raises:
            PlatformError: another process has it; the message names that process.
            PrivilegeError: we may not write where locks are kept.
        """
        self._path: Final = directory / f"{tunnel}.lock"
        self._fd = -1
        try:
            directory.mkdir(parents=True, exist_ok=True)
            while not self._is_in_place():
                self.release()
                self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = os.pread(self._fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._fd)
            raise PlatformError(
                f"The tunnel {tunnel!r} is already served by process {holder}.",
                f"Stop that first ('mwb down'), or see what it is: 'ps -fp {holder}'.",
            ) from exc
        except OSError as exc:
            if exc.errno not in {errno.EACCES, errno.EPERM, errno.EROFS}:
                raise
            raise PrivilegeError(
                f"Creating {self._path} is not permitted.", "Run as root."
            ) from exc
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others have it; doing it twice is fine."""
        if self._fd < 0:
            return
        if self._is_in_place():
            self._path.unlink()  # still locked: whoever opens it now will see that it is gone
            # Also a directory that was there: a namespace gone without clean-up may have left it,
            # and the kernel gives its number to a later one.
            with suppress(OSError):  # others keep something there
                self._path.parent.rmdir()
        os.close(self._fd)
        self._fd = -1

    def _is_in_place(self) -> bool:
        """Return whether the file we hold is the one that others would find."""
        if self._fd < 0:
            return False
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(self._fd), self._path.stat())
        return False
