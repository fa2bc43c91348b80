"""How large a datagram one path carries, found with padded probes (RFC 8899, DPLPMTUD).

    assumed ---- answered ----> found ---- doubted, not answered any more ----> searching
        `------ not answered ----------------------------------------------> searching -> found

Full size is sent from the first moment, so an ordinary line loses nothing; a probe of that size
leaves beside the first small one. When small ones are answered and it is not, usual sizes are tried
all at once, then those between the largest that passed and the smallest that did not.

Sizes are those of whole IP packets, as lines and interfaces have them.
"""

from enum import Enum
from typing import Final, NamedTuple

from multiwanbond.core.datagram import Address
from multiwanbond.core.frames import PathAck
from multiwanbond.core.ledger import gaps_of
from multiwanbond.core.wire import OVERHEAD, SEQUENCE_BITS, expand

# --- from a specification --------------------------------------------------------------------

UDP_IPV4: Final = 28
UDP_IPV6: Final = 48
"""Bytes of UDP and IP header around each datagram (RFC 768, 791, 8200)."""
BASE: Final = 1200
"""The least size tried (RFC 8899, section 5.1.2: BASE_PLPMTU)."""
MAX_PROBES: Final = 3
"""Probes of one size that may be lost before it counts as too large (section 5.1.2)."""
RAISE_AFTER: Final = 600.0
"""Seconds until larger sizes are tried again (section 5.1.1: PMTU_RAISE_TIMER)."""

# --- chosen by us ----------------------------------------------------------------------------

USUAL: Final = (1492, 1480, 1472, 1460, 1428, 1400, 1380, 1358, 1280, BASE)
"""PPPoE; one tunnel, one with GRE, ...; mobile networks; IPsec; the least of IPv6; ours."""
ETHERNET: Final = 1500 - UDP_IPV4
"""Bytes of the largest datagram that an ordinary line carries."""
LEAST: Final = 576
"""Believed of a path that not even `BASE` passes; what every host takes (RFC 1122, 3.3.2)."""
RETRY_AFTER: Final = 30.0
"""Seconds until a path is tried again that seemed to carry nothing."""
LOSSY: Final = 0.01
MAX_PROBES_LOSSY: Final = 6
"""The same as `MAX_PROBES` on a line that loses more than `LOSSY`: with 10 % loss three in a row
are lost once in a thousand times, six once in a million."""
DOUBT_INTERVAL: Final = 1.0
"""Seconds between two looks at whether full size still passes, while large datagrams are lost."""
EVIDENCE_TIME: Final = 1.0
"""Seconds for which a path may take to show that it carries small datagrams; a round of probes
without that says nothing and is repeated."""
_PARTS: Final = 8
"""Sizes tried at once between two."""
FIRST_ID: Final = 0x8000
"""Ids of padded probes have this bit; those of small ones do not."""


class MtuState(Enum):
    """What is known of the size."""

    ASSUMED = "assumed"
    """Nothing yet; full size is sent."""
    SEARCHING = "searching"
    """Full size does not pass, and what does is not known yet."""
    FOUND = "found"


class SizeProbe(NamedTuple):
    """One padded probe to be sent."""

    probe_id: int
    size: int
    """Of the datagram, without UDP and IP header."""


class PathMtu:
    """One path's largest datagram in the direction from here.

    Args:
        full: bytes of the largest datagram the bond may want to send; larger ones are not tried.
    """

    __slots__ = (
        "_asked",
        "_best",
        "_checked_at",
        "_failed",
        "_first_sequence",
        "_full",
        "_has_begun",
        "_headers",
        "_is_lossy",
        "_is_refining",
        "_next_at",
        "_next_id",
        "_sent_at",
        "_top",
        "_tries",
        "_wanted",
        "_wants_evidence",
        "black_holes",
        "last_sequence",
        "raise_at",
        "size",
        "state",
    )

    def __init__(self, full: int) -> None:
        self._full = full
        self._headers = UDP_IPV4
        self.size = full + UDP_IPV4
        """The largest IP packet that is sent, as far as is known."""
        self.state = MtuState.ASSUMED
        self.black_holes = 0
        """How often a size that had passed did not any more."""
        self.last_sequence = 0
        """Path sequence of the last padded probe; 0 before the first."""
        self._first_sequence = 0
        self._next_id = 0
        self._has_begun = False
        self._checked_at = 0.0
        self.raise_at: float | None = None
        """When larger sizes are tried again; None for never."""
        # What is being found out, if anything is.
        self._top: int | None = None
        self._wanted: tuple[int, ...] = ()
        self._asked: dict[int, int] = {}  # probe id -> size
        self._best = 0  # the largest answered
        self._failed = 0  # the smallest known not to pass
        self._is_refining = False
        self._is_lossy = False
        self._tries = 0
        self._next_at: float | None = None
        self._sent_at: float | None = None
        self._wants_evidence = False

    @property
    def room(self) -> int:
        """Bytes of a datagram that passes, as far as is known; 0 while that is sought."""
        return 0 if self.state is MtuState.SEARCHING else self.size - self._headers

    @property
    def is_busy(self) -> bool:
        """True while a size is being tried."""
        return self._top is not None

    @property
    def train_size(self) -> int:
        """Bytes of a datagram that may leave in a row of many; 0 while the first answer is due.

        A narrow line would swallow a train of full size, and none of its rate be known.
        """
        if self.state is MtuState.FOUND:
            return self.room
        has_waited = self._tries or self._is_refining or self.state is MtuState.SEARCHING
        return max(self._best, BASE) - self._headers if has_waited else 0

    @property
    def safe(self) -> int:
        """Bytes of a packet whose loss says nothing about the size of datagrams."""
        return BASE - self._headers - OVERHEAD

    @property
    def _target(self) -> int:
        return self._full + self._headers

    # --- what happened

    def on_link_up(self, remote: Address, now: float) -> None:
        """The path leads to `remote`, perhaps by another line: what was known is looked at anew."""
        headers = UDP_IPV6 if ":" in remote.host else UDP_IPV4
        is_known = self.state is MtuState.FOUND and self.size >= BASE and headers == self._headers
        self._headers = headers
        if not is_known:
            self.state = MtuState.ASSUMED
            self.size = self._target
        self._has_begun = False
        self.raise_at = now + RETRY_AFTER if self.size < self._target else None
        self._look(self.size, 0, now)

    def on_reply(self, probe_id: int, now: float) -> None:
        """The peer answered a padded probe, perhaps late."""
        size = self._asked.get(probe_id)
        if self._top is None or size is None or size <= self._best:
            return
        self._best = size
        if size >= max(self._wanted, default=0):
            self._end_stage(now)

    def on_refused(self, octets: int, now: float) -> None:
        """Our own kernel did not take a datagram of so many bytes: its interface is too narrow."""
        size = octets + self._headers
        if self._top is None and size <= self.size:
            self._look(self.size, 0, now)
        if self._top is None or size <= self._best:
            return
        self._failed = min(self._failed, size)
        if not self._is_refining and size <= self._top and self.state is not MtuState.SEARCHING:
            self._lose_top(self._top)
            self._wanted = self._usual()
            self._tries = 0
            self._sent_at, self._next_at = None, now

    def doubt(self, now: float) -> None:
        """Large datagrams seem to be lost: find out whether full size still passes."""
        if self._top is None and now - self._checked_at >= DOUBT_INTERVAL:
            self._look(self.size, 0, now)

    def on_time(self, now: float, acked_sequence: int, patience: float) -> bool:
        """Judge what is overdue; return True if a small datagram should be sent to compare.

        Args:
            now: the caller's clock.
            acked_sequence: the highest path sequence the peer has received.
            patience: seconds that an answer may take.
        """
        if self.raise_at is not None and now >= self.raise_at and self._top is None:
            self.raise_at = None
            self._look(self._target, self.size, now)
        if self._sent_at is None or now < self._sent_at + patience:
            return False
        if acked_sequence > self.last_sequence:
            self._end_try(now)
        elif not self._wants_evidence:
            self._wants_evidence = True
            return True
        elif now >= self._sent_at + patience + EVIDENCE_TIME:
            self._sent_at, self._next_at = None, now
        return False

    # --- what to do

    def is_due(self, now: float, *, is_usable: bool) -> bool:
        """Say whether probes are to leave now.

        A path that does not work is not asked how much it carries, but for once, when it begins.
        """
        may = is_usable or not self._has_begun
        return may and self._next_at is not None and now >= self._next_at

    def start_round(self, next_sequence: int, loss: float, now: float) -> list[SizeProbe]:
        """Note that probes leave now, under path sequences from `next_sequence`; return them.

        Args:
            next_sequence: the first one's.
            loss: share that the path loses anyway.
            now: the caller's clock.
        """
        if not self._tries and not self._is_refining:
            self._is_lossy = loss > LOSSY
        self._wanted = tuple(each for each in self._wanted if self._best < each < self._failed)
        probes = []
        for size in self._wanted:
            self._next_id = (self._next_id + 1) & (FIRST_ID - 1)
            self._asked[FIRST_ID | self._next_id] = size
            probes.append(SizeProbe(FIRST_ID | self._next_id, size - self._headers))
        self._has_begun = True
        self._next_at = None
        self._sent_at = now
        self._wants_evidence = False
        self._first_sequence = next_sequence
        self.last_sequence = next_sequence + len(probes) - 1
        return probes

    def missing(self, ack: PathAck, acked_sequence: int) -> int:
        """Return how many padded probes an ack reports missing, and the last one did not.

        What they find is no loss of the line's.
        """
        gaps = gaps_of(ack, expand(ack.highest, SEQUENCE_BITS, acked_sequence))
        first, last = max(self._first_sequence, acked_sequence + 1), self.last_sequence
        return sum(max(min(last, high) - max(first, low) + 1, 0) for low, high in gaps)

    def deadline(self, acked_sequence: int, patience: float, *, is_usable: bool) -> float | None:
        """When `on_time` or `start_round` is due; None for never."""
        if self._sent_at is not None:
            waits = self._wants_evidence and acked_sequence <= self.last_sequence
            return self._sent_at + patience + (EVIDENCE_TIME if waits else 0.0)
        if self._top is None:
            return self.raise_at
        return self._next_at if is_usable or not self._has_begun else None

    # --- finding out

    def _look(self, top: int, best: int, now: float) -> None:
        """Begin to find out whether `top` passes, and if not, what does above `best`."""
        self._top, self._best, self._failed = top, best, top + 1
        # To raise it, the next usual size as well: a line that is idle is asked these two, once.
        self._wanted = (top, *self._usual()[-1:]) if best else (top,)
        self._asked.clear()
        self._is_refining = False
        self._tries = 0
        self._sent_at, self._next_at = None, now

    @property
    def _most_tries(self) -> int:
        if self._is_raising:
            return 1
        return MAX_PROBES_LOSSY if self._is_lossy else MAX_PROBES

    @property
    def _is_raising(self) -> bool:
        """True while it is not known whether anything larger passes than is sent."""
        return self._top is not None and self._top > self.size and not self._is_refining

    def _usual(self) -> tuple[int, ...]:
        return tuple(size for size in USUAL if self._best < size < self._failed)

    def _end_try(self, now: float) -> None:
        """Count a round that small datagrams got through and not all of its probes."""
        self._tries += 1
        self._sent_at = None
        if self._tries >= self._most_tries:
            self._end_stage(now)
            return
        self._next_at = now
        if not self._is_refining:
            assert self._top is not None
            # Beside the next try of full size: should that be lost as well, one knows already.
            self._wanted = (*(s for s in self._wanted if s == self._top), *self._usual())
            self._wanted = tuple(sorted(set(self._wanted), reverse=True))

    def _end_stage(self, now: float) -> None:
        """Draw the sum of what was tried."""
        assert self._top is not None
        self._failed = min((s for s in self._wanted if s > self._best), default=self._failed)
        top, best, failed = self._top, self._best, self._failed
        if best >= top or not best or best == self.size or failed - best <= 1:
            self._settle(best or LEAST, now)
            return
        if not self._is_refining:
            self._lose_top(top)
        step = max((failed - best) // _PARTS, 1)
        self._wanted = tuple(range(best + step, failed, step))[::-1]
        self._is_refining = True
        self._tries = 0
        self._sent_at, self._next_at = None, now

    def _lose_top(self, top: int) -> None:
        """Send full size no more, unless it was only an attempt to raise it."""
        if top > self.size:
            return
        self.black_holes += self.state is MtuState.FOUND
        self.state = MtuState.SEARCHING

    def _settle(self, size: int, now: float) -> None:
        if size < self.size and self.state is MtuState.FOUND:
            self.black_holes += 1
        self._top = self._next_at = self._sent_at = None
        self.size = size
        self.state = MtuState.FOUND
        self._checked_at = now
        if size >= self._target:
            self.raise_at = None
        elif self.raise_at is None or self.raise_at <= now:
            self.raise_at = now + (RETRY_AFTER if size < BASE else RAISE_AFTER)
