"""The packet filters of one tunnel, one after the other, and what becomes of those that fail."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final

from multiwanbond.core.burst import Burst
from multiwanbond.core.ip import split_run

from .api import PacketFilter

MOST_TIME: Final = 0.25
"""Seconds that a filter may take for one batch. Nothing else happens meanwhile; paths would be
suspected soon after."""


class HungError(Exception):
    """A filter took too long."""


class Stage:
    """One filter of the chain."""

    __slots__ = ("fail_closed", "filter", "has_failed")

    def __init__(self, packet_filter: PacketFilter, *, fail_closed: bool) -> None:
        self.filter: Final = packet_filter
        self.fail_closed: Final = fail_closed
        self.has_failed = False


class FilterChain:
    """Lets every batch pass all filters: outbound in their order, inbound in the reverse of it."""

    def __init__(self, on_failed: Callable[[PacketFilter, Exception], None]) -> None:
        """Take what is told when a filter fails; it is not called again then."""
        self._on_failed = on_failed
        self._stages: list[Stage] = []

    def use(self, stages: Sequence[Stage]) -> None:
        """Filter by these from now on."""
        self._stages = list(stages)
        if any(not stage.has_failed for stage in stages) and _can_interrupt():
            signal.signal(signal.SIGALRM, _raise_hung)

    def __bool__(self) -> bool:
        return bool(self._stages)

    def outbound(self, bursts: Sequence[Burst]) -> Sequence[Burst]:
        """Return what is to go to the peer."""
        for stage in self._stages:
            bursts = self._pass(stage, stage.filter.outbound, bursts)
        return bursts

    def inbound(self, bursts: Sequence[Burst]) -> Sequence[Burst]:
        """Return what is to be delivered."""
        for stage in reversed(self._stages):
            bursts = self._pass(stage, stage.filter.inbound, bursts)
        return bursts

    def _pass(
        self,
        stage: Stage,
        judge: Callable[[Sequence[Burst]], Sequence[Burst]],
        bursts: Sequence[Burst],
    ) -> Sequence[Burst]:
        if not bursts:
            return bursts
        if stage.has_failed:
            return () if stage.fail_closed else bursts
        if not stage.filter.takes_runs:
            bursts = [packet for burst in bursts for packet in _singles(burst)]
        try:
            with _limited_time():
                return judge(bursts)
        except Exception as exc:
            stage.has_failed = True
            self._on_failed(stage.filter, exc)
            return () if stage.fail_closed else bursts


def _singles(burst: Burst) -> Sequence[Burst]:
    return split_run(burst) if burst.segment_size else (burst,)


# A filter that loops for ever can only be stopped from outside. A timer of the kernel interrupts it
# by a signal, whose handler raises in the middle of it: two system calls a batch.


@contextmanager
def _limited_time() -> Iterator[None]:
    if not _can_interrupt():
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, MOST_TIME)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


def _can_interrupt() -> bool:
    """Say whether we are where Python runs handlers of signals."""
    return threading.current_thread() is threading.main_thread()


def _raise_hung(_number: int, _frame: FrameType | None) -> None:
    raise HungError(f"took longer than {MOST_TIME:g} s for a batch")
