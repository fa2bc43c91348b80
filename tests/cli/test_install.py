"""`scripts/install` below another root: what it puts there works, and all of it goes again."""

import os
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="installing needs root")


def install(root: Path, *arguments: str) -> None:
    subprocess.run(
        [PROJECT / "scripts" / "install", *arguments],
        env={**os.environ, "DESTDIR": str(root)},
        check=True,
        capture_output=True,
        timeout=120,
    )


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def test_the_installed_command_runs(tmp_path: Path) -> None:
    install(tmp_path)

    done = subprocess.run(
        [tmp_path / "usr/local/bin/mwb", "--version"], capture_output=True, text=True, timeout=60
    )

    assert done.stdout.startswith("mwb ")
    assert files(tmp_path) == ["etc/systemd/system/multiwanbond@.service", "usr/local/bin/mwb"]
    assert (tmp_path / "etc/multiwanbond").stat().st_mode & 0o777 == 0o700


def test_what_was_installed_is_removed_and_keys_stay(tmp_path: Path) -> None:
    install(tmp_path)
    key = tmp_path / "etc/multiwanbond/private.key"
    key.write_text("secret")

    install(tmp_path, "--remove")

    assert files(tmp_path) == ["etc/multiwanbond/private.key"]
