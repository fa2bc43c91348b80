"""The command line: verbs are found, errors explained, and nothing needless is loaded."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from multiwanbond import __version__
from multiwanbond.cli import command, main
from multiwanbond.cli.command import VERBS, Parser
from multiwanbond.errors import LocalProtocolError, MultiWanBondError, PrivilegeError


def modules_after(code: str) -> set[str]:
    """Return the top-level modules loaded in a new interpreter that ran `code`."""
    script = (
        f"{code}\nimport sys\nprint('modules', *{{name.split('.')[0] for name in sys.modules}})"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return set(ran.stdout.splitlines()[-1].split())


def test_an_unknown_verb_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["stauts"])

    assert code == 64
    assert capsys.readouterr().err == (
        "mwb: there is no verb 'stauts'. Did you mean 'status'? See \"mwb --help\".\n"
    )


def test_an_unknown_option_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["keygen", "--ouptut=x"])

    assert code == 64
    assert "unknown argument '--ouptut'. Did you mean '--output'?" in capsys.readouterr().err


def test_options_are_not_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["keygen", "--out", "x"])

    assert code == 64
    assert "unknown argument '--out'" in capsys.readouterr().err


def test_a_missing_value_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["keygen", "-o"])

    assert code == 64
    assert capsys.readouterr().err.startswith("mwb: argument -o/--output: expected one argument.")


def test_an_options_value_is_explained_as_the_files_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = main(["up", "--timeout", "5"])

    assert code == 64
    assert "expected a duration, found '5'. Write it like 200ms." in capsys.readouterr().err


def test_without_a_verb_the_verbs_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code = main([])

    listed = re.findall(r"^  (\w+) +\w", capsys.readouterr().err.split("verbs:")[1], re.MULTILINE)
    assert code == 64
    assert listed == list(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_describes_itself_as_the_list_does(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    subparsers = Parser(prog="mwb").add_subparsers()
    import_module(f"multiwanbond.cli.{verb}").add_parser(subparsers)

    (described,) = subparsers._choices_actions

    assert described.dest == verb
    assert described.help == VERBS[verb]
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    assert f"usage: mwb {verb}" in capsys.readouterr().out


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out == f"mwb {__version__}\n"


@pytest.mark.parametrize("arguments", [["-c", "FILE", "check"], ["check", "-c", "FILE"]])
def test_the_file_may_be_named_before_or_after_the_verb(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "none.yaml")

    code = main([missing if each == "FILE" else each for each in arguments])

    assert code == 78
    assert f"mwb: {missing}: does not exist." in capsys.readouterr().err


def raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every command line end in `error`."""

    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr(command, "_run", fail)


def test_an_error_becomes_its_exit_code_and_a_line_without_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(PrivilegeError("No.", "Be root."), monkeypatch)

    assert main([]) == 77
    assert capsys.readouterr().err == "mwb: No. Be root.\n"


def test_an_interrupt_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(KeyboardInterrupt(), monkeypatch)

    assert main([]) == 130


def test_our_own_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(LocalProtocolError("oops"), monkeypatch)

    with pytest.raises(LocalProtocolError):
        main([])


def test_every_error_has_an_exit_code_of_sysexits_or_one() -> None:
    kinds = [MultiWanBondError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())

    assert {kind.exit_code for kind in kinds} <= {1, *range(64, 79), 130}


def test_nobody_reading_on_is_no_error() -> None:
    ran = subprocess.run(
        f"{sys.executable} -m multiwanbond config reference --markdown | head -c 1",
        shell=True,
        capture_output=True,
        check=True,
        timeout=60,
    )

    assert ran.stdout == b"|"
    assert ran.stderr == b""


def test_the_command_line_alone_loads_nothing_heavy() -> None:
    loaded = modules_after("import multiwanbond.cli")

    assert loaded & {"trio", "pyroute2", "rich", "yaml", "cryptography", "zfec", "pytun"} == set()


def test_status_loads_neither_trio_nor_pyroute2(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"mode: server\ncontrol: {{socket: {tmp_path}/none.sock}}\n")

    loaded = modules_after(
        f"from multiwanbond.cli import main\nmain(['-c', {str(path)!r}, 'status'])"
    )

    assert "yaml" in loaded
    assert loaded & {"trio", "pyroute2", "cryptography", "zfec", "pytun"} == set()
