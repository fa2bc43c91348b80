"""Runs a command with no more rights than a systemd unit gives it, where systemd does not run.

    python3 confined.py '{"user": ..., "program": [...], ...}'      (fields of `Confinement`)

It knows only what our unit uses: user, capabilities, a file system to be read only, system calls,
address families, and memory that is never both writable and executable. It runs on a machine that
has nothing but Python, so it imports nothing of ours.
"""

import ctypes
import json
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

CLONE_NEWNS = 0x20000
MS_REC, MS_BIND, MS_PRIVATE = 0x4000, 0x1000, 0x40000
SYS_MOUNT_SETATTR = 442
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
MOUNT_ATTR_RDONLY = 1
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
SCMP_ACT_ALLOW, SCMP_CMP_EQ = 0x7FFF0000, 4
EPERM = 1
REFUSE = 0x00050000 | EPERM

LIBC = ctypes.CDLL(None, use_errno=True)


def must(result: int) -> None:
    """Raise OSError if a call of the C library failed."""
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def confine_files(writable: str) -> None:
    """Do as ProtectSystem=strict, ProtectHome=yes and RuntimeDirectory do."""
    must(LIBC.unshare(CLONE_NEWNS))
    must(LIBC.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
    must(LIBC.mount(writable.encode(), writable.encode(), None, MS_BIND, None))
    for home in (b"/home", b"/root"):
        must(LIBC.mount(b"none", home, b"tmpfs", 0, b"mode=000"))
    set_read_only("/", is_so=True)
    for path in ("/dev", "/proc", "/sys", writable):
        set_read_only(path, is_so=False)


def set_read_only(path: str, *, is_so: bool) -> None:
    """Change a mount and those below it."""
    change = (MOUNT_ATTR_RDONLY, 0) if is_so else (0, MOUNT_ATTR_RDONLY)
    attributes = (ctypes.c_uint64 * 4)(*change, 0, 0)
    must(
        LIBC.syscall(
            SYS_MOUNT_SETATTR,
            AT_FDCWD,
            path.encode(),
            AT_RECURSIVE,
            attributes,
            ctypes.c_size_t(32),
        )
    )


class Comparison(ctypes.Structure):
    """`struct scmp_arg_cmp`."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operation", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("mask", ctypes.c_uint64),
    )


def confine_calls(names: list[str], families: list[str]) -> None:
    """Do as SystemCallFilter and RestrictAddressFamilies do; others fail with EPERM."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(REFUSE)))

    def allow(name: str, *comparisons: Comparison) -> None:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # else another architecture's
            array = (Comparison * len(comparisons))(*comparisons)
            count = ctypes.c_uint(len(comparisons))
            action = ctypes.c_uint32(SCMP_ACT_ALLOW)
            must(library.seccomp_rule_add_array(context, action, number, count, array))

    for name in names:
        if name != "socket":
            allow(name)
    for family in families:
        allow("socket", Comparison(0, SCMP_CMP_EQ, getattr(socket, family), 0))
    must(library.seccomp_load(context))


def main() -> None:
    """Confine this process, then become the program."""
    wish: dict[str, Any] = json.loads(sys.argv[1])
    if os.getuid() == 0:
        runtime = Path(wish["runtime_directory"])
        runtime.mkdir(mode=0o755, exist_ok=True)
        shutil.chown(runtime, wish["user"], wish["user"])
        confine_files(str(runtime))
        caps = ",".join(
            ["-all", *(f"+{cap.removeprefix('CAP_').lower()}" for cap in wish["capabilities"])]
        )
        change = [f"--reuid={wish['user']}", f"--regid={wish['user']}", "--clear-groups"]
        limits = [f"--{kind}={caps}" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
        again = [sys.executable, __file__, sys.argv[1]]
        os.execvp("setpriv", ["setpriv", *change, *limits, "--no-new-privs", *again])
    os.umask(int(wish["umask"], 8))
    LIBC.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)  # since Linux 6.3
    confine_calls(wish["calls"], wish["families"])
    os.execvp(wish["program"][0], wish["program"])


if __name__ == "__main__":
    main()
