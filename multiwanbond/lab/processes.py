"""Child processes that never outlive us, and a way to end them."""

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final

_PR_SET_PDEATHSIG = 1

# Loaded before any fork: between fork and exec a child must not load libraries.
_LIBC = ctypes.CDLL(None, use_errno=True)


def _die_with(parent: int, how: signal.Signals) -> Callable[[], None]:
    def in_child() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(how), 0, 0, 0)
        # The parent may have died before the line above; then nobody would ever signal us.
        if os.getppid() != parent:
            os._exit(0)

    return in_child


def start(
    command: Sequence[str],
    *,
    stdin: int | None = subprocess.DEVNULL,
    stdout: int | None = None,
    stderr: int | None = None,
    dies_by: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[str]:
    """Start `command`; the kernel sends it `dies_by` when this process dies, however it dies.

    It gets a session of its own: Ctrl-C on our terminal is for us, and we end our children in
    order. Call it from the main thread: what the kernel watches is the thread, not the process.
    """
    return subprocess.Popen(
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        text=True,
        bufsize=1,
        start_new_session=True,
        preexec_fn=_die_with(os.getpid(), dies_by),
    )


def stop(process: subprocess.Popen[str], *, patience: float = 5.0) -> int:
    """End `process`, by force after `patience` seconds; return its exit code."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    return process.returncode


_ENDS_US: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asks us to end. Not an `Exception`, so that nothing but cleaning up gets in between.

    Args:
        signal_number: which signal; the shell's exit code for it is 128 more.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.exit_code = 128 + signal_number


class _Hold:
    """Whether a signal may interrupt now, and which one waits to.

    Not the thread's signal mask: with other threads about, the kernel gives the signal to one of
    them, and Python's handler runs in the main one all the same.
    """

    def __init__(self) -> None:
        self.is_on = False
        self.waiting: int | None = None


_hold: Final = _Hold()


@contextmanager
def interruptible() -> Iterator[None]:
    """While inside, the first Ctrl-C, SIGTERM or SIGHUP raises `Interrupted`, later ones nothing.

    Cleaning up, which takes a second or two, is thus not cut short by an impatient second Ctrl-C.
    """

    def raise_once(signal_number: int, _frame: FrameType | None) -> None:
        for number in _ENDS_US:
            signal.signal(number, signal.SIG_IGN)
        if _hold.is_on:
            _hold.waiting = signal_number
        else:
            raise Interrupted(signal_number)

    before = {number: signal.signal(number, raise_once) for number in _ENDS_US}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """While inside, `Interrupted` waits; it is raised at the end.

    For a child that changes the system: interrupted between its fork and our knowing of it, it
    would go on making what we have already undone.
    """
    _hold.is_on = True
    try:
        yield
    finally:
        _hold.is_on = False
        waiting, _hold.waiting = _hold.waiting, None
        if waiting is not None:
            raise Interrupted(waiting)
