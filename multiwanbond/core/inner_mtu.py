"""The largest packet a bond takes: what all its paths carry, so that none of them is left out.

It follows the narrowest path, down at once and up with patience. A path that carries too little
even for IPv6's least gets no packets while there is another, which is not narrowed for it.
"""

from collections.abc import Collection, Sequence
from typing import Final

from multiwanbond.core.path import Path
from multiwanbond.core.timers import earliest
from multiwanbond.core.wire import OVERHEAD

# --- from a specification --------------------------------------------------------------------

LEAST_INNER: Final = 1280
"""Bytes; an interface with less carries no IPv6 (RFC 8200, section 5)."""

# --- chosen by us ----------------------------------------------------------------------------

SHRINK_TIME: Final = 1.0
"""Seconds after which no larger packet comes any more: the TUN device follows within milliseconds,
and what waits here, or is sent again, is half a second old at most."""
RISE_AFTER: Final = 30.0
"""Seconds for which the narrowest path must be gone, or have become wider: each change costs the
flows inside a packet or two, and a line that is lost is back soon, mostly."""


class InnerMtu:
    """Keeps the inner MTU in force, and which paths carry it.

    Args:
        most: bytes both ends agreed on.
        reserve: bytes by which a datagram may be longer than that of the largest packet (parity).
    """

    __slots__ = ("_largest", "_lowered_at", "_reserve", "_wider_since", "in_force", "most")

    def __init__(self, most: int, reserve: int) -> None:
        self.most = most
        self.in_force = most
        self._largest = most
        """The largest packet that may still come."""
        self._reserve = reserve
        self._lowered_at: float | None = None
        self._wider_since: float | None = None

    @property
    def full(self) -> int:
        """Bytes of the largest datagram that the agreed MTU takes."""
        return self.most + OVERHEAD + self._reserve

    def follow(self, paths: Collection[Path], now: float) -> bool:
        """Go by what the paths carry now, and mark those that do not carry what comes.

        Returns:
            True if another MTU is in force.
        """
        before = self.in_force
        wanted = self._wanted(paths)
        if wanted < before:
            self.in_force = wanted
            self._lowered_at = now
        self._rise(wanted, now)
        if self._lowered_at is not None and now >= self._lowered_at + SHRINK_TIME:
            self._lowered_at = None
        if self._lowered_at is None:
            self._largest = self.in_force
        for path in paths:
            path.is_fit = self._carries(path) >= self._largest
        return self.in_force != before

    def _rise(self, wanted: int, now: float) -> None:
        if wanted <= self.in_force:
            self._wider_since = None
        elif self._wider_since is None:
            self._wider_since = now
        elif now >= self._wider_since + RISE_AFTER:
            self.in_force = wanted
            self._wider_since = None

    def most_of(self, paths: Sequence[Path]) -> int | None:
        """Return the largest packet that one of these carries; None if they carry all that comes.

        While that is still being found out, all that comes is believed to pass.
        """
        if not paths or any(path.is_fit or not path.mtu.room for path in paths):
            return None
        return max(self._carries(path) for path in paths)

    def _carries(self, path: Path) -> int:
        """Return the largest packet that fits a path."""
        return path.mtu.room - OVERHEAD - self._reserve

    def _wanted(self, paths: Collection[Path]) -> int:
        """Return what all paths carry that carry enough."""
        least = min(LEAST_INNER, self.most)
        linked = [self._carries(path) for path in paths if path.has_link and not path.is_leaving]
        enough = [carried for carried in linked if carried >= least]
        if linked and not enough and all(path.mtu.room for path in paths if path.has_link):
            return least  # there is nothing better
        return min([self.most, *enough])

    def deadline(self) -> float | None:
        """When `follow` has something to do even if nothing happens."""
        lowered, wider = self._lowered_at, self._wider_since
        if lowered is wider is None:
            return None
        return earliest(
            (
                None if lowered is None else lowered + SHRINK_TIME,
                None if wider is None else wider + RISE_AFTER,
            )
        )
