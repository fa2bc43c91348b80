"""Gathers alerts: a line that comes and goes all night is one message and not a thousand."""

from collections.abc import Sequence
from math import inf
from typing import Any, Final

import trio

from multiwanbond.plugins.api import Alert, AlertManager, Context

MOST: Final = 100
"""Alerts in one message; further ones are only counted."""


class Digest:
    """Alerts that wait for the next message."""

    def __init__(self, interval: float) -> None:
        """Let messages be at least `interval` seconds apart."""
        self._interval = interval
        self._waiting: list[Alert] = []
        self._left_out = 0
        self._something = trio.Event()
        self._next_at = -inf

    def add(self, alert: Alert) -> None:
        """Put an alert into the next message."""
        if len(self._waiting) < MOST:
            self._waiting.append(alert)
        else:
            self._left_out += 1
        self._something.set()

    async def take(self) -> tuple[list[Alert], int]:
        """Wait until a message is due; return what is to be in it, and how many more there were."""
        await self._something.wait()
        await trio.sleep_until(self._next_at)
        self._next_at = trio.current_time() + self._interval
        self._something = trio.Event()
        alerts, self._waiting = self._waiting, []
        left_out, self._left_out = self._left_out, 0
        return alerts, left_out


class DigestManager(AlertManager):
    """An alert manager whose options have an `interval` between its messages."""

    def __init__(self, options: Any, context: Context) -> None:
        super().__init__(options, context)
        self._digest = Digest(options.interval)

    async def alert(self, alert: Alert) -> None:
        """Keep an alert for the next message."""
        self._digest.add(alert)

    async def run(self) -> None:
        """Pass on what has gathered."""
        while True:
            alerts, left_out = await self._digest.take()
            await self.pass_on(alerts, left_out)

    async def pass_on(self, alerts: Sequence[Alert], left_out: int) -> None:
        """Send one message; what it does not list is only counted."""
        raise NotImplementedError


def as_object(alert: Alert) -> dict[str, Any]:
    """Return an alert as a JSON object."""
    return {
        "kind": alert.kind,
        "severity": alert.severity.value,
        "text": alert.text,
        "tunnel": alert.tunnel,
        "time": alert.time,
        "fields": {key: str(value) for key, value in alert.fields.items()},
    }
