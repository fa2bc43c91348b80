"""What our unit says, carried out without systemd."""

import json
import subprocess
from pathlib import Path

from .conftest import PROJECT
from .machine import Machine

_UNIT = PROJECT / "systemd" / "multiwanbond@.service"
_CONFINED = Path(__file__).with_name("confined.py")


class Service:
    """One instance of the unit on a machine, by its configuration's name."""

    def __init__(self, machine: Machine, instance: str) -> None:
        self._machine = machine
        self._instance = instance
        self._settings: dict[str, list[str]] = {}
        for line in _UNIT.read_text().splitlines():
            key, is_setting, value = line.partition("=")
            if is_setting and not line.startswith("#"):
                self._settings.setdefault(key, []).append(value)
        (machine.root / "tmp/confined.py").write_bytes(_CONFINED.read_bytes())

    def command(self, key: str) -> list[str]:
        """Return what runs ExecStart, ExecReload or ExecStopPost as the unit would."""
        return self.confined(*self._one(key).replace("%i", self._instance).split())

    def confined(self, *program: str) -> list[str]:
        """Return what runs any program with the unit's rights."""
        wish = {
            "user": self._one("User"),
            "runtime_directory": f"/run/{self._one('RuntimeDirectory')}",
            "capabilities": self._one("CapabilityBoundingSet").split(),
            "umask": self._one("UMask"),
            "families": self._one("RestrictAddressFamilies").split(),
            "calls": sorted(self._calls()),
            "program": program,
        }
        return ["/usr/bin/python3", "/tmp/confined.py", json.dumps(wish)]

    def _one(self, key: str) -> str:
        (value,) = self._settings[key]
        return value

    def _calls(self) -> set[str]:
        """Return the names of the system calls that the unit leaves."""
        allowed: set[str] = set()
        for value in self._settings["SystemCallFilter"]:
            named = {call for group in value.lstrip("~").split() for call in _members(group)}
            allowed = allowed - named if value.startswith("~") else allowed | named
        return allowed


def _members(group: str) -> set[str]:
    """Return the system calls in a group of systemd's, and in the groups in it."""
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True
    )
    found: set[str] = set()
    for line in listed.stdout.splitlines()[1:]:
        name = line.strip()
        if name.startswith("@"):
            found |= _members(name)
        elif name and not name.startswith("#"):
            found.add(name)
    return found
