"""Network namespaces that do not outlive their run: undone at its end, swept after a `kill -9`.

The kernel is asked through the `ip` command. A lab changes it a few dozen times, before anything
is measured; in return every step can be repeated by hand from an error message.
"""

import ctypes
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from multiwanbond.errors import PlatformError, PrivilegeError
from multiwanbond.lab import processes
from multiwanbond.linux.run_directory import run_directory
from multiwanbond.linux.undo import Undo

_NAME = re.compile(r"mwb-([a-z]+)-(\d+)-(\d+)(?:-|$)")
_MOUNTS = Path("/run/netns")
_SCRATCH = Path("/run")
"""Where scratch directories go: only root writes here, so sweeping by name cannot be misled."""
_CLONE_NEWNET: Final = 0x40000000  # <sched.h>
_LIBC = ctypes.CDLL(None, use_errno=True)
_serial = itertools.count(1)


@dataclass(frozen=True, slots=True)
class RunName:
    """The beginning of every name a run gives: namespaces and its scratch directory."""

    purpose: str
    pid: int
    started: int
    """When the process started, in ticks since boot: its pid may be somebody else's by now."""

    def __str__(self) -> str:
        return f"mwb-{self.purpose}-{self.pid}-{self.started}"

    @classmethod
    def of_this_process(cls, purpose: str) -> "RunName":
        """Return the name for what this process makes; `purpose` is lower-case letters."""
        started = _start_of(os.getpid())
        assert started is not None
        return cls(purpose, os.getpid(), started)

    @classmethod
    def found_in(cls, name: str) -> "RunName | None":
        """Return the run that chose `name`; None if no run of ours did."""
        match = _NAME.match(name)
        return cls(match[1], int(match[2]), int(match[3])) if match else None

    def is_alive(self) -> bool:
        """Tell whether that run still goes on."""
        return _start_of(self.pid) == self.started


def _start_of(pid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Field 22 of proc(5); the command's name, field 2, is in parentheses and may hold anything.
    return int(text.rpartition(")")[2].split()[19])


class Namespace:
    """One network namespace, known to `ip netns` by its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def command(self, *command: str) -> list[str]:
        """Return `command` as one that runs inside."""
        return ["ip", "netns", "exec", self.name, *command]

    def run(
        self, *command: str, check: bool = True, timeout: float = 30.0, text_in: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `command` inside to its end.

        Raises:
            PlatformError: it failed and `check` is set; its own message is quoted.
        """
        return _run(self.command(*command), check=check, timeout=timeout, text_in=text_in)

    def start(
        self,
        *command: str,
        stdin: int | None = subprocess.DEVNULL,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> subprocess.Popen[str]:
        """Start `command` inside; it dies with us. The process is the command itself, not `ip`."""
        return processes.start(self.command(*command), stdin=stdin, stdout=stdout, stderr=stderr)

    def socket(
        self, kind: socket.SocketKind = socket.SOCK_STREAM, *, family: int = socket.AF_INET
    ) -> socket.socket:
        """Return a socket of this process that lives in the namespace."""
        with inside(self.name):
            return socket.socket(family, kind)

    def configure(self, steps: Iterable[str]) -> None:
        """Run `ip` with each line of `steps`, all in one process; the first failure ends it."""
        _run(["ip", "-n", self.name, "-batch", "-"], text_in="\n".join(steps) + "\n")

    def pids(self) -> list[int]:
        """Return the processes that live inside."""
        listed = _run(["ip", "netns", "pids", self.name], check=False)
        return [int(pid) for pid in listed.stdout.split()]

    def exists(self) -> bool:
        """Tell whether the kernel has it."""
        return (_MOUNTS / self.name).exists()

    def delete(self) -> None:
        """End whatever runs inside and remove it; a namespace that is gone already is fine."""
        if not self.exists():
            return
        with inside(self.name):
            kept_by_daemons = run_directory()
        self._end_processes(patience=5.0)
        _run(["ip", "netns", "delete", self.name])
        # What a killed daemon meant to find again is of no use without its namespace.
        shutil.rmtree(kept_by_daemons, ignore_errors=True)

    def _end_processes(self, patience: float) -> None:
        """SIGTERM, so that daemons clean up; SIGKILL for those still there after `patience`."""
        give_up = time.monotonic() + patience
        _signal(self.pids(), signal.SIGTERM)
        while self.pids():
            if time.monotonic() > give_up:
                _signal(self.pids(), signal.SIGKILL)
                return
            time.sleep(0.02)


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _run(
    command: list[str], *, check: bool = True, timeout: float = 30.0, text_in: str | None = None
) -> subprocess.CompletedProcess[str]:
    try:
        done = subprocess.run(
            command, input=text_in, capture_output=True, text=True, timeout=timeout, check=False
        )
    except FileNotFoundError as exc:
        raise PlatformError(
            f"There is no command {command[0]!r}.", "Install it (package iproute2)."
        ) from exc
    except subprocess.TimeoutExpired as exc:
        raise PlatformError(
            f"{' '.join(command)!r} did not end within {timeout:g} s.",
            "Look for what it is waiting for.",
        ) from exc
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
        raise PlatformError(f"{' '.join(command)!r} failed: {said}", _remedy(text_in))
    return done


def _remedy(text_in: str | None) -> str:
    return "" if text_in is None else "It was told:\n" + text_in


def why_no_lab() -> str | None:
    """Return what keeps this machine from hosting a lab; None if nothing does."""
    if os.geteuid() != 0:
        return "not root"
    if not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun (modprobe tun)"
    if shutil.which("ip") is None:
        return "there is no command 'ip' (package iproute2)"
    return None


def demand_lab(remedy: str) -> None:
    """Return if a lab can be made here.

    Raises:
        PrivilegeError: not root; `remedy` says how to become it.
        PlatformError: something else is missing.
    """
    if os.geteuid() != 0:
        raise PrivilegeError("Making network namespaces needs root.", remedy)
    reason = why_no_lab()
    if reason is not None:
        raise PlatformError(f"No network namespaces here: {reason}.", "Provide it and try again.")


@contextmanager
def inside(name: str) -> Iterator[None]:
    """While inside, this thread is in the namespace `name`; sockets made here stay there."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    away = os.open(_MOUNTS / name, os.O_RDONLY)
    try:
        _enter(away)
        try:
            yield
        finally:
            _enter(home)
    finally:
        os.close(away)
        os.close(home)


def _enter(namespace: int) -> None:
    # os.setns exists from Python 3.12.
    if _LIBC.setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Run:
    """What one run made; `undo` takes it all away again."""

    def __init__(self, purpose: str) -> None:
        """Sweep up after dead runs, then begin; `purpose` is lower-case letters."""
        sweep()
        self.name = f"{RunName.of_this_process(purpose)}-{next(_serial)}"
        self.undo = Undo()

    def namespace(self, role: str) -> Namespace:
        """Return a new namespace with its loopback up."""
        made = Namespace(f"{self.name}-{role}")
        self.undo.push(f"namespace {made.name}", made.delete)
        with processes.uninterrupted():
            _run(["ip", "netns", "add", made.name])
        made.configure(["link set lo up"])
        return made

    def directory(self) -> Path:
        """Return a new directory only we can read, for files and sockets."""
        path = _SCRATCH / self.name
        self.undo.push(f"directory {path}", lambda: shutil.rmtree(path, ignore_errors=True))
        path.mkdir(mode=0o700)
        return path


def sweep() -> list[str]:
    """Remove what runs that are dead left behind; return its names."""
    swept = []
    for mount in _dead(_MOUNTS):
        Namespace(mount.name).delete()
        swept.append(mount.name)
    for path in _dead(_SCRATCH):
        shutil.rmtree(path, ignore_errors=True)
        swept.append(str(path))
    return swept


def _dead(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    runs = [(path, RunName.found_in(path.name)) for path in folder.iterdir()]
    return [path for path, run in runs if run is not None and not run.is_alive()]
