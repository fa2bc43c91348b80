"""Where a configuration came from, so that a later complaint can still name the line."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Mark(NamedTuple):
    """A place in a file, counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Origin:
    """A file and the place of each key in it."""

    path: Path | None = None
    """None for a configuration made by a program."""
    marks: Mapping[str, Mark] = field(default_factory=dict)
    """By dotted key, such as "wans[1].interface"."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """By dotted key, what stands in a file of its own."""

    def mark_of(self, key: str) -> Mark | None:
        """Return the place of `key`, or of the nearest section around it."""
        while key and key not in self.marks:
            key = key[: max(key.rfind("."), key.rfind("["), 0)]
        return self.marks.get(key)

    def where(self, key: str) -> str:
        """Return `file:line:column` of `key`, of the nearest section around it, or the file."""
        for part, file in self.files.items():
            if key == part or key.startswith((f"{part}.", f"{part}[")):
                return str(file)
        mark = self.mark_of(key)
        return self.at(mark) if mark else self._name

    def at(self, mark: Mark) -> str:
        """Return `file:line:column`."""
        return f"{self._name}:{mark.line}:{mark.column}"

    @property
    def _name(self) -> str:
        return str(self.path) if self.path is not None else "configuration"
