"""Which name servers this machine asks while a tunnel stands, and which it asked before.

Three ways, the first that is there: systemd-resolved, resolvconf, the plain file /etc/resolv.conf.
What resolved is told goes with the interface. resolvconf and the file are put back by us, also by
a later process if we were killed.
"""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from multiwanbond.config.notations import IpAddress
from multiwanbond.errors import PlatformError

from .undo import Undo

RESOLV_CONF: Final = Path("/etc/resolv.conf")
_RESOLVED: Final = Path("/run/systemd/resolve")
_INTERFACE_ORDER: Final = Path("/etc/resolvconf/interface-order")
_PATH: Final = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
_LIMIT: Final = 10.0
"""Seconds a program may take."""
_REMEDY: Final = "Leave tunnel.dns out, and set them yourself."
_HEADER: Final = "# Written by MultiWANBond while {} stands; put back when it goes.\n"


def _find(program: str) -> str | None:
    return shutil.which(program, path=_PATH)


class NameServers:
    """The name servers of one tunnel."""

    def __init__(
        self,
        tunnel: str,
        directory: Path,
        *,
        file: Path = RESOLV_CONF,
        find: Callable[[str], str | None] = _find,
    ) -> None:
        """Change nothing yet.

        Args:
            tunnel: the interface.
            directory: keeps what a killed daemon would have put back.
            file: the plain file; only tests name another.
            find: returns where a program is; only tests bring another.
        """
        self._tunnel = tunnel
        self._file = file
        self._find = find
        self._before = directory / f"{tunnel}.resolv.conf"
        self._header = _HEADER.format(tunnel)

    def set(self, servers: Sequence[IpAddress], undo: Undo) -> None:
        """Let every name be asked of these servers; `undo` gets the reversal.

        Raises:
            PlatformError: it cannot be; nothing has changed.
        """
        resolvectl, resolvconf = self._find("resolvectl"), self._find("resolvconf")
        if resolvectl is not None and _RESOLVED.is_dir():
            undo.push("name servers", lambda: self._revert(resolvectl))
            _run(resolvectl, "dns", self._tunnel, *map(str, servers))
            # Every name, and none to the name servers of other interfaces.
            _run(resolvectl, "domain", self._tunnel, "~.")
        elif resolvconf is not None:
            undo.push("name servers", lambda: _run(resolvconf, "-d", self._record, "-f"))
            _run(resolvconf, "-a", self._record, "-m", "0", "-x", text_in=_lines(servers))
        else:
            undo.push("name servers", self._put_back)
            self._write(servers)

    def clean_up(self) -> list[str]:
        """Put back what a killed daemon changed; return what that was, in words."""
        removed = []
        if self._before.exists():
            self._put_back()
            removed.append(f"name servers in {self._file}")
        resolvconf = self._find("resolvconf")
        if resolvconf is not None and self._record in _output(resolvconf, "-l", self._record):
            _run(resolvconf, "-d", self._record, "-f")
            removed.append(f"name servers of {self._record}")
        return removed

    # systemd-resolved

    def _revert(self, resolvectl: str) -> None:
        if Path(f"/sys/class/net/{self._tunnel}").exists():
            _run(resolvectl, "revert", self._tunnel)

    # resolvconf

    @property
    def _record(self) -> str:
        """The name of our entry; Debian's resolvconf goes by its beginning, as wg-quick has it."""
        prefix = ""
        if _INTERFACE_ORDER.exists():
            starred = (
                line for line in _INTERFACE_ORDER.read_text().splitlines() if line[-1:] == "*"
            )
            prefix = next((line[:-1] for line in starred if line.startswith("tun")), "")
        return f"{prefix}{self._tunnel}"

    # The file

    def _write(self, servers: Sequence[IpAddress]) -> None:
        try:
            present = self._file.read_text()
            if not present.startswith(self._header):
                self._before.parent.mkdir(parents=True, exist_ok=True)
                self._before.write_text(present)
            # In place: a container's file is mounted, and cannot be replaced.
            self._file.write_text(self._header + _lines(servers))
        except OSError as exc:
            raise PlatformError(
                f"{self._file} cannot be changed: {exc.strerror}.",
                "Leave tunnel.dns out, or let systemd-resolved or resolvconf keep the file.",
            ) from exc

    def _put_back(self) -> None:
        """Restore the file, unless somebody else has written it meanwhile."""
        if not self._before.exists():
            return
        if self._file.read_text().startswith(self._header):
            self._file.write_text(self._before.read_text())
        self._before.unlink()


def _lines(servers: Sequence[IpAddress]) -> str:
    return "".join(f"nameserver {server}\n" for server in servers)


def _run(*command: str, text_in: str = "") -> None:
    done = _completed(command, text_in)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().split("\n", 1)[0]
        raise PlatformError(
            f"Setting the name servers failed: {Path(command[0]).name} says {said!r}.",
            _REMEDY,
        )


def _output(*command: str) -> str:
    return _completed(command, "").stdout


def _completed(command: Sequence[str], text_in: str) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            command, input=text_in, capture_output=True, text=True, timeout=_LIMIT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise PlatformError(
            f"Setting the name servers failed: {exc}.",
            _REMEDY,
        ) from exc
