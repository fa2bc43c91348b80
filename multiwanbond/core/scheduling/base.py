"""What a routing mode is: given paths that may all be used, it says which one."""

from collections.abc import Sequence
from math import inf
from typing import Final, Protocol, TypeVar

from multiwanbond.core.flow import Flow

LOSS_WEIGHT: Final = 20.0
"""One per cent of loss counts like a fifth more delay (bonding study, section 4.2)."""
LEAST_DELAY: Final = 0.01
"""Seconds assumed of the quickest path, whose delay the clocks do not tell."""
UNMEASURED: Final = 1.0
"""Seconds of delay assumed of a path without a measurement: the last choice, but a choice."""


class SchedulablePath(Protocol):
    """What a routing mode may know of a path."""

    @property
    def path_id(self) -> int:
        """Distinct among the paths of a bond, and the same as long as the path exists."""

    @property
    def has_credit(self) -> bool:
        """True if its rate and window let something leave now."""

    @property
    def smoothed_rtt(self) -> float | None:
        """Seconds, our own queue included; None before the first measurement."""

    @property
    def base_rtt(self) -> float | None:
        """Seconds, without queues; None before the first measurement."""

    @property
    def delay(self) -> float | None:
        """Seconds to the peer, from a zero that all paths of the bond share; None: unknown yet."""

    @property
    def rate(self) -> float:
        """Bytes a second that it is believed to deliver, or may be used for if that is less."""

    @property
    def weight(self) -> int:
        """The operator's own judgement; 10 unless it was set."""

    @property
    def sent_bytes(self) -> int:
        """Bytes of all datagrams that have left by it."""

    def wait(self, now: float) -> float:
        """Return the seconds until it has credit, as far as that is a matter of time."""

    def loss(self, now: float) -> float:
        """Return the share of recent datagrams that were lost, 0 to 1."""


UNHURRIED: Final = 0.002
"""Seconds until a path has credit that count as none."""

P = TypeVar("P", bound=SchedulablePath)


class Scheduler(Protocol):
    """A routing mode. It keeps what it must between calls; what belongs to a flow, on the flow."""

    def choose(self, flow: Flow, paths: Sequence[P], now: float) -> P | None:
        """Return the path that carries the next packets of `flow`; None if they should wait.

        Args:
            flow: whose packets they are; a mode that keeps flows on their paths notes it there.
            paths: at least one, all of them usable: health is judged before. Their order and
                number may differ from call to call. Only one that has credit may be returned.
            now: the caller's clock.
        """

    def choose_at_once(self, flow: Flow, paths: Sequence[P], now: float) -> P:
        """Return the path of a packet that waits for no credit (see `choose`)."""


def find_path(path_id: int | None, paths: Sequence[P]) -> P | None:
    """Return the path of that id if it is still among `paths`."""
    for path in paths:
        if path.path_id == path_id:
            return path
    return None


def unhurried(paths: Sequence[P], now: float) -> Sequence[P]:
    """Return the paths that let something leave about now; all of them if none does."""
    return [path for path in paths if path.wait(now) <= UNHURRIED] or paths


def soonest(paths: Sequence[P], now: float, *, loss_weight: float = LOSS_WEIGHT) -> P:
    """Return the path that would deliver a packet soonest, its loss held against it."""
    if len(paths) == 1:
        return paths[0]
    least = min((path.delay for path in paths if path.delay is not None), default=0.0)

    def cost(path: P) -> float:
        delay = UNMEASURED if path.delay is None else path.delay - least + LEAST_DELAY
        return (path.wait(now) + delay) * (1 + loss_weight * path.loss(now))

    return min(paths, key=cost)


def quickest_with_credit(paths: Sequence[P]) -> P | None:
    """Return the path of least delay that something may leave by; None if there is none."""
    best, least = None, inf
    for path in paths:
        if path.has_credit:
            delay = UNMEASURED if path.delay is None else path.delay
            if best is None or delay < least:
                best, least = path, delay
    return best
