"""What a routing mode is: given paths that may all be used, it says which one."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from multiwanbond.core.flow import Flow


class SchedulablePath(Protocol):
    """What a routing mode may know of a path."""

    @property
    def path_id(self) -> int:
        """Distinct among the paths of a bond, and the same as long as the path exists."""

    @property
    def smoothed_rtt(self) -> float | None:
        """Seconds, our own queue included; None before the first measurement."""

    @property
    def base_rtt(self) -> float | None:
        """Seconds, the line's own without our queue; None before the first measurement."""

    @property
    def in_flight_bytes(self) -> int:
        """Bytes sent and not known to have arrived or to be lost."""

    @property
    def delivery_rate(self) -> float | None:
        """Bytes a second that lately arrived; None before there was any traffic."""

    def loss(self, now: float) -> float:
        """Return the share of recent datagrams that were lost, 0 to 1."""


P = TypeVar("P", bound=SchedulablePath)


class Scheduler(Protocol):
    """A routing mode. It keeps what it must between calls; what belongs to a flow, on the flow."""

    def choose(self, flow: Flow, size: int, paths: Sequence[P], now: float) -> P:
        """Return the path that carries the next packet or run of `flow`.

        Args:
            flow: whose packet it is; a mode that keeps flows on their paths notes it there.
            size: bytes of the packet, or of the whole run.
            paths: at least one, all of them usable: health is judged before. Their order and
                number may differ from call to call.
            now: the caller's clock.
        """


def find_path(path_id: int | None, paths: Sequence[P]) -> P | None:
    """Return the path of that id if it is still among `paths`."""
    for path in paths:
        if path.path_id == path_id:
            return path
    return None
