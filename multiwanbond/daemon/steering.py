"""Leads traffic into the tunnel: routes and name servers, as long as the tunnel leads somewhere."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from multiwanbond.config.model import OnFailure
from multiwanbond.core.settings import Prefix
from multiwanbond.errors import MultiWanBondError
from multiwanbond.linux.undo import Undo

from .machine import Machine
from .plan import TunnelPlan
from .report import say
from .routes import Routes

PATIENCE: Final = 5.0
"""Seconds without a usable path after which everything leaves by the WANs: a server that restarts
is back sooner, and connections that changed their way would break."""
_LOOK_AGAIN: Final = 5.0
"""Seconds after which to look without being told that something changed."""


class Steering:
    """Keeps the kernel's routes into one tunnel, and whom it asks for names."""

    def __init__(
        self,
        plan: TunnelPlan,
        machine: Machine,
        undo: Undo,
        *,
        is_connected: Callable[[], bool],
        wait_address: Callable[[], Awaitable[None]],
    ) -> None:
        """Change nothing yet; what will be changed is taken back by `undo`.

        Args:
            plan: what is to go into the tunnel.
            machine: whose routes they are.
            undo: of the tunnel as a whole.
            is_connected: tells whether the bond carries traffic.
            wait_address: returns when the server's address is known. A default route before that
                would swallow the very question for it.
        """
        self._plan = plan
        self._machine = machine
        self._is_connected = is_connected
        self._wait_address = wait_address
        self._lock = trio.Lock()
        self._changed = trio.Event()
        self._has_begun = False
        self._is_through = plan.on_failure is OnFailure.BLOCK
        """True while defaults lead into the tunnel."""
        self._names = Undo()
        self._asked: object = None
        """Name servers set by us."""
        undo.push("name servers", lambda: _raise_if(self._names.run()))
        self._routes: Routes[Prefix] = Routes(
            "routes into the tunnel",
            lambda prefix, undo: machine.route_tunnel([prefix], undo),
            undo,
        )

    @property
    def is_steering(self) -> bool:
        """True once all that is to go into the tunnel does."""
        return self._has_begun and len(self._wanted()) == len(self._plan.routes)

    def on_change(self) -> None:
        """Look again whether the bond is connected."""
        self._changed.set()

    async def run(self) -> None:
        """Keep everything right until cancelled.

        Raises:
            PlatformError: a route cannot be set.
        """
        await self._wait_address()
        async with self._lock:
            self._has_begun = True
            await self._add_routes()
        while True:
            await self._wait_connected()
            await self._turn(is_through=True)
            await self._wait_lost()
            await self._turn(is_through=self._plan.on_failure is OnFailure.BLOCK)

    async def reconfigure(self, plan: TunnelPlan, commit: Callable[[], Awaitable[None]]) -> None:
        """Follow another plan without a moment in which a packet has no way.

        Args:
            plan: what is to go into the tunnel.
            commit: does the rest of a change; called once the new routes are there, before those
                wanted no more go.

        Raises:
            PlatformError: a new route cannot be set; nothing has changed.
        """
        async with self._lock:
            before, self._plan = self._plan, plan
            try:
                if self._has_begun:
                    await self._add_routes()
            except BaseException:
                self._plan = before
                raise
            with trio.CancelScope(shield=True):
                await commit()
                await self._drop_routes()
                await self._set_names()

    async def _wait_connected(self) -> None:
        while not self._is_connected():
            await self._wait_changed()

    async def _wait_lost(self) -> None:
        """Return when the bond has carried nothing for `PATIENCE`."""
        while True:
            while self._is_connected():
                await self._wait_changed()
            with trio.move_on_after(PATIENCE) as limit:
                await self._wait_connected()
            if limit.cancelled_caught:
                return

    async def _wait_changed(self) -> None:
        self._changed = trio.Event()
        with trio.move_on_after(_LOOK_AGAIN):
            await self._changed.wait()

    async def _turn(self, *, is_through: bool) -> None:
        async with self._lock:
            if is_through != self._is_through:
                way = "goes through the tunnel again" if is_through else "leaves by the WANs"
                if any(map(_is_default, self._plan.routes)):
                    say(logging.INFO if is_through else logging.WARNING, f"Everything {way}.")
            self._is_through = is_through
            await self._add_routes()
            await self._drop_routes()
            await self._set_names()

    # Steps

    def _wanted(self) -> list[Prefix]:
        return [each for each in self._plan.routes if self._is_through or not _is_default(each)]

    async def _add_routes(self) -> None:
        await trio.to_thread.run_sync(self._routes.add, self._wanted())

    async def _drop_routes(self) -> None:
        for failure in await trio.to_thread.run_sync(self._routes.keep_only, self._wanted()):
            say(logging.WARNING, f"Could not undo {failure}.")

    async def _set_names(self) -> None:
        """Ask the plan's name servers while the bond is connected, others otherwise."""
        wanted = self._plan.dns if self._is_through and self._is_connected() else ()
        if wanted == (self._asked or ()):
            return
        for failure in await trio.to_thread.run_sync(self._names.run):
            say(logging.WARNING, f"Could not undo {failure}.")
        self._asked = None
        if not wanted:
            return
        try:
            await trio.to_thread.run_sync(self._machine.set_name_servers, wanted, self._names)
            self._asked = wanted
        except MultiWanBondError as exc:
            say(logging.WARNING, f"tunnel.dns is not followed: {exc}")


def _is_default(prefix: Prefix) -> bool:
    return prefix.prefixlen == 0


def _raise_if(failures: list[str]) -> None:
    if failures:
        raise MultiWanBondError("; ".join(failures))
