"""Tells systemd how we are, if systemd asks (Type=notify): one datagram per message, no library."""

import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import trio


class Notifier:
    """The way to the service manager; without one every message goes nowhere."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID (sd_notify(3))."""
        self._address = environment.get("NOTIFY_SOCKET", "")
        interval = environment.get("WATCHDOG_USEC", "")
        is_ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_interval = int(interval) / 1e6 if interval.isdecimal() and is_ours else None
        """Seconds after which systemd kills a daemon that says nothing; None if it does not."""

    def ready(self, status: str) -> None:
        """Say that the tunnel stands, and what it is doing."""
        self._send(f"READY=1\nSTATUS={status}")

    def stopping(self) -> None:
        """Say that an orderly end has begun."""
        self._send("STOPPING=1")

    async def feed_watchdog(self, turn: Callable[[], Awaitable[None]]) -> None:
        """Show, until cancelled, that the loop that moves packets still turns.

        Args:
            turn: returns when that loop has made a round. While it does not, nothing is fed, and
                systemd starts the daemon anew. One thread runs everything, so a task that never
                gives way stops us in any case; but one that waits for what never comes would not.
        """
        if not self._address or self.watchdog_interval is None:
            return
        while True:
            await turn()
            self._send("WATCHDOG=1")
            # Twice as often as needed, as sd_watchdog_enabled(3) recommends.
            await trio.sleep(self.watchdog_interval / 2)

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # "@" stands for the zero byte of an abstract address.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to_manager:
            to_manager.setblocking(False)
            to_manager.sendto(message.encode(), address)
