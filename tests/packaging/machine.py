"""A machine to install things on: this one's files, with changes that end with the test.

A mount namespace with an overlay over the root directory, whose upper layer is in memory. /run is
empty there, and systemd does not run, as in a container. Everybody may open /dev/net/tun, as udev
has it: creating an interface takes CAP_NET_ADMIN nevertheless.
"""

import filecmp
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from multiwanbond.lab import processes

_SET_UP: Final = """
set -e
mount -t tmpfs none /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work none /mnt/root
mount --rbind /dev /mnt/root/dev
mknod -m 666 /mnt/tun c 10 200
mount --bind /mnt/tun /mnt/root/dev/net/tun
mount -t proc none /mnt/root/proc
mount -t sysfs none /mnt/root/sys
if [ "$1" = container ]; then
  mount --bind /mnt/root/proc/sys /mnt/root/proc/sys
  mount -o remount,bind,ro /mnt/root/proc/sys
fi
mount -t tmpfs -o mode=755 none /mnt/root/run
mount -t tmpfs -o mode=1777 none /mnt/root/tmp
echo ready
exec cat
"""


class Machine:
    """Stands from entering to leaving; in a network namespace, if one is named."""

    def __init__(self, namespace: str | None = None, *, is_container: bool = False) -> None:
        """Choose; a container may not write below /proc/sys, as Docker has it."""
        self._kind = "container" if is_container else "host"
        self._enter = [] if namespace is None else ["ip", "netns", "exec", namespace]

    def __enter__(self) -> Self:
        self._started: list[subprocess.Popen[str]] = []
        self._holder = processes.start(
            [
                *self._enter,
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                _SET_UP,
                "-",
                self._kind,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stderr is not None
        if self._holder.stdout.readline() != "ready\n":
            said = self._holder.stderr.read()
            processes.stop(self._holder)
            raise OSError(said)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in [*self._started, self._holder]:
            processes.stop(process)

    @property
    def root(self) -> Path:
        """Its root directory, as seen from outside."""
        return Path(f"/proc/{self._holder.pid}/root/mnt/root")

    def command(self, *command: str) -> list[str]:
        """Return `command` as one that runs on it."""
        enter = ["nsenter", f"--target={self._holder.pid}", "--mount", "--net"]
        # Not the path of whoever runs the tests, who has a virtual environment in it.
        clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"]
        return [*enter, "chroot", "/mnt/root", *clean, *command]

    def run(
        self, *command: str, code: int = 0, text_in: str = "", timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run `command` to its end, which must be with this code."""
        done = subprocess.run(
            self.command(*command),
            input=text_in,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == code, f"{command}: {done.stdout}{done.stderr}"
        return done

    def code_of(self, *command: str) -> int:
        """Run `command` to its end and return its code."""
        done = subprocess.run(self.command(*command), capture_output=True, timeout=60, check=False)
        return done.returncode

    def start(self, *command: str, stderr: int | None = None) -> subprocess.Popen[str]:
        """Start `command`; it is ended with the machine."""
        process = processes.start(self.command(*command), stderr=stderr)
        self._started.append(process)
        return process

    def install(self, package: Path) -> None:
        """Install a Debian package."""
        (self.root / "tmp/package.deb").write_bytes(package.read_bytes())
        self.run("dpkg", "--install", "/tmp/package.deb", timeout=120)
        (self.root / "tmp/package.deb").unlink()

    def changes(self) -> Iterator[str]:
        """Yield every file that is not as it was, or not where it was."""
        upper = Path(f"/proc/{self._holder.pid}/root/mnt/upper")
        for path in sorted(upper.rglob("*")):
            name = path.relative_to(upper)
            if not _is_same(path, Path("/") / name):
                yield str(name)


def _is_same(changed: Path, original: Path) -> bool:
    """Tell whether what an overlay's upper layer holds is what is below it."""
    new = changed.lstat()
    try:
        old = original.lstat()
    except FileNotFoundError:
        return stat.S_ISCHR(new.st_mode)  # made and removed again
    if (new.st_mode, new.st_uid, new.st_gid) != (old.st_mode, old.st_uid, old.st_gid):
        return False
    if stat.S_ISLNK(new.st_mode):
        return changed.readlink() == original.readlink()
    return stat.S_ISDIR(new.st_mode) or filecmp.cmp(changed, original, shallow=False)


def why_no_machine() -> str | None:
    """Return why there can be none here; None if there can."""
    try:
        with Machine() as machine:
            machine.run("/usr/bin/true")
    except (OSError, AssertionError) as exc:
        return f"an overlay over / cannot be made: {str(exc).strip()}"
    return None
