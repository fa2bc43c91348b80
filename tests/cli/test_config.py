"""`mwb config` explains any setting and shows those in force."""

from pathlib import Path

import pytest

from multiwanbond.cli import main
from multiwanbond.config import reference
from multiwanbond.config.load import load
from tests.config.files import CLIENT, write


def test_one_setting_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["config", "explain", "routing.mode"])

    said = capsys.readouterr().out
    assert code == 0
    assert said.startswith("routing.mode\n")
    assert "default: adaptive" in said


def test_without_a_key_everything_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["config", "explain"])

    said = capsys.readouterr().out
    assert code == 0
    assert all(f"{setting.key}\n" in said for setting in reference.settings())


def test_an_unknown_key_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["config", "explain", "wans.interfce"])

    assert code == 64
    assert "there is no setting 'wans.interfce'. Did you mean 'wans[].interface'?" in (
        capsys.readouterr().err
    )


def test_the_reference_is_printed_for_terminals_and_for_the_readme(
    capsys: pytest.CaptureFixture[str],
) -> None:
    codes = [main(["config", "reference", *extra]) for extra in ([], ["--markdown"])]

    said = capsys.readouterr().out
    assert codes == [0, 0]
    assert said == reference.listing() + reference.markdown()


def test_the_settings_in_force_are_shown_as_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, CLIENT)

    code = main(["config", "show", "-c", str(path)])

    again = tmp_path / "again.yaml"
    again.write_text(capsys.readouterr().out)
    assert code == 0
    assert load(again) == load(path)


def test_an_action_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["config"])

    assert code == 64
    assert "ACTION" in capsys.readouterr().err
