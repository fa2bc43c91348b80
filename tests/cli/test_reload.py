"""Asking a running tunnel to follow its file: what is printed, and the exit code."""

from pathlib import Path

import pytest

from multiwanbond.cli import reload
from multiwanbond.cli.command import main

from .daemon import DaemonStub


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that names a control socket of our own; other daemons are out of sight."""
    monkeypatch.setattr(reload, "RUN_DIRECTORY", tmp_path / "run")
    path = tmp_path / "config.yaml"
    path.write_text(f"control: {{socket: {tmp_path / 'mwb0.sock'}}}")
    return path


def answering(path: Path, outcome: str, *lines: str) -> DaemonStub:
    answer = {"outcome": outcome, "file": "/etc/x.yaml", "lines": lines}
    return DaemonStub(path, replies={"reload": answer})


def test_what_was_applied_is_listed(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with answering(config.parent / "mwb0.sock", "applied", "a: 1 -> 2", "b: 3 -> 4") as daemon:
        code = main(["reload", "-c", str(config)])

    assert code == 0
    assert daemon.commands == ["reload"]
    assert capsys.readouterr().out == "Applied /etc/x.yaml:\n  a: 1 -> 2\n  b: 3 -> 4\n"


def test_nothing_to_do_is_fine(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with answering(config.parent / "mwb0.sock", "unchanged"):
        code = main(["reload", "-c", str(config)])

    assert code == 0
    assert capsys.readouterr().out == "Nothing has changed in /etc/x.yaml.\n"


@pytest.mark.parametrize(("outcome", "code"), [("refused", 69), ("broken", 78)])
def test_what_cannot_be_is_said_with_its_reasons(
    config: Path, capsys: pytest.CaptureFixture[str], outcome: str, code: int
) -> None:
    with answering(config.parent / "mwb0.sock", outcome, "/etc/x.yaml:3:1: tunnel.name: ..."):
        found = main(["reload", "-c", str(config)])

    out, err = capsys.readouterr()
    assert found == code
    assert out == ""
    assert err.splitlines() == [
        "mwb: /etc/x.yaml:3:1: tunnel.name: ...",
        "mwb: Nothing was changed; the tunnel goes on as it was.",
    ]


def test_the_daemon_is_found_by_its_file_whatever_is_in_that_now(config: Path) -> None:
    config.write_text("tunnel: {name: another}\nthis is: [broken\n")
    run = config.parent / "run"
    run.mkdir()

    with (
        DaemonStub(run / "mwb0.sock", status={"config": "/etc/other.yaml"}) as other,
        DaemonStub(
            run / "mwb1.sock",
            status={"config": str(config)},
            replies={"reload": {"outcome": "broken", "file": str(config), "lines": ["x"]}},
        ) as ours,
    ):
        code = main(["reload", "-c", str(config)])

    assert code == 78
    assert other.commands == ["status"]
    assert ours.commands == ["status", "reload"]


def test_without_a_daemon_a_broken_file_is_what_is_reported(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text("rooting: {mode: adaptive}")

    code = main(["reload", "-c", str(config)])

    assert code == 78
    assert "rooting: unknown key. Did you mean 'routing'?" in capsys.readouterr().err


def test_without_a_daemon_it_says_so(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["reload", "-c", str(config)])

    assert code == 1
    assert "No daemon listens on" in capsys.readouterr().err
