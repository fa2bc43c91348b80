"""`mwb top` shows the status again and again."""

from pathlib import Path

import pytest

from multiwanbond.cli import main

from .daemon import DaemonStub
from .test_status import STATUS


def write_config(tmp_path: Path) -> tuple[Path, Path]:
    socket = tmp_path / "mwb.sock"
    path = tmp_path / "config.yaml"
    path.write_text(f"control: {{socket: {socket}}}\n")
    return path, socket


def top(path: Path, *arguments: str) -> int:
    return main(["-c", str(path), "top", "--interval", "0.1", *arguments])


def test_top_shows_the_status_as_often_as_it_is_asked_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, socket = write_config(tmp_path)

    with DaemonStub(socket, status=STATUS):
        code = top(path, "--count", "3")

    out = capsys.readouterr().out
    assert code == 0
    assert out.count("Fibre") == 3
    assert "\x1b" not in out


def test_top_waits_for_a_tunnel_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = write_config(tmp_path)

    code = top(path, "--count", "2")

    assert code == 0
    assert capsys.readouterr().out.count("mwb.sock") >= 2


def test_top_ends_quietly_when_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = write_config(tmp_path)

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupt)

    assert top(path) == 0
