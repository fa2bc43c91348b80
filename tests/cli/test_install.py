"""`scripts/install` below another root: what it puts there works, and all of it goes again."""

import os
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]

LIB = "/usr/local/lib/multiwanbond"

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
    """Return what is there, but for the package and those it needs."""
    found = (f"/{path.relative_to(root)}" for path in root.rglob("*") if not path.is_dir())
    return sorted(path[1:] for path in found if not path.startswith(f"{LIB}/"))


def test_the_installed_command_runs(tmp_path: Path) -> None:
    install(tmp_path)

    # The command knows where its packages are installed, which here is elsewhere.
    command = (tmp_path / "usr/local/bin/mwb").read_text()
    moved = command.replace("/usr/local/lib/multiwanbond:", f"{tmp_path}{LIB}:")
    done = subprocess.run(
        ["sh", "-c", moved, "mwb", "--version"], capture_output=True, text=True, timeout=60
    )
    unit = (tmp_path / "etc/systemd/system/multiwanbond@.service").read_text()

    assert done.stdout.startswith("mwb ")
    assert files(tmp_path) == [
        "etc/polkit-1/rules.d/multiwanbond.rules",
        "etc/systemd/system/multiwanbond@.service",
        "etc/sysusers.d/multiwanbond.conf",
        "usr/local/bin/mwb",
    ]
    assert "ExecStart=/usr/local/bin/mwb run" in unit
    assert "/usr/bin/mwb" not in unit
    assert (tmp_path / "etc/multiwanbond").stat().st_mode & 0o777 == 0o700


def test_what_was_installed_is_removed_and_keys_stay(tmp_path: Path) -> None:
    install(tmp_path)
    key = tmp_path / "etc/multiwanbond/private.key"
    key.write_text("secret")

    install(tmp_path, "--remove")

    assert files(tmp_path) == ["etc/multiwanbond/private.key"]
    assert not (tmp_path / LIB[1:]).exists()
