"""What a plugin is: a class with settings, of one or more of three kinds.

A package offers one by an entry point of the group `multiwanbond.plugins`; the configuration starts
it under that name. See docs/plugins.md, and `builtin` for examples.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Final

import trio

from multiwanbond.core.burst import Burst

ENTRY_POINTS: Final = "multiwanbond.plugins"
"""Group of entry points by which plugins are found."""


class Severity(Enum):
    """How bad news is."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something happened that the operator may want to know."""

    kind: str
    """What: path_state, path_address, path_removed, bond_opened, bond_closed, quota_nearly_used_up,
    quota_used_up, quota_renewed or plugin_disabled."""
    severity: Severity
    text: str
    """A sentence."""
    tunnel: str
    time: float
    """Seconds since 1970."""
    fields: Mapping[str, object] = field(default_factory=dict)
    """The same for machines, such as peer, wan, state_from, state_to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a plugin gets to know of where it runs."""

    label: str
    """What it is called in logs and in `mwb status`."""
    tunnel: str
    log: Callable[[int, str], None]
    """Logs a line at a level of `logging`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOptions:
    """The settings of a plugin that has none."""


class Plugin:
    """What all kinds have in common. What a plugin raises ends it, and nothing else."""

    options_type: ClassVar[type] = NoOptions
    """A frozen dataclass of `multiwanbond.options.option()` fields: its settings, each with its
    notation, range, default and documentation."""

    def __init__(self, options: Any, context: Context) -> None:
        """Take the settings; nothing may be opened before `run`."""
        self.options = options
        self.context = context

    async def run(self) -> None:
        """Do what is to be done all the time, until cancelled; then clean up."""
        await trio.sleep_forever()


class PacketFilter(Plugin):
    """Inspects, changes or drops inner packets, a batch at a time.

    It is called in the middle of the packet path and must be quick: what takes longer than a
    quarter of a second counts as hung.
    """

    takes_runs: ClassVar[bool] = False
    """True if it knows what a burst with several segments is (see `core.burst`); else runs are
    split for it, which costs several times the processor time."""

    def outbound(self, bursts: Sequence[Burst]) -> Sequence[Burst]:
        """Return what is to go to the peer of what this end sends."""
        return bursts

    def inbound(self, bursts: Sequence[Burst]) -> Sequence[Burst]:
        """Return what is to be delivered here of what came from the peer."""
        return bursts


class MetricsCollector(Plugin):
    """Gets the status document, as `mwb status --json` prints it, again and again."""

    interval: float = 10.0
    """Seconds between two documents; may be set by `__init__`."""

    async def collect(self, status: Mapping[str, Any]) -> None:
        """Take a document, which is the collector's own."""


class AlertManager(Plugin):
    """Is told of what happens, one alert after the other."""

    async def alert(self, alert: Alert) -> None:
        """Pass an alert on; the next one waits meanwhile, and is dropped if too many wait."""
