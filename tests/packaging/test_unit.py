"""The systemd unit: what systemd itself says of it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from multiwanbond.config.model import STATE_DIRECTORY

from .conftest import PROJECT

UNIT = "multiwanbond@.service"
MOST_EXPOSED = 1.9
"""What `systemd-analyze security` says, of 10; systemd's own word up to 4.9 is OK."""

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing (package systemd)"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root directory with the unit and all that it needs."""
    for folder in ("usr/bin", "bin", "usr/lib/systemd/system", "etc/multiwanbond"):
        (tmp_path / folder).mkdir(parents=True)
    for program in ("usr/bin/mwb", "bin/chown"):
        (tmp_path / program).touch(mode=0o755)
    shutil.copy(PROJECT / "systemd" / UNIT, tmp_path / "usr/lib/systemd/system")
    return tmp_path


def analyze(verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["systemd-analyze", verb, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "unrecognized option" in done.stderr:  # before systemd 250
        pytest.skip(f"this systemd-analyze is too old: {done.stderr.strip()}")
    return done


def test_systemd_finds_nothing_wrong_with_the_unit(root: Path) -> None:
    # Its targets are other packages' files; what is left is about ours.
    for needed in ("network.target", "nss-lookup.target", "multi-user.target", "sysinit.target",
                   "basic.target", "shutdown.target", "modprobe@.service"):  # fmt: skip
        found = Path("/usr/lib/systemd/system", needed)
        if found.exists():
            shutil.copy(found, root / "usr/lib/systemd/system")

    done = analyze("verify", f"--root={root}", "--man=no", UNIT)

    said = [line for line in done.stderr.splitlines() if "multiwanbond" in line]
    assert said == []


def test_what_a_broken_in_daemon_could_do_is_little(root: Path) -> None:
    done = analyze("security", "--offline=yes", f"--root={root}", UNIT)

    found = re.search(r"Overall exposure level for .*: ([\d.]+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) <= MOST_EXPOSED, done.stdout


def test_the_user_is_made_as_systemd_reads_it(tmp_path: Path) -> None:
    if shutil.which("systemd-sysusers") is None:
        pytest.skip("systemd-sysusers is missing (package systemd)")
    (tmp_path / "etc").mkdir()

    subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", PROJECT / "systemd" / "multiwanbond.sysusers"],
        check=True,
        capture_output=True,
        timeout=60,
    )

    (user,) = (tmp_path / "etc/passwd").read_text().splitlines()
    assert user.startswith("multiwanbond:x:")
    assert user.endswith(":/usr/sbin/nologin")


def test_the_unit_has_one_capability(root: Path) -> None:
    lines = (root / "usr/lib/systemd/system" / UNIT).read_text().splitlines()

    assert "AmbientCapabilities=CAP_NET_ADMIN" in lines
    assert "CapabilityBoundingSet=CAP_NET_ADMIN" in lines


def test_what_outlives_a_restart_has_a_place_that_the_service_may_write(root: Path) -> None:
    lines = (root / "usr/lib/systemd/system" / UNIT).read_text().splitlines()

    assert f"StateDirectory={STATE_DIRECTORY.name}" in lines
    assert Path("/var/lib") == STATE_DIRECTORY.parent
