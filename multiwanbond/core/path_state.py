"""The health of a path as a table: which trigger leads from which state to which.

Rule 1: every transition is in `TRANSITIONS`; code elsewhere names triggers, never states.
Rule 2: this file does not know how a trigger is detected (see `path`).

    Starting --answered--> Up <--limits kept-- Degraded
       |                   | \\--limits exceeded--^  |
       |                   |                        |
       +------silent, link lost------> Down <-------+
                                         | answered
                     Up <--proven-- Recovering --silent, link lost--> Down
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final


class PathState(Enum):
    """The five health states of the reference."""

    DOWN = "Down"
    """Nothing gets through, or the WAN has no link."""
    STARTING = "Starting"
    """Being tried for the first time."""
    UP = "Up"
    """Answers, within its limits."""
    DEGRADED = "Degraded"
    """Answers, but over a limit of latency, jitter or loss."""
    RECOVERING = "Recovering"
    """Answers again after being Down; on probation."""


class Trigger(Enum):
    """What can happen to a path; the text completes the sentence "the path changed because ..."."""

    LINK_LOST = "the WAN lost its link"
    ANSWERED = "a probe was answered"
    PROVEN = "enough probes in a row were answered"
    SILENT = "probes stay unanswered"
    LIMITS_EXCEEDED = "latency, jitter or loss exceed their limits"
    LIMITS_KEPT = "latency, jitter and loss are within their limits again"


_S, _T = PathState, Trigger

TRANSITIONS: Final[Mapping[tuple[PathState, Trigger], PathState]] = {
    (_S.STARTING, _T.ANSWERED): _S.UP,
    (_S.STARTING, _T.SILENT): _S.DOWN,
    (_S.STARTING, _T.LINK_LOST): _S.DOWN,
    (_S.UP, _T.LIMITS_EXCEEDED): _S.DEGRADED,
    (_S.UP, _T.SILENT): _S.DOWN,
    (_S.UP, _T.LINK_LOST): _S.DOWN,
    (_S.DEGRADED, _T.LIMITS_KEPT): _S.UP,
    (_S.DEGRADED, _T.SILENT): _S.DOWN,
    (_S.DEGRADED, _T.LINK_LOST): _S.DOWN,
    (_S.DOWN, _T.ANSWERED): _S.RECOVERING,
    (_S.RECOVERING, _T.PROVEN): _S.UP,
    (_S.RECOVERING, _T.SILENT): _S.DOWN,
    (_S.RECOVERING, _T.LINK_LOST): _S.DOWN,
}
"""A pair that is not here leaves the state as it is."""


def next_state(state: PathState, trigger: Trigger) -> PathState:
    """Return the state a path is in after `trigger`."""
    return TRANSITIONS.get((state, trigger), state)


class Change:
    """One transition of a path's state."""

    __slots__ = ("state_from", "state_to", "trigger")

    def __init__(self, state_from: PathState, state_to: PathState, trigger: Trigger) -> None:
        self.state_from = state_from
        self.state_to = state_to
        self.trigger = trigger
