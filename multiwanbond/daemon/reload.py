"""Hot reload: the file is read again, and the running tunnel follows all of it or nothing."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from multiwanbond.config.diff import require_reloadable
from multiwanbond.config.model import Configuration
from multiwanbond.control.status import ReloadDocument, ReloadOutcome
from multiwanbond.core.settings import CipherCosts
from multiwanbond.errors import ConfigFileError, MultiWanBondError, PlatformError

from .plan import Plan, plan_for
from .report import say

Apply = Callable[[Plan], Awaitable[None]]
"""Makes a running tunnel follow a plan; PlatformError: it cannot, and nothing has changed."""


class Reloader:
    """Knows the configuration in force and where another may be read."""

    def __init__(
        self,
        configuration: Configuration,
        read: Callable[[], Configuration],
        costs: CipherCosts,
    ) -> None:
        """Read nothing yet.

        Args:
            configuration: what the tunnel was started with; it came from a file.
            read: returns what the file says now, complete with keys, or raises ConfigFileError.
            costs: of the ciphers, as measured at the start.
        """
        self._configuration = configuration
        self._read: Final = read
        self._costs: Final = costs
        self._lock: Final = trio.Lock()

    @property
    def file(self) -> str:
        """The file that is read."""
        return str(self._configuration.origin.path)

    async def reload(self, apply: Apply) -> ReloadDocument:
        """Let the tunnel follow the file, and say what came of it: all, or nothing with reasons."""
        async with self._lock:
            outcome, lines = await self._try(apply)
        _report(outcome, self.file, lines)
        return {"outcome": outcome.value, "file": self.file, "lines": lines}

    async def _try(self, apply: Apply) -> tuple[ReloadOutcome, list[str]]:
        try:
            new = await trio.to_thread.run_sync(self._read)
        except ConfigFileError as exc:
            return ReloadOutcome.BROKEN, _lines(exc)
        try:
            changes = require_reloadable(self._configuration, new)
            if changes:
                await apply(plan_for(new, self._costs))
        except (ConfigFileError, PlatformError) as exc:
            return ReloadOutcome.REFUSED, _lines(exc)
        self._configuration = new
        if not changes:
            return ReloadOutcome.UNCHANGED, []
        return ReloadOutcome.APPLIED, [str(change) for change in changes]


def _lines(error: MultiWanBondError) -> list[str]:
    return str(error).splitlines()


def _report(outcome: ReloadOutcome, file: str, lines: Sequence[str]) -> None:
    match outcome:
        case ReloadOutcome.UNCHANGED:
            say(logging.INFO, f"Reloaded {file}: nothing has changed.")
        case ReloadOutcome.APPLIED:
            say(logging.INFO, f"Reloaded {file}.", changes=len(lines))
            for line in lines:
                say(logging.INFO, f"Changed: {line}")
        case ReloadOutcome.REFUSED | ReloadOutcome.BROKEN:
            say(logging.ERROR, f"Reload of {file} refused; everything stays as it was:")
            for line in lines:
                say(logging.ERROR, line)
