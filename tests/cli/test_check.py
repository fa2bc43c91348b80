"""`mwb check` tells mistakes from gaps, and a good file in plain words; it changes nothing."""

from pathlib import Path

import pytest

from multiwanbond.cli import main
from tests.config.files import CLIENT, write, write_key


def test_a_good_file_is_told_in_plain_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_key(tmp_path)
    path = write(tmp_path, CLIENT)

    code = main(["check", "-c", str(path)])

    said = capsys.readouterr()
    assert code == 0
    assert said.out.startswith(f"{path} is good.\n  This is a client; its server is vps at vps.")
    assert said.err == ""


def test_remarks_do_not_fail_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_key(tmp_path)
    path = write(tmp_path, CLIENT.replace("10.77.0.0/24]", "0.0.0.0/0]"))

    code = main(["check", "-c", str(path)])

    assert code == 0
    assert "Note: All of IPv4 goes through the tunnel" in capsys.readouterr().out


def test_every_mistake_is_a_line_and_the_exit_code_is_78(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "mode: cleint\ntunnel: {mtu: 1}\n")

    code = main(["check", "-c", str(path)])

    lines = capsys.readouterr().err.splitlines()
    assert code == 78
    assert [line.split(" ")[:2] for line in lines] == [
        ["mwb:", f"{path}:1:7:"],
        ["mwb:", f"{path}:2:15:"],
    ]


def test_a_gap_is_told_from_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, CLIENT)

    code = main(["check", "-c", str(path)])

    said = capsys.readouterr()
    assert code == 78
    assert "can be read, but no tunnel can run with it yet" in said.out
    assert "private_key_file: there is no file" in said.err


def test_the_mode_may_come_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_key(tmp_path)
    path = write(tmp_path, CLIENT.replace("mode: client\n", ""))

    codes = [main(["check", "-c", str(path), *mode]) for mode in ([], ["--mode", "server"])]

    said = capsys.readouterr()
    assert codes == [78, 0]
    assert "mode: is missing" in said.err
    assert "This is a server" in said.out


def test_checking_changes_nothing(tmp_path: Path) -> None:
    write_key(tmp_path)
    path = write(tmp_path, CLIENT)
    before = {each: each.stat() for each in tmp_path.iterdir()}

    main(["check", "-c", str(path)])

    after = {each: each.stat() for each in tmp_path.iterdir()}
    assert {each: status.st_mtime_ns for each, status in after.items()} == {
        each: status.st_mtime_ns for each, status in before.items()
    }
