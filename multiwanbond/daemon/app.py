"""The daemon from its first look at the machine to its last: bring up, carry, clean up."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import trio

from multiwanbond.errors import MultiWanBondError

from .bring_up import bring_up, tear_down
from .machine import Machine
from .plan import Plan
from .reload import Reloader
from .report import say
from .tunnel import Tunnel

UNDO_LIMIT: Final = 10.0
"""Seconds the clean-up may take; systemd would kill us after 90, an operator waits for less."""

_STDERR: Final = 2
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


async def run_daemon(
    plan: Plan,
    machine: Machine,
    *,
    reloader: Reloader | None = None,
    task_status: trio.TaskStatus[Tunnel] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run one tunnel until it is stopped; `started` hands it over when it stands.

    Raises:
        PlatformError: the machine cannot carry the tunnel (any more). It is as it was before.
    """
    standing = await trio.to_thread.run_sync(bring_up, plan, machine)
    try:
        tunnel = Tunnel(plan, machine, standing, reloader=reloader)
        with single_error():
            async with trio.open_nursery() as nursery:
                await nursery.start(tunnel.run)
                task_status.started(tunnel)
    finally:
        with trio.move_on_after(UNDO_LIMIT, shield=True) as limit:
            await trio.to_thread.run_sync(tear_down, standing.undo, abandon_on_cancel=True)
        if limit.cancelled_caught:
            say(logging.ERROR, 'The clean-up hangs. "mwb down" tries it again.')


async def run_until_signalled(
    plan: Plan, machine: Machine, *, reloader: Reloader | None = None
) -> None:
    """Run the daemon until SIGTERM, SIGINT or a command asks for an orderly end.

    SIGHUP reloads the file, unless it says that the terminal we belong to was closed.
    """
    has_terminal = os.isatty(_STDERR)
    # Before the bring-up: a Ctrl-C in the middle of it waits, and then finds all of it undoable.
    with trio.open_signal_receiver(*_SIGNALS) as signals, single_error():
        async with trio.open_nursery() as nursery:
            scope = nursery.cancel_scope
            tunnel = await nursery.start(_run_then_cancel, plan, machine, reloader, scope)
            async for number in signals:
                is_hung_up = has_terminal and not os.isatty(_STDERR)
                if number == signal.SIGHUP and reloader is not None and not is_hung_up:
                    nursery.start_soon(tunnel.reload)
                else:
                    tunnel.stop()


async def _run_then_cancel(
    plan: Plan,
    machine: Machine,
    reloader: Reloader | None,
    scope: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[Tunnel],
) -> None:
    await run_daemon(plan, machine, reloader=reloader, task_status=task_status)
    scope.cancel()


@contextmanager
def single_error() -> Iterator[None]:
    """Raise the error a person is meant to read by itself, not wrapped in nurseries' groups."""
    try:
        yield
    except BaseExceptionGroup as failures:
        deliberate, rest = failures.split(MultiWanBondError)
        if deliberate is None or rest is not None:
            raise
        error: BaseException = deliberate
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error  # noqa: B904  # the group is its context, and holds nothing else
