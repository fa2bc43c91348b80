"""What happens, in words: the only place that logs, so that the core stays silent and the log even.

A line is a sentence for people, then fields by their common names for machines:

    WAN LTE is Down: probes stay unanswered | peer=vps path=2 wan=LTE state_from=Up state_to=Down
"""

import logging
import sys
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, NamedTuple, assert_never

from multiwanbond.core.events import (
    BondClosed,
    BondOpened,
    CloseReason,
    Event,
    GroupsChanged,
    MtuChanged,
    PathAddressChanged,
    PathRemoved,
    PathStateChanged,
)
from multiwanbond.core.path_state import PathState
from multiwanbond.linux.journal import is_read_by_journal, prioritised
from multiwanbond.plugins.api import Alert, Severity

_log: Final = logging.getLogger("multiwanbond")

_WHY: Final = {
    CloseReason.SHUT_DOWN: "it was shut down at the other end",
    CloseReason.REPLACED: "a new one took its place",
    CloseReason.SILENT: "nothing was heard of the peer for too long",
    CloseReason.REMOVED: "it is wanted no more, here or at the other end",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WanLabel:
    """How a WAN, or at a server a path, is called in front of people."""

    name: str
    title: str
    """The name at the beginning of a sentence."""
    interface: str | None = None


def fingerprint(public_key: bytes) -> str:
    """Return the first eight characters of a public key as the configuration writes it."""
    return b64encode(public_key).decode()[:8]


def start_logging(level: int = logging.INFO) -> None:
    """Log to stderr: with the time, or for the journal (which has its own) with a priority."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PrioritisedLines() if is_read_by_journal() else _TimedLines())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level)
    sys.excepthook = _log_crash


def say(level: int, message: str, **fields: object) -> None:
    """Log one line; fields that are None are left out."""
    if _log.isEnabledFor(level):
        known = " ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
        _log.log(level, "%s", f"{message} | {known}" if known else message)


class Line(NamedTuple):
    """What is said of one event."""

    kind: str
    """What happened, as `plugins.api.Alert` calls it."""
    level: int
    text: str
    """A sentence for people."""
    fields: dict[str, object]
    """The same for machines."""


def alert_of(line: Line, *, tunnel: str) -> Alert:
    """Return what alert managers are told of an event."""
    severity = Severity.WARNING if line.level >= logging.WARNING else Severity.INFO
    return Alert(
        kind=line.kind,
        severity=severity,
        text=line.text,
        tunnel=tunnel,
        time=time.time(),
        fields=line.fields,
    )


class Report:
    """Turns the endpoint's events into log lines."""

    def __init__(self, label: Callable[[int], WanLabel]) -> None:
        """Take what translates a path's number into names."""
        self._label = label

    def on_event(self, event: Event) -> Line:
        """Log `event`, and return what was said of it."""
        line = self.describe(event)
        say(line.level, line.text, **line.fields)
        return line

    def describe(self, event: Event) -> Line:
        """Return what is to be said of an event."""
        match event:
            case BondOpened():
                return _of_opened(event)
            case BondClosed():
                return _of_closed(event)
            case PathStateChanged():
                return self._of_state(event)
            case PathAddressChanged():
                moved = f"now comes from {event.address_to} (was {event.address_from})"
                text = f"{self._subject(event.path_id)} of {event.peer} {moved}."
                return Line("path_address", logging.INFO, text, self._fields(event))
            case PathRemoved():
                text = f"{self._subject(event.path_id)} of {event.peer} has left the bond."
                return Line("path_removed", logging.INFO, text, self._fields(event))
            case MtuChanged():
                text = f"Packets to {event.peer} may have {event.inner_mtu} bytes from now on."
                fields: dict[str, object] = {"peer": event.peer, "mtu": event.inner_mtu}
                return Line("mtu_changed", logging.INFO, text, fields)
            case GroupsChanged():
                text = f"The peers want {len(event.groups)} multicast groups."
                return Line("multicast_groups", logging.DEBUG, text, {})
            case _:
                assert_never(event)

    def _of_state(self, event: PathStateChanged) -> Line:
        is_worse = event.state_to in (PathState.DOWN, PathState.DEGRADED)
        fields = {
            "state_from": event.state_from.value,
            "state_to": event.state_to.value,
            "reason": event.trigger.name.lower(),
        }
        return Line(
            "path_state",
            logging.WARNING if is_worse else logging.INFO,
            f"{self._subject(event.path_id)} is {event.state_to.value}: {event.trigger.value}.",
            {**self._fields(event), **fields},
        )

    def _fields(
        self, event: PathStateChanged | PathAddressChanged | PathRemoved
    ) -> dict[str, object]:
        wan = self._label(event.path_id).name
        return {"peer": event.peer, "path": event.path_id, "wan": wan}

    def _subject(self, path_id: int) -> str:
        label = self._label(path_id)
        on = f" ({label.interface})" if label.interface and label.interface != label.name else ""
        return f"{label.title}{on}"


def _of_opened(event: BondOpened) -> Line:
    if event.is_resumed:
        text = f"New keys agreed with {event.peer}."
        return Line("bond_opened", logging.DEBUG, text, {"peer": event.peer})
    fields: dict[str, object] = {
        "peer": event.peer,
        "cipher": event.cipher,
        "mtu": event.inner_mtu,
    }
    return Line("bond_opened", logging.INFO, f"Bond with {event.peer} is open.", fields)


def _of_closed(event: BondClosed) -> Line:
    text = f"Bond with {event.peer} ended: {_WHY[event.reason]}."
    fields: dict[str, object] = {"peer": event.peer, "reason": event.reason.name.lower()}
    return Line("bond_closed", logging.WARNING, text, fields)


class _TimedLines(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03d %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")


class _PrioritisedLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return prioritised(super().format(record), record.levelno)


def _log_crash(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Log what nobody was prepared for, so that it is found among the errors."""
    _log.critical("The daemon ends by a fault of ours.", exc_info=(kind, error, trace))
