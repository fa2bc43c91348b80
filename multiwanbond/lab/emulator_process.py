"""Starting the emulator in a process of its own, and commanding it."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from multiwanbond.errors import PlatformError
from multiwanbond.lab import processes
from multiwanbond.lab.link_plan import settings_to
from multiwanbond.lab.namespaces import Namespace
from multiwanbond.sim.links import LinkSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class WanPlan:
    """One emulated WAN: the same device name at both ends, settings per direction."""

    name: str
    client: Namespace
    server: Namespace
    to_server: LinkSettings
    to_client: LinkSettings
    seed: int
    """Of everything random on this WAN."""

    def document(self) -> dict[str, Any]:
        """Return the plan as the emulator reads it."""
        return {
            "name": self.name,
            "client": self.client.name,
            "server": self.server.name,
            "to_server": settings_to(self.to_server),
            "to_client": settings_to(self.to_client),
            "seed": self.seed,
        }


class EmulatorProcess:
    """A running emulator; its devices exist from construction until `close`."""

    def __init__(self, plans: Sequence[WanPlan]) -> None:
        self._process = processes.start(
            [sys.executable, "-m", "multiwanbond.lab.emulator"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            self._ask({"wans": [plan.document() for plan in plans]})
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The emulator's process."""
        return self._process.pid

    def reconfigure(self, wan: str, direction: str, settings: LinkSettings) -> None:
        """Give one direction of a WAN other settings; they hold when this returns."""
        document = settings_to(settings)
        self._ask({"do": "set", "wan": wan, "direction": direction, "settings": document})

    def statistics(self) -> dict[str, Any]:
        """Return the counters of every link: `[wan][direction][counter]`."""
        return self._ask({"do": "statistics"})

    def close(self) -> None:
        """End the process; its devices vanish with it."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        processes.stop(self._process)

    def _ask(self, document: dict[str, Any]) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(json.dumps(document) + "\n")
            answer = stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise PlatformError(
                f"The WAN emulator ended with exit code {self._process.wait()}.",
                "Its own message is on standard error.",
            )
        reply: dict[str, Any] = json.loads(answer)
        if "error" in reply:
            raise PlatformError(f"The WAN emulator refused: {reply['error']}.", "")
        return reply
