"""What happens, in words: the only place that logs, so that the core stays silent and the log even.

A line is a sentence for people, then fields by their common names for machines:

    WAN LTE is Down: probes stay unanswered | peer=vps path=2 wan=LTE state_from=Up state_to=Down
"""

import logging
import os
import sys
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, assert_never

from multiwanbond.core.events import (
    BondClosed,
    BondOpened,
    CloseReason,
    Event,
    GroupsChanged,
    PathAddressChanged,
    PathRemoved,
    PathStateChanged,
)
from multiwanbond.core.path_state import PathState

_log: Final = logging.getLogger("multiwanbond")

_WHY: Final = {
    CloseReason.SHUT_DOWN: "it was shut down at the other end",
    CloseReason.REPLACED: "a new one took its place",
    CloseReason.SILENT: "nothing was heard of the peer for too long",
    CloseReason.REMOVED: "it was taken out of the configuration, here or at the other end",
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
    is_journal = "JOURNAL_STREAM" in os.environ
    handler.setFormatter(_PrioritisedLines() if is_journal else _TimedLines())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level)


def say(level: int, message: str, **fields: object) -> None:
    """Log one line; fields that are None are left out."""
    if _log.isEnabledFor(level):
        known = " ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
        _log.log(level, "%s", f"{message} | {known}" if known else message)


class Report:
    """Turns the endpoint's events into log lines."""

    def __init__(self, label: Callable[[int], WanLabel]) -> None:
        """Take what translates a path's number into names."""
        self._label = label

    def on_event(self, event: Event) -> None:
        """Log `event`."""
        match event:
            case BondOpened():
                self._on_opened(event)
            case BondClosed():
                say(
                    logging.WARNING,
                    f"Bond with {event.peer} ended: {_WHY[event.reason]}.",
                    peer=event.peer,
                    reason=event.reason.name.lower(),
                )
            case PathStateChanged():
                self._on_state_changed(event)
            case PathAddressChanged():
                say(
                    logging.INFO,
                    f"{self._subject(event.path_id)} of {event.peer} now comes from "
                    f"{event.address_to} (was {event.address_from}).",
                    peer=event.peer,
                    path=event.path_id,
                    wan=self._label(event.path_id).name,
                )
            case PathRemoved():
                say(
                    logging.INFO,
                    f"{self._subject(event.path_id)} of {event.peer} has left the bond.",
                    peer=event.peer,
                    path=event.path_id,
                    wan=self._label(event.path_id).name,
                )
            case GroupsChanged():
                say(logging.DEBUG, f"The peers want {len(event.groups)} multicast groups.")
            case _:
                assert_never(event)

    @staticmethod
    def _on_opened(event: BondOpened) -> None:
        if event.is_resumed:
            say(logging.DEBUG, f"New keys agreed with {event.peer}.", peer=event.peer)
            return
        say(
            logging.INFO,
            f"Bond with {event.peer} is open.",
            peer=event.peer,
            cipher=event.cipher,
            mtu=event.inner_mtu,
        )

    def _on_state_changed(self, event: PathStateChanged) -> None:
        is_worse = event.state_to in (PathState.DOWN, PathState.DEGRADED)
        say(
            logging.WARNING if is_worse else logging.INFO,
            f"{self._subject(event.path_id)} is {event.state_to.value}: {event.trigger.value}.",
            peer=event.peer,
            path=event.path_id,
            wan=self._label(event.path_id).name,
            state_from=event.state_from.value,
            state_to=event.state_to.value,
            reason=event.trigger.name.lower(),
        )

    def _subject(self, path_id: int) -> str:
        label = self._label(path_id)
        on = f" ({label.interface})" if label.interface and label.interface != label.name else ""
        return f"{label.title}{on}"


class _TimedLines(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03d %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")


class _PrioritisedLines(logging.Formatter):
    """Lines as sd-daemon(3) reads them: <4> is a warning; the journal adds the time."""

    _PRIORITIES: Final = {
        logging.DEBUG: 7,
        logging.INFO: 6,
        logging.WARNING: 4,
        logging.ERROR: 3,
        logging.CRITICAL: 2,
    }

    def format(self, record: logging.LogRecord) -> str:
        priority = self._PRIORITIES.get(record.levelno, 6)
        return f"<{priority}>{super().format(record)}"
