"""Which of a client's servers is in use: the first in the list that answers.

The one in use is given up when the bond has led nowhere for a while although there are WANs; then
the next is called, and after the last the first again. An earlier one than that in use is tried
beside the bond once in a while, and used again when it has answered for long enough: connections
through a server end with it, where it translates addresses, so nothing is changed in haste.
"""

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from multiwanbond.control.status import ServerDocument
from multiwanbond.errors import PlatformError

from .plan import ClientPlan, Plan
from .report import say

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at the bond."""
PATIENCE: Final = 10.0
"""Seconds without a usable path after which the server in use is given up; one that restarts its
service is back sooner."""
FIRST_PATIENCE: Final = 15.0
"""The same for a server that has not answered yet: a name with several addresses has the second
one tried after ten seconds (see `wans.TRY_OTHER`)."""
TRY_EVERY: Final = 20.0
"""Seconds between two calls to the servers before the one in use."""
PROOFS: Final = 3
"""Calls in a row that must be answered: with the calls themselves the server is well for most of a
minute."""
SETTLED: Final = 600.0
"""Seconds a server must last after a return to it; one that does not must prove itself twice as
long the next time."""
MOST_PROOFS: Final = 180
"""An hour."""


class Servers:
    """Chooses among plans that differ in their server, and lets the tunnel follow the choice."""

    def __init__(
        self,
        plan: Plan,
        *,
        follow: Callable[[Plan], Awaitable[None]],
        is_connected: Callable[[], bool],
        is_trying: Callable[[], bool],
        answers: Callable[[Plan], Awaitable[bool]],
    ) -> None:
        """Begin with the plan itself.

        Args:
            plan: with the others to choose from in `standby`; a server's has none.
            follow: lets the tunnel follow another plan, or raises PlatformError.
            is_connected: tells whether the bond carries traffic.
            is_trying: tells whether the server in use is being called: with no WAN there, or no
                address on one, it is not its fault that nothing comes.
            answers: calls another plan's server, and tells whether it answered.
        """
        self._plans = (plan, *plan.standby)
        self._place = 0
        self._follow = follow
        self._is_connected = is_connected
        self._is_trying = is_trying
        self._answers = answers
        self._changed = trio.Event()
        self._lock = trio.Lock()
        self._used_since = -math.inf
        self._silent_since: float | None = None
        self._has_answered = False
        self._given_up = 0
        """Servers in a row that did not answer."""
        self._tried_at = -math.inf
        self._proofs: dict[bytes, int] = {}
        """Calls in a row that each earlier server has answered."""
        self._proofs_wanted = PROOFS

    @property
    def plan(self) -> Plan:
        """What is followed now."""
        return self._plans[self._place]

    def describe(self) -> list[ServerDocument]:
        """Return all servers in their order; () for a server."""
        return [
            {
                "name": plan.server.name,
                "remote": _remote(plan.role),
                "is_used": place == self._place,
            }
            for place, plan in enumerate(self._plans)
            if isinstance(plan.role, ClientPlan)
        ]

    async def reconfigure(self, plan: Plan) -> None:
        """Follow another set of plans, with the server in use if it is still among them.

        Raises:
            PlatformError: the machine cannot follow; nothing has changed.
        """
        async with self._lock:
            plans = (plan, *plan.standby)
            keys = [_key(each) for each in plans]
            place = keys.index(_key(self.plan)) if _key(self.plan) in keys else 0
            await self._follow(plans[place])
            if keys[place] != _key(self.plan):
                self._begin()
            self._plans, self._place = plans, place
            self._changed.set()

    async def run(self) -> None:
        """Keep the choice right until cancelled."""
        while True:
            while len(self._plans) == 1:
                await self._changed.wait()
                self._changed = trio.Event()
            await trio.sleep(LOOK_EVERY)
            if self._is_connected():
                self._note_answer()
                if self._place and trio.current_time() >= self._tried_at + TRY_EVERY:
                    await self._try_earlier()
            elif self._is_silent():
                await self._use((self._place + 1) % len(self._plans))

    def _note_answer(self) -> None:
        now = trio.current_time()
        if not self._has_answered:
            self._used_since = now
        self._has_answered, self._silent_since, self._given_up = True, None, 0
        if self._place == 0 and now >= self._used_since + SETTLED:
            self._proofs_wanted = PROOFS

    def _is_silent(self) -> bool:
        """True once the server in use has been called in vain for long enough."""
        now = trio.current_time()
        if not self._is_trying():
            self._silent_since = None
            return False
        if self._silent_since is None:
            self._silent_since = now
        return now >= self._silent_since + (PATIENCE if self._has_answered else FIRST_PATIENCE)

    async def _use(self, place: int) -> None:
        """Go to another server; stay where the machine cannot follow."""
        async with self._lock:
            if place >= len(self._plans):
                return  # reloaded meanwhile
            before, plan = self.plan, self._plans[place]
            self._given_up += 1
            # All of them once; then there is nothing new to say until one answers.
            level = logging.WARNING if self._given_up <= len(self._plans) else logging.DEBUG
            name, other = before.server.name, plan.server.name
            try:
                await self._follow(plan)
            except PlatformError as exc:
                say(level, f"Server {other} cannot be used: {exc}", server=other)
                self._silent_since = None
                return
            say(level, f"Server {name} does not answer: now calling {other}.", server=other)
            self._note_relapse()
            self._place = place
            self._begin()

    def _note_relapse(self) -> None:
        """Be more careful with a preferred server that does not last."""
        now = trio.current_time()
        if self._place == 0 and self._has_answered and now < self._used_since + SETTLED:
            self._proofs_wanted = min(2 * self._proofs_wanted, MOST_PROOFS)

    def _begin(self) -> None:
        """Forget what was known of the server in use: it is another."""
        self._silent_since = None
        self._has_answered = False
        self._proofs.clear()
        self._tried_at = trio.current_time()

    async def _try_earlier(self) -> None:
        """Call the servers before the one in use, and go back to the first that is well."""
        for plan in self._plans[: self._place]:
            is_well = await self._answers(plan)
            key = _key(plan)
            self._proofs[key] = self._proofs.get(key, 0) + 1 if is_well else 0
            if self._proofs[key] >= self._proofs_wanted:
                await self._return_to(plan)
                break
        self._tried_at = trio.current_time()

    async def _return_to(self, plan: Plan) -> None:
        async with self._lock:
            if plan not in self._plans[: self._place]:
                return  # reloaded meanwhile
            try:
                await self._follow(plan)
            except PlatformError as exc:
                say(logging.WARNING, f"Server {plan.server.name} cannot be used: {exc}")
                return
            self._place = self._plans.index(plan)
            self._begin()
            name = plan.server.name
            say(logging.INFO, f"Server {name} answers again: back to it.", server=name)


def _key(plan: Plan) -> bytes:
    return plan.server.public_key if isinstance(plan.role, ClientPlan) else b""


def _remote(role: ClientPlan) -> str:
    """Return where the server is; as seen from several WANs, all of these."""
    remotes = [role.discovery] if role.discovery else [remote for _, remote in role.wans]
    return ", ".join(dict.fromkeys(map(str, remotes)))
