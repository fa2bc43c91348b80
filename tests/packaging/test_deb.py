"""The Debian package: installed, used by hand, removed, and nothing of it is left."""

import json
import re
import time
from pathlib import Path

import pytest

from .machine import Machine

pytestmark = pytest.mark.netns

SERVER = """
mode: server
tunnel: {address: [10.77.0.1/24]}
security:
  private_key_file: private.key
  peers:
    - public_key: "CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
      allowed_ips: [10.77.0.2/32]
"""
NOT_OURS = re.compile(
    # What dpkg writes about its own work, and the programs that add and remove users.
    r"var/lib/dpkg(/info|/updates|/triggers|/(status|available|diversions|statoverride)(-old)?"
    r"|/updates/.*|/lock.*|/triggers/.*|/info/format)?|var/log/.*|etc/(passwd|group|shadow|gshadow|sub[ug]id)-"
    r"|etc/\.pwd\.lock"
)
"""Files that may be other than before."""


def traces(machine: Machine) -> list[str]:
    return [path for path in machine.changes() if not NOT_OURS.fullmatch(path)]


def has_ended(pid: int, *, within: float = 5.0) -> bool:
    """Tell whether a process ends in time; one that nobody has asked for its code has."""
    give_up = time.monotonic() + within
    while time.monotonic() < give_up:
        try:
            if not Path(f"/proc/{pid}/cmdline").read_bytes():
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_it_is_installed_used_and_removed_without_a_trace(machine: Machine) -> None:
    installed = set(traces(machine))
    machine.run("mwb", "keygen", "-o", "/etc/multiwanbond/private.key")
    (machine.root / "etc/multiwanbond/config.yaml").write_text(SERVER)

    assert machine.run("mwb", "--version").stdout.startswith("mwb ")
    assert "server" in machine.run("mwb", "check").stdout
    machine.run("mwb", "up")
    status = json.loads(machine.run("mwb", "status", "--json").stdout)
    assert status["is_ready"]
    assert "mwb0" in machine.run("ip", "link", "show").stdout
    used = set(traces(machine)) - installed
    assert all(path.startswith(("etc/multiwanbond/", "var/log/")) for path in used), used

    machine.run("dpkg", "--remove", "multiwanbond")
    assert "mwb0" not in machine.run("ip", "link", "show").stdout
    assert has_ended(status["pid"])
    assert sorted(path.name for path in (machine.root / "etc/multiwanbond").iterdir()) == [
        "config.yaml",
        "private.key",
    ]
    assert list((machine.root / "run").iterdir()) == []

    machine.run("dpkg", "--purge", "multiwanbond")
    assert traces(machine) == []
    assert machine.run("getent", "passwd", "multiwanbond", code=2).stdout == ""
    listed = machine.run("dpkg-query", "--list", "multiwanbond", code=1)
    assert "no packages found" in listed.stderr


def test_an_installed_machine_has_a_user_whose_group_reads_the_keys(machine: Machine) -> None:
    machine.run("mwb", "keygen", "-o", "/etc/multiwanbond/private.key")

    rights = machine.run("stat", "-c", "%U:%G %a", "/etc/multiwanbond/private.key").stdout
    machine.run("setpriv", "--reuid=multiwanbond", "--regid=multiwanbond", "--clear-groups",
                "cat", "/etc/multiwanbond/private.key")  # fmt: skip
    machine.run("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups",
                "cat", "/etc/multiwanbond/private.key", code=1)  # fmt: skip

    assert rights == "root:multiwanbond 640\n"


def test_keys_of_a_service_that_was_root_can_be_read_by_its_new_user(package: Path) -> None:
    with Machine() as machine:
        etc = machine.root / "etc/multiwanbond"
        etc.mkdir(mode=0o700)
        (etc / "private.key").touch(mode=0o600)

        machine.install(package)

        stat = ("stat", "-c", "%U:%G %a", "/etc/multiwanbond", "/etc/multiwanbond/private.key")
        assert machine.run(*stat).stdout.splitlines() == [
            "root:multiwanbond 2750",
            "root:multiwanbond 640",
        ]


def test_plugins_are_found_and_a_caller_brings_in_no_code_of_his_own(machine: Machine) -> None:
    for folder in ("tmp/multiwanbond", "tmp/trio"):
        (machine.root / folder).mkdir()
        (machine.root / folder / "__init__.py").write_text("raise SystemExit('not ours')")

    listed = machine.run("env", "--chdir=/tmp", "PYTHONPATH=/tmp", "mwb", "plugins").stdout

    assert "prometheus" in listed
