"""Starting a tunnel in the background and waiting for it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from multiwanbond.cli import up
from multiwanbond.config.load import load_bytes
from multiwanbond.config.model import Configuration
from multiwanbond.errors import PlatformError

from .daemon import DaemonStub
from .test_status import STATUS


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    """A configuration with a control socket of our own."""
    return load_bytes(f"control: {{socket: {tmp_path}/mwb0.sock}}".encode())


def started(tmp_path: Path, code: str) -> up.Started:
    """A process that runs `code` in the place of a daemon, with a log that has a past."""
    log = tmp_path / "mwb0.log"
    log.write_text("of an earlier run\n")
    with log.open("a") as out:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=out, stderr=out)
    return up.Started(process, log, len("of an earlier run\n"))


def waiting_status() -> Any:
    return {**STATUS, "is_ready": False}


def test_a_connected_daemon_ends_the_wait_with_its_status(
    configuration: Configuration, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with DaemonStub(configuration.control_socket, status=STATUS):
        code = up.wait_connected(configuration, None, tmp_path / "log", 5.0)

    out = capsys.readouterr().out
    assert code == 0
    assert out.startswith("mwb0 is up after ")
    assert "peer vps" in out


def test_after_the_time_limit_each_wan_says_what_it_waits_for(
    configuration: Configuration, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with DaemonStub(configuration.control_socket, status=waiting_status()):
        code = up.wait_connected(configuration, None, tmp_path / "log", 0.3)

    assert code == up.TRIES_LATER == 75
    assert capsys.readouterr().err.splitlines() == [
        "mwb0 is not connected after 0.3 s:",
        "  WAN Fibre (eth0): 198.51.100.1:9000 does not answer. Does the server run, do the keys "
        "match, does a firewall let UDP through?",
        "  WAN LTE (wwan0): No interface 'wwan0'.",
        'It goes on trying in the background: see "mwb status" and '
        f'{tmp_path / "log"}. "mwb down" ends it.',
    ]


def test_no_wan_at_all_is_what_is_missing() -> None:
    status: Any = {**waiting_status(), "wans": []}

    assert list(up.missing_lines(status)) == ["No WAN: no interface has a default route."]


def test_a_daemon_that_dies_shows_its_last_words_and_lends_its_exit_code(
    configuration: Configuration, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process = started(tmp_path, "import sys; print('mwb: no /dev/net/tun'); sys.exit(69)")

    code = up.wait_connected(configuration, process, tmp_path / "log", 10.0)

    assert code == 69
    assert capsys.readouterr().err.splitlines() == [
        "mwb: no /dev/net/tun",
        "mwb: the daemon ended (exit code 69).",
    ]


def test_a_daemon_that_a_signal_ended_is_a_failure(
    configuration: Configuration, tmp_path: Path
) -> None:
    process = started(tmp_path, "import os; os.kill(os.getpid(), 9)")

    assert up.wait_connected(configuration, process, tmp_path / "log", 10.0) == 1


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(PlatformError, match=r"file/mwb0\.log"):
        up.start([], tmp_path / "file" / "mwb0.log")
