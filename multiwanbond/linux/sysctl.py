"""Settings below /proc/sys, and how they are put back even after the daemon was killed."""

import errno
from contextlib import suppress
from pathlib import Path
from typing import Final

from multiwanbond.errors import PlatformError, PrivilegeError

from .kernel import Kernel
from .undo import Undo

_ROOT: Final = Path("/proc/sys")


def read(key: str) -> str | None:
    """Return a setting by its path ("net/ipv4/ip_forward"); None if this kernel has no such one."""
    try:
        return (_ROOT / key).read_text().strip()
    except FileNotFoundError:
        return None


def write(key: str, value: str) -> None:
    """Change a setting and see that it took.

    Raises:
        PrivilegeError: not permitted; also in containers that get /proc/sys read-only.
        PlatformError: no such setting, or it keeps another value.
    """
    remedy = f"See 'sysctl {key.replace('/', '.')}'."
    try:
        (_ROOT / key).write_text(value)
    except PermissionError as exc:
        problem = f"Setting {key} to {value} is not permitted."
        raise PrivilegeError(problem, "Run as root, or give the process CAP_NET_ADMIN.") from exc
    except OSError as exc:
        problem = f"Setting {key} to {value} failed: {exc.strerror}."
        if exc.errno == errno.EROFS:
            raise PrivilegeError(problem, "Give the container this setting (--sysctl).") from exc
        raise PlatformError(problem, remedy) from exc
    if (found := read(key)) != value:
        raise PlatformError(f"Setting {key} to {value} left it at {found}.", remedy)


class Restorer:
    """Changes settings so that they can be put back by another process as well.

    A file keeps the first value of each. Routes and rules name their owner; a setting cannot.
    """

    def __init__(self, kernel: Kernel, record: Path) -> None:
        self._kernel = kernel
        self._record = record

    def set(self, key: str, value: str, undo: Undo) -> None:
        """Change a setting, which `undo` puts back; a setting with that value is left alone."""
        before = self._kernel.read_sysctl(key)
        if before in {None, value}:
            return
        assert before is not None
        recorded = self._recorded()
        if key not in recorded:
            recorded[key] = before
            self._keep(recorded)
            undo.push(f"{key} = {before}", lambda: self._restore(key, recorded[key]))
        self._kernel.write_sysctl(key, value)

    def restore_all(self) -> list[str]:
        """Put back what an earlier process changed; return what that was, in words."""
        recorded = self._recorded()
        for key, value in recorded.items():
            self._restore(key, value)
        return [f"{key} = {value}" for key, value in recorded.items()]

    def close(self) -> None:
        """Put back what is changed still."""
        self.restore_all()

    def _restore(self, key: str, value: str) -> None:
        if self._kernel.read_sysctl(key) is not None:  # else its interface is gone
            self._kernel.write_sysctl(key, value)
        recorded = self._recorded()
        recorded.pop(key, None)
        self._keep(recorded)

    def _recorded(self) -> dict[str, str]:
        with suppress(FileNotFoundError):
            lines = self._record.read_text().splitlines()
            return dict(line.split("=", 1) for line in lines if "=" in line)
        return {}

    def _keep(self, recorded: dict[str, str]) -> None:
        if not recorded:
            self._record.unlink(missing_ok=True)
            return
        # Written aside and moved: a reader must never see half a file.
        draft = self._record.with_suffix(".new")
        self._record.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text("".join(f"{key}={value}\n" for key, value in recorded.items()))
        draft.replace(self._record)
