"""What this machine does for the hosts behind it: kept in step with the plan and the WANs."""

import logging
from collections.abc import Callable

import trio

from multiwanbond.config.gateway import Forward
from multiwanbond.errors import PlatformError
from multiwanbond.linux.gateway import GatewayWish
from multiwanbond.linux.undo import Undo

from .machine import Machine
from .report import say

_SETTLE = 0.2
"""Seconds after a change of the machine's, so that the WANs have followed it first."""


class Gateway:
    """Forwarding, address translation and open ports of one tunnel."""

    def __init__(
        self, wish: GatewayWish, machine: Machine, wans: Callable[[], list[str]], undo: Undo
    ) -> None:
        """Change nothing yet; what will be changed is taken back by `undo`.

        Args:
            wish: what is to be done.
            machine: where.
            wans: returns the interfaces that are WANs now.
            undo: of the tunnel as a whole.
        """
        self._wish = wish
        self._machine = machine
        self._wans = wans
        self._undo = undo
        self._is_changed = trio.Event()
        self._complaint: str | None = None

    def reconfigure(self, wish: GatewayWish) -> None:
        """Follow another wish, soon."""
        self._wish = wish
        self._is_changed.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep it right until cancelled.

        Raises:
            PlatformError: before `started`, if the operator insists on what cannot be.
        """
        async with self._machine.watch() as watch, trio.open_nursery() as nursery:
            await self._apply(is_insistent=self._wish.forward is Forward.ON)
            task_status.started()
            nursery.start_soon(self._follow_wishes)
            while True:
                await watch.wait_changed()
                await trio.sleep(_SETTLE)
                self._is_changed.set()

    async def _follow_wishes(self) -> None:
        while True:
            await self._is_changed.wait()
            self._is_changed = trio.Event()
            await self._apply(is_insistent=False)

    async def _apply(self, *, is_insistent: bool) -> None:
        wans = sorted(set(self._wans()))
        try:
            await trio.to_thread.run_sync(self._machine.forward, self._wish, wans, self._undo)
        except PlatformError as exc:
            if is_insistent:
                raise
            if str(exc) != self._complaint:
                self._complaint = str(exc)
                say(logging.WARNING, f"Nothing is forwarded by us: {exc}")
        else:
            self._complaint = None
