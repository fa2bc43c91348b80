"""Runs the lab's test programs and reads what they say: JSON, one object a line."""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from multiwanbond.errors import PlatformError
from multiwanbond.lab.namespaces import Namespace


@dataclass(slots=True)
class Program:
    """One that runs, and what it says."""

    process: "subprocess.Popen[str]"

    def wait_ready(self) -> None:
        """Return when it listens."""
        self._line("is_ready")

    def outcome(self, key: str) -> dict[str, Any]:
        """Return its last word, which has `key`."""
        return self._line(key)

    def _line(self, key: str) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        said: dict[str, Any] = json.loads(line) if line else {}
        if key not in said:
            raise PlatformError(
                f"A test program failed: {said.get('error', 'it says nothing')}.",
                "Is the machine too busy, or the run too short for its lines?",
            )
        return said


def command(module: str, *arguments: str) -> list[str]:
    """Return what runs a test program of the lab."""
    return [sys.executable, "-m", f"multiwanbond.lab.{module}", *arguments]


def start(namespace: Namespace, module: str, *arguments: str) -> Program:
    """Start a test program of the lab in a namespace."""
    return Program(namespace.start(*command(module, *arguments), stdout=subprocess.PIPE))
