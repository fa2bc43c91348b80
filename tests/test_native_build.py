"""The compiled part is built where that is possible, and told of where it is not."""

import shutil
import sysconfig
from pathlib import Path

import pytest

from multiwanbond.native import build


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "run_cipher.abi3.so"
    monkeypatch.setattr(build, "TARGET", path)
    return path


def test_it_is_built(target: Path) -> None:
    headers = Path(sysconfig.get_paths()["include"])
    if shutil.which("cc") is None or not (headers / "Python.h").exists():
        pytest.skip("no C compiler, or no headers of Python")

    assert build.main() == 0
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_without_a_compiler_it_is_said_what_to_install(
    target: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")

    assert build.main() == 1
    assert "apt install gcc" in capsys.readouterr().err
    assert not list(target.parent.iterdir())


def test_what_the_compiler_says_is_shown_and_the_old_file_stays(
    target: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    target.write_text("old")
    broken = tmp_path / "broken.c"
    broken.write_text("int main(")
    monkeypatch.setattr(build, "SOURCE", broken)

    problem = build.build()

    assert problem is not None
    assert "broken.c" in problem
    assert target.read_text() == "old"
