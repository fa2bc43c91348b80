"""Waiting for something to become true, with a limit."""

from collections.abc import Callable

import trio


async def wait_until(is_true: Callable[[], bool], *, limit: float = 20.0) -> None:
    """Return once `is_true()`; looks every 10 ms of the trio clock, which may be virtual."""
    with trio.fail_after(limit):
        while not is_true():  # noqa: ASYNC110  # what is awaited sets no event
            await trio.sleep(0.01)
