"""The small file that holds what metered WANs have carried: read at the start, replaced seldom."""

import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import trio

from .report import say

WRITE_LIMIT: Final = 3.0
"""Seconds that writing may take: so long the end of the daemon may wait for it."""
_VERSION: Final = 1
_LARGEST: Final = 65_536
_ROOT: Final = 0


@dataclass(slots=True, kw_only=True)
class Count:
    """What one WAN has carried in the present period."""

    used: int = 0
    """Bytes."""
    since: date | None = None
    """First day of the period; None while no clock was right."""
    until: date | None = None
    """First day of the next one."""
    rule: str = ""
    """By which periods it was counted: with others, `until` means nothing."""


class CountFile:
    """The file, and whether it works: the tunnel does not need it."""

    def __init__(self, path: Path | None) -> None:
        """Touch nothing yet; without a path there is never anything to keep."""
        self._path = path or Path()
        self.has_failed = False
        """True while what is counted would be forgotten at a restart."""
        # One at a time; and a disk that hangs takes no more than one of the process's threads.
        self._limiter: Final = trio.CapacityLimiter(1)

    def read(self) -> dict[int, Count]:
        """Return the counts by the WANs' ids; none, and say so, if they cannot be read."""
        try:
            return read_counts(self._path)
        except OSError as exc:
            why = str(exc.strerror)
        except ValueError as exc:
            why = str(exc)
        text = f"{self._path} cannot be read: {why}. Metered WANs are counted from zero."
        say(logging.WARNING, text)
        return {}

    async def write(self, counts: Mapping[int, Count]) -> bool:
        """Replace the file; return False, and say so once, if that cannot be done.

        Not cancelled by others: it takes `WRITE_LIMIT` at most.
        """
        copy = {wan_id: replace(count) for wan_id, count in counts.items()}
        why = "the disk does not answer"
        with trio.move_on_after(WRITE_LIMIT, shield=True):
            try:
                await trio.to_thread.run_sync(
                    write_counts, self._path, copy, limiter=self._limiter, abandon_on_cancel=True
                )
            except OSError as exc:
                why = str(exc.strerror)
            else:
                why = ""
        if why and not self.has_failed:
            say(
                logging.WARNING,
                f"{self._path} cannot be written: {why}. What metered WANs have carried is counted "
                "all the same, but a restart forgets it until this works again.",
            )
        elif self.has_failed and not why:
            say(logging.INFO, f"What metered WANs have carried is kept in {self._path} again.")
        self.has_failed = bool(why)
        return not why


def read_counts(file: Path) -> dict[int, Count]:
    """Return the counts by the WANs' ids; none if there is no file.

    Raises:
        OSError: it cannot be read.
        ValueError: what it holds is none of ours.
    """
    try:
        with file.open("rb") as opened:
            document = json.loads(opened.read(_LARGEST))
    except FileNotFoundError:
        return {}
    try:
        return {int(wan_id): _count(entry) for wan_id, entry in document["wans"].items()}
    except (AttributeError, KeyError, TypeError, RecursionError) as exc:
        raise ValueError("what it holds was not written by us") from exc


def _count(entry: dict[str, Any]) -> Count:
    used = int(entry["used"])
    if used < 0:
        raise ValueError("a negative count")
    since, until = (
        None if entry[name] is None else date.fromisoformat(entry[name])
        for name in ("since", "until")
    )
    return Count(used=used, since=since, until=until, rule=str(entry["rule"]))


def write_counts(file: Path, counts: Mapping[int, Count]) -> None:
    """Replace the file: whoever reads it, after a power cut too, finds the old one or the new.

    Raises:
        OSError: it cannot be written; the old one is still there.
    """
    document = {
        "version": _VERSION,
        "wans": {str(wan_id): _entry(count) for wan_id, count in sorted(counts.items())},
    }
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(part, flags, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as opened:
            _give_to_owner_of(file.parent, descriptor)
            json.dump(document, opened)
            opened.flush()
            os.fsync(descriptor)
        part.replace(file)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise
    _settle(file.parent)


def _entry(count: Count) -> dict[str, Any]:
    since, until = (day and day.isoformat() for day in (count.since, count.until))
    return {"used": count.used, "since": since, "until": until, "rule": count.rule}


def _give_to_owner_of(directory: Path, descriptor: int) -> None:
    """Let the service read later what root has written by hand ("mwb up")."""
    if os.geteuid() == _ROOT:
        owner = directory.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _settle(directory: Path) -> None:
    """Let the new name outlive a power cut, too."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
