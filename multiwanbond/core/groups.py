"""Multicast groups: which may cross the bond, and which the peer wants to have.

A wish is soft state: it is said at once, repeated, and forgotten by the peer if it is heard no
more. So a lost frame costs a quarter of a second, and a group nobody wants any more costs nothing.
"""

from collections.abc import Iterable, Set
from typing import Final

from multiwanbond.core.frames import MOST_GROUPS, Groups

# --- from a specification --------------------------------------------------------------------

_LOCAL_NETWORK: Final = b"\xe0\x00\x00"
"""224.0.0.0/24, never forwarded (RFC 5771, section 4)."""
_LEAST_SCOPE: Final = 3
_GLOBAL_SCOPE: Final = 14
"""IPv6 scopes 0 (reserved), 1 (interface), 2 (link) and 15 (reserved) are never forwarded (RFC
4291, section 2.7)."""
_ALL_ROUTERS: Final = bytes.fromhex("ff0500000000000000000000000000") + b"\2"
"""ff05::2, joined by every machine that forwards IPv6 (RFC 4291, section 2.7.1): its routers are of
no concern to the other end's."""

# --- chosen by us ----------------------------------------------------------------------------

LIFETIME: Final = 30.0
"""Seconds after which a wish is forgotten that is not repeated: three repetitions may be lost."""
FIRST_REPETITION: Final = 0.25
LAST_REPETITION: Final = 8.0
"""Seconds between two repetitions, doubled from the first to the last: what is new may have been
lost, what is old is only kept alive."""
MOST_WISHES: Final = 1024
"""Groups one end may want at a time; a switch's table holds as many. More are not carried."""


def is_carried(group: bytes) -> bool:
    """Say whether packets to this address (4 or 16 bytes) are multicast that may be forwarded."""
    if len(group) == 4:
        return 224 <= group[0] <= 239 and group[:3] != _LOCAL_NETWORK
    is_in_scope = group[0] == 0xFF and _LEAST_SCOPE <= group[1] & 15 <= _GLOBAL_SCOPE
    return is_in_scope and group != _ALL_ROUTERS


class Wishes:
    """What both ends of one bond want: theirs is remembered, ours is said until they know it."""

    __slots__ = ("_due_at", "_interval", "_ours", "_theirs", "_withdrawn", "ignored", "version")

    def __init__(self) -> None:
        self.ignored = 0
        """Wishes of the peer for what is not carried, or beyond `MOST_WISHES`."""
        self.version = 0
        """Another number whenever the peer wants other groups."""
        self._theirs: dict[bytes, float] = {}  # group -> until when
        self._ours: frozenset[bytes] = frozenset()
        self._withdrawn: frozenset[bytes] = frozenset()
        self._due_at: float | None = None
        self._interval = FIRST_REPETITION

    @property
    def theirs(self) -> Set[bytes]:
        """The groups the peer wants."""
        return self._theirs.keys()

    def announce(self, groups: frozenset[bytes], now: float) -> None:
        """Want exactly these groups from now on."""
        if groups != self._ours:
            self._withdrawn = (self._withdrawn | self._ours) - groups
            self._ours = groups
            self._interval = FIRST_REPETITION
            self._due_at = now

    def take(self, now: float) -> list[Groups]:
        """Return what is to be said now, if it is due: one frame a datagram."""
        if self._due_at is None or now < self._due_at:
            return []
        said = [*_frames(self._withdrawn, is_wanted=False), *_frames(self._ours, is_wanted=True)]
        if self._interval >= LAST_REPETITION:
            self._withdrawn = frozenset()
        self._due_at = now + self._interval if self._ours or self._withdrawn else None
        self._interval = min(2 * self._interval, LAST_REPETITION)
        return said

    def on_frame(self, frame: Groups, now: float) -> None:
        """The peer told what it wants, or wants no more."""
        for group in frame.addresses:
            is_known = self._theirs.pop(group, None) is not None
            is_wanted = frame.is_wanted and is_carried(group) and len(self._theirs) < MOST_WISHES
            if is_wanted:
                self._theirs[group] = now + LIFETIME  # at the end: the order is that of expiry
            elif frame.is_wanted:
                self.ignored += 1
            self.version += is_known is not is_wanted

    def expire(self, now: float) -> None:
        """Forget what the peer has not repeated."""
        while self._theirs:
            group = next(iter(self._theirs))
            if self._theirs[group] > now:
                return
            del self._theirs[group]
            self.version += 1

    def deadline(self) -> float | None:
        """When `take` or `expire` has something to do."""
        times = [] if self._due_at is None else [self._due_at]
        if self._theirs:
            times.append(next(iter(self._theirs.values())))
        return min(times, default=None)


def _frames(groups: Iterable[bytes], *, is_wanted: bool) -> list[Groups]:
    ordered = sorted(groups)
    return [
        Groups(is_wanted, tuple(ordered[start : start + MOST_GROUPS]))
        for start in range(0, len(ordered), MOST_GROUPS)
    ]
