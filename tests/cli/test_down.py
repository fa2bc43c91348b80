"""Ending a tunnel, with and without a daemon."""

import socket
from pathlib import Path

import pytest

from multiwanbond.cli import down
from multiwanbond.cli.command import main
from multiwanbond.errors import ControlError

from .daemon import DaemonStub

CONFIG = "{{tunnel: {{name: mwbt0}}, control: {{socket: {socket}}}}}"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A file that names a control socket of our own."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.format(socket=tmp_path / "mwbt0.sock"))
    return path


@pytest.fixture
def leftovers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the kernel still has of a tunnel; this test's kernel is a list."""
    found: list[str] = []
    monkeypatch.setattr(down, "clean_up", lambda tunnel, keeps_block: found)
    return found


def test_a_running_daemon_is_stopped_and_waited_for(
    config: Path, leftovers: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with DaemonStub(config.parent / "mwbt0.sock") as daemon:
        code = main(["down", "-c", str(config)])

    assert code == 0
    assert daemon.commands == ["stop"]
    assert daemon.exit_code == 0
    assert capsys.readouterr().out == "mwbt0 is down.\n"


def test_without_a_daemon_what_it_left_is_removed_and_named(
    config: Path, leftovers: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    leftovers.append("rule 7710")
    path = config.parent / "mwbt0.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    code = main(["down", "-c", str(config)])

    assert code == 0
    assert not path.exists()
    assert capsys.readouterr().out.splitlines() == [
        "removed rule 7710",
        f"removed control socket {path}",
        "mwbt0 is down.",
    ]


def test_doing_it_twice_is_fine(
    config: Path, leftovers: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["down", "-c", str(config)]) == 0
    assert main(["down", "-c", str(config)]) == 0

    assert capsys.readouterr().out == "mwbt0 was not up.\n" * 2


def test_a_daemon_that_does_not_end_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(down, "PATIENCE", 0.1)

    with (
        DaemonStub(tmp_path / "mwbt0.sock", is_stubborn=True) as daemon,
        pytest.raises(ControlError, match=f"Process {daemon.pid} has not ended"),
    ):
        down.stop_daemon(tmp_path / "mwbt0.sock")
