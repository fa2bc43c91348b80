import os
import subprocess
import sys
from pathlib import Path

import pytest

from multiwanbond.errors import PlatformError
from multiwanbond.linux.lock import TunnelLock

HOLD = """
import sys, pathlib
from multiwanbond.linux.lock import TunnelLock
TunnelLock("mwb0", pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_daemon_is_told_which_process_has_the_tunnel(tmp_path: Path) -> None:
    lock = TunnelLock("mwb0", tmp_path)

    with pytest.raises(PlatformError, match=f"'mwb0' is already served by process {os.getpid()}"):
        TunnelLock("mwb0", tmp_path)

    lock.release()


def test_other_tunnels_are_free(tmp_path: Path) -> None:
    locks = [TunnelLock(name, tmp_path) for name in ("mwb0", "mwb1")]

    for lock in locks:
        lock.release()


def test_a_released_tunnel_is_free_and_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    TunnelLock("mwb0", tmp_path).release()
    again = TunnelLock("mwb0", tmp_path)
    again.release()
    again.release()

    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(PlatformError, match=f"served by process {process.pid}"):
            TunnelLock("mwb0", tmp_path)
        process.kill()
        process.wait()

    TunnelLock("mwb0", tmp_path).release()


def test_a_directory_that_is_missing_is_made(tmp_path: Path) -> None:
    lock = TunnelLock("mwb0", tmp_path / "run" / "multiwanbond")

    assert (tmp_path / "run" / "multiwanbond" / "mwb0.lock").read_text() == f"{os.getpid()}\n"
    lock.release()


def test_an_empty_directory_goes_with_its_last_lock(tmp_path: Path) -> None:
    (tmp_path / "netns-1").mkdir()

    TunnelLock("mwb0", tmp_path / "netns-1").release()

    assert list(tmp_path.iterdir()) == []
