"""Runs the plugins of one tunnel. What goes wrong in one ends that one, and the bond goes on."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import trio

from .api import Alert, AlertManager, Context, MetricsCollector, PacketFilter, Plugin, Severity
from .filters import FilterChain, Stage
from .registry import Wanted, kinds_of

PATIENCE: Final = 60.0
"""Seconds that a collector may take for a document, or an alert manager for an alert."""
MOST_WAITING: Final = 256
"""Alerts that wait for one manager; what comes then is dropped, and counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginStatus:
    """How one plugin does."""

    label: str
    kinds: tuple[str, ...]
    failure: str | None
    """Why it was disabled; None while it runs."""
    dropped_alerts: int
    """That found too many others waiting."""


class Running:
    """One plugin, from its start until it is stopped or fails."""

    def __init__(self, wanted: Wanted, plugin: Plugin) -> None:
        self.wanted: Final = wanted
        self.plugin: Final = plugin
        self.scope: Final = trio.CancelScope()
        self.failure: str | None = None
        """Why it was disabled."""
        self.dropped_alerts = 0
        self.alerts, self.waiting_alerts = trio.open_memory_channel[Alert](MOST_WAITING)

    def status(self) -> PluginStatus:
        """Return a snapshot."""
        return PluginStatus(
            label=self.wanted.label,
            kinds=tuple(kinds_of(self.wanted.plugin)),
            failure=self.failure,
            dropped_alerts=self.dropped_alerts,
        )


class PluginHost:
    """Starts, feeds, watches and stops plugins."""

    def __init__(
        self,
        *,
        tunnel: str,
        log: Callable[[int, str], None],
        status: Callable[[], Mapping[str, Any]],
    ) -> None:
        """Prepare; nothing runs before `run`.

        Args:
            tunnel: its name.
            log: logs a line at a level of `logging`.
            status: returns a new status document.
        """
        self._tunnel = tunnel
        self._log = log
        self._status = status
        self._running: list[Running] = []
        self._nursery: trio.Nursery | None = None
        self._stopped = trio.Event()
        self.filters: Final = FilterChain(self._on_filter_failed)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run plugins until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    def use(self, wanted: Sequence[Wanted]) -> None:
        """Let these run from now on: those that run already go on, others stop.

        One that has failed is started again.
        """
        kept = {each.wanted.label: each for each in self._running if each.failure is None}
        running = []
        for each in wanted:
            found = kept.get(each.label)
            if found is not None and found.wanted == each:
                del kept[each.label]
            else:
                found = self._start(each)
            running.append(found)
        for leftover in kept.values():
            leftover.scope.cancel()
            self._log(logging.INFO, f"Plugin {leftover.wanted.label} was stopped.")
        self._running = running
        self.filters.use([_stage(each) for each in running if _is_filter(each)])

    def _start(self, wanted: Wanted) -> Running:
        def log(level: int, text: str) -> None:
            self._log(level, f"Plugin {wanted.label}: {text}")

        context = Context(label=wanted.label, tunnel=self._tunnel, log=log)
        try:
            running = Running(wanted, wanted.plugin(wanted.options, context))
        except Exception as exc:
            running = Running(wanted, Plugin(None, context))
            self._disable(running, exc)
            return running
        assert self._nursery is not None
        self._nursery.start_soon(self._supervise, running)
        self._log(logging.INFO, f"Plugin {wanted.label} was started.")
        return running

    async def _supervise(self, running: Running) -> None:
        plugin = running.plugin
        with running.scope:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(plugin.run)
                    if isinstance(plugin, MetricsCollector):
                        nursery.start_soon(self._feed, plugin)
                    if isinstance(plugin, AlertManager):
                        nursery.start_soon(self._tell, plugin, running)
            except Exception as exc:
                self._disable(running, exc)

    async def _feed(self, collector: MetricsCollector) -> None:
        while True:
            with trio.fail_after(PATIENCE):
                await collector.collect(self._status())
            await trio.sleep(collector.interval)

    async def _tell(self, manager: AlertManager, running: Running) -> None:
        async for alert in running.waiting_alerts:
            with trio.fail_after(PATIENCE):
                await manager.alert(alert)

    def alert(self, alert: Alert) -> None:
        """Tell all alert managers; returns at once."""
        for each in self._running:
            if isinstance(each.plugin, AlertManager) and each.failure is None:
                try:
                    each.alerts.send_nowait(alert)
                except trio.WouldBlock:
                    each.dropped_alerts += 1

    def statuses(self) -> list[PluginStatus]:
        """Return what runs, and what does not run any more, and why."""
        return [each.status() for each in self._running]

    # --- failures

    def _on_filter_failed(self, packet_filter: PacketFilter, exc: Exception) -> None:
        for each in self._running:
            if each.plugin is packet_filter:
                self._disable(each, exc)

    def _disable(self, running: Running, exc: Exception) -> None:
        if running.failure is not None:
            return
        running.failure = _words(exc)
        running.scope.cancel()
        label = running.wanted.label
        text = f"Plugin {label} was disabled: {running.failure}."
        if running.wanted.fail_closed and _is_filter(running):
            text += " No packet passes until a reload starts it again."
        self._log(logging.ERROR, text)
        self.alert(
            Alert(
                kind="plugin_disabled",
                severity=Severity.ERROR,
                text=text,
                tunnel=self._tunnel,
                time=time.time(),
                fields={"plugin": label},
            )
        )


def _is_filter(running: Running) -> bool:
    return issubclass(running.wanted.plugin, PacketFilter)


def _stage(running: Running) -> Stage:
    plugin = running.plugin
    # One whose constructor failed stands in the chain for what it would have stopped.
    packet_filter = (
        plugin if isinstance(plugin, PacketFilter) else PacketFilter(None, plugin.context)
    )
    stage = Stage(packet_filter, fail_closed=running.wanted.fail_closed)
    stage.has_failed = running.failure is not None
    return stage


def _words(exc: BaseException) -> str:
    """Return the innermost of what went wrong, in a line."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    if isinstance(exc, trio.TooSlowError):
        return f"it took longer than {PATIENCE:g} s"
    text = " ".join(str(exc).split())[:200]
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__
