"""What tests of plugins share: a context that keeps what is logged, and an alert."""

import logging
from dataclasses import dataclass, field

from multiwanbond.plugins.api import Alert, Context, Severity


@dataclass
class Log:
    """Lines with their levels."""

    lines: list[tuple[int, str]] = field(default_factory=list)

    def __call__(self, level: int, text: str) -> None:
        self.lines.append((level, text))

    @property
    def problems(self) -> list[str]:
        return [text for level, text in self.lines if level >= logging.WARNING]


def context(log: Log | None = None) -> Context:
    return Context(label="it", tunnel="mwb0", log=log or Log())


def alert(text: str = "WAN LTE is Down: probes stay unanswered.") -> Alert:
    return Alert(
        kind="path_state",
        severity=Severity.WARNING,
        text=text,
        tunnel="mwb0",
        time=1_800_000_000.0,
        fields={"wan": "LTE", "path": 2, "state_to": "Down"},
    )
