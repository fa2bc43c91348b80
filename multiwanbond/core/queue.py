"""The backlog of a bond: one queue per flow, served in turn, kept short by CoDel.

It is the only queue of ours: a packet waits here, where it can still take any path and has no
number yet, and not in modems (late binding). Flows take turns by bytes (deficit round robin), new
ones first, so that nobody waits behind a download but the download (RFC 8290). CoDel (RFC 8289)
drops, or marks where the sender can be told so, when a flow's packets have waited for too long.
"""

from collections import deque
from collections.abc import Callable
from math import inf, sqrt
from typing import Final, Generic, NamedTuple, TypeVar

from multiwanbond.core.burst import Burst
from multiwanbond.core.flow import Flow
from multiwanbond.core.gather import Gathering, header_length_of
from multiwanbond.core.ip import mark_congestion

TARGET: Final = 0.06
INTERVAL: Final = 0.3
"""Seconds. Long, since the round trip is that of the slowest path plus this queue: 5 and 100 ms
cost one download 7 to 20 % (bonding study, section 5.7). Others do not wait in it."""
FEW: Final = 3000
"""Bytes of backlog below which nothing is dropped: two packets are no queue."""
STALE: Final = 3.0
"""Seconds after which nobody waits for a packet any more: there was no line for so long."""
QUANTUM: Final = 1514
"""Bytes a flow may send in its turn (RFC 8290, section 4.3)."""
YOUNG_SHARE: Final = 4
"""Quanta of a young flow: it catches up with its ten first packets (second study, section 3)."""
LEAST_LIMIT: Final = 256 * 1024

Path = TypeVar("Path")


class Piece(NamedTuple):
    """A packet, or consecutive segments of a run, ready to be sent."""

    burst: Burst
    offset: int
    """Of the first segment's payload in the run's; 0 for a packet."""
    segments: int
    """How many; 1 for a packet."""
    octets: int
    """Inner bytes, every segment's header counted."""


class Codel:
    """The law that says when to drop (RFC 8289, section 5)."""

    __slots__ = ("_above_until", "_count", "_is_dropping", "_next_at")

    def __init__(self) -> None:
        self._above_until = 0.0
        self._is_dropping = False
        self._next_at = 0.0
        self._count = 0

    def hurry(self, now: float) -> None:
        """Do not wait for a whole interval: the queue is as long as it may be already."""
        if self._above_until > now:
            self._above_until = now

    def restart(self) -> None:
        """Forget how long packets have waited: it says nothing from now on."""
        self._above_until = 0.0
        self._is_dropping = False

    def should_drop(self, sojourn: float, backlog: int, now: float) -> bool:
        """Judge the packet at the head, which has waited for `sojourn` seconds."""
        if sojourn < TARGET or backlog < FEW:
            self.restart()
            return False
        if not self._above_until:
            self._above_until = now + INTERVAL
            return False
        if self._is_dropping:
            if now < self._next_at:
                return False
            self._count += 1
            self._next_at += INTERVAL / sqrt(self._count)
            return True
        if now < self._above_until:
            return False
        self._is_dropping = True
        was_lately = self._count > 2 and now - self._next_at < 8 * INTERVAL
        self._count = self._count - 2 if was_lately else 1
        self._next_at = now + INTERVAL / sqrt(self._count)
        return True


class FlowQueue:
    """What waits of one flow."""

    __slots__ = (
        "_bursts",
        "_codel",
        "_gathers",
        "_taken",
        "deficit",
        "dropped",
        "flow",
        "is_listed",
        "octets",
    )

    def __init__(self, flow: Flow) -> None:
        self.flow: Final = flow
        self.octets = 0
        """Bytes of what waits, runs counted with one header."""
        self.deficit = 0
        self.is_listed = False
        self.dropped = 0
        """Packets CoDel took out."""
        self._bursts: deque[tuple[Burst | Gathering, float]] = deque()
        self._gathers = flow.is_udp
        self._taken = 0  # payload bytes of the first run that have left already
        self._codel = Codel()

    def hurry(self, now: float) -> None:
        """Tell the flow's sender soon to slow down."""
        self._codel.hurry(now)

    def push(self, burst: Burst, now: float) -> None:
        """Add a burst at the end.

        Also what TCP sends again, although its receiver waits for that: in front it overtakes what
        was sent before it, and RACK takes all of that for lost (thousands of needless re-sends).
        """
        if self._gathers and self._bursts and self._gather(burst, now):
            return
        self._bursts.append((burst, now))
        self.octets += len(burst.packet)

    def _gather(self, burst: Burst, now: float) -> bool:
        """Make a run of a packet and the one that came just before, if both can be in one."""
        last, came_at = self._bursts[-1]
        if came_at != now or self._taken:
            return False
        if isinstance(last, Burst):
            header_length = header_length_of(last)
            if not header_length:
                return False
            last = Gathering(last, header_length)
        before = last.length
        if not last.add(burst):
            return False
        self._bursts[-1] = last, now
        self.octets += last.length - before
        return True

    def _first(self) -> tuple[Burst, float]:
        """Return what has waited for longest, and since when."""
        first, came_at = self._bursts[0]
        if isinstance(first, Gathering):
            first = first.burst()
            self._bursts[0] = first, came_at
        return first, came_at

    def drop_last(self) -> int:
        """Take out what came last; return how many packets that was."""
        burst, _ = self._bursts.pop()
        if isinstance(burst, Gathering):
            burst = burst.burst()
        left = burst.segment_count
        self.octets -= len(burst.packet)
        if not self._bursts:
            if burst.segment_size:
                left -= self._taken // burst.segment_size
            self.octets = self._taken = 0
        return left

    def pull(self, budget: float, now: float, *, is_patient: bool = False) -> Piece | None:
        """Take out what may leave now: a packet, or the segments that fit into `budget` bytes.

        At least one segment is returned; None if CoDel dropped all there was.
        """
        while self._bursts:
            burst, arrived_at = self._first()
            if now - arrived_at > STALE:
                self.dropped += self._take(burst, inf).segments
                continue
            self.flow.waited = now - arrived_at
            # A loss in slow start costs more than the queue it ends: CUBIC, which would have
            # doubled once more, needs seconds for the rest. That queue is short-lived anyway.
            if is_patient or self.flow.is_starting(now):
                self._codel.restart()
                return self._take(burst, budget)
            if not self._codel.should_drop(now - arrived_at, self.octets, now):
                return self._take(burst, budget)
            piece = self._take(burst, 0.0)
            marked = mark_congestion(piece.burst)
            if marked is not None:
                return piece._replace(burst=marked)
            self.dropped += 1
        return None

    def _take(self, burst: Burst, budget: float) -> Piece:
        size = burst.segment_size
        if not size:
            self._bursts.popleft()
            self.octets -= len(burst.packet)
            return Piece(burst, 0, 1, len(burst.packet))
        header = burst.header_length
        payload = len(burst.packet) - header
        offset = self._taken
        left = -(-(payload - offset) // size)
        count = left if budget == inf else min(max(int(budget // (size + header)), 1), left)
        taken = min(offset + count * size, payload)
        self.octets -= taken - offset
        if taken == payload:
            self._bursts.popleft()
            self.octets -= header
            self._taken = 0
        else:
            self._taken = taken
        return Piece(burst, offset, count, taken - offset + count * header)


class FairQueue(Generic[Path]):
    """All flows that wait, in the order of their turns."""

    __slots__ = ("_new", "_old", "_queues", "dropped", "is_patient", "limit", "octets")

    def __init__(self) -> None:
        self.octets = 0
        self.limit = LEAST_LIMIT
        """Bytes above which the flow that has most waiting is told at once to slow down. At twice
        as many it loses what came last: one packet lost early says the same as fifty lost late."""
        self.is_patient = False
        """True while CoDel is to drop nothing, however long packets wait."""
        self.dropped = 0
        """Packets that the limit or CoDel took out."""
        self._queues: dict[Flow, FlowQueue] = {}
        self._new: deque[FlowQueue] = deque()
        self._old: deque[FlowQueue] = deque()

    def __bool__(self) -> bool:
        return self.octets > 0

    def push(self, flow: Flow, burst: Burst, now: float) -> None:
        """Let a burst wait for its flow's turn."""
        queue = self._queues.get(flow)
        if queue is None:
            queue = self._queues[flow] = FlowQueue(flow)
            queue.deficit = _quantum(flow)
            self._new.append(queue)
        queue.push(burst, now)
        flow.backlog = queue.octets
        self.octets += len(burst.packet)
        if self.octets > self.limit:
            self._shorten(now)

    def _shorten(self, now: float) -> None:
        fattest = max(self._queues.values(), key=lambda each: each.octets)
        fattest.hurry(now)
        while self.octets > 2 * self.limit:
            self._drop_from(max(self._queues.values(), key=lambda each: each.octets))

    def _drop_from(self, queue: FlowQueue) -> None:
        before = queue.octets
        self.dropped += queue.drop_last()
        self._account(queue, before)

    def _account(self, queue: FlowQueue, before: int) -> None:
        self.octets += queue.octets - before
        queue.flow.backlog = queue.octets

    def next(self, choose: Callable[[Flow], Path | None]) -> tuple[FlowQueue, Path] | None:
        """Return the flow whose turn it is and its path; None if no flow has one that is free.

        Args:
            choose: returns the path for a flow's next packet, or None if the flow must wait. Such
                a flow keeps its place and does not hold up others.
        """
        for turns in (self._new, self._old):
            waiting: list[FlowQueue] = []
            found = self._next_of(turns, choose, waiting)
            turns.extendleft(reversed(waiting))
            if found is not None:
                return found
        return None

    def _next_of(
        self,
        turns: deque[FlowQueue],
        choose: Callable[[Flow], Path | None],
        waiting: list[FlowQueue],
    ) -> tuple[FlowQueue, Path] | None:
        while turns:
            queue = turns[0]
            if not queue.octets:
                turns.popleft()
                self._leave(queue, was_new=turns is self._new)
            elif queue.deficit <= 0:
                # Alone, a flow need not save up for what it has just sent.
                saved = 0 if len(self._queues) == 1 else queue.deficit
                queue.deficit = saved + _quantum(queue.flow)
                turns.popleft()
                self._old.append(queue)
            else:
                path = choose(queue.flow)
                if path is not None:
                    return queue, path
                waiting.append(turns.popleft())
        return None

    def _leave(self, queue: FlowQueue, *, was_new: bool) -> None:
        if was_new:
            # Once round with the old ones, so that it cannot be new again at once (RFC 8290, 4.2).
            self._old.append(queue)
        else:
            del self._queues[queue.flow]

    def pull(self, queue: FlowQueue, budget: float, now: float) -> Piece | None:
        """Take a piece out of a flow's queue; None if CoDel left nothing."""
        before, dropped = queue.octets, queue.dropped
        piece = queue.pull(budget, now, is_patient=self.is_patient)
        self.dropped += queue.dropped - dropped
        self._account(queue, before)
        if piece is not None:
            queue.deficit -= piece.octets
        return piece


def _quantum(flow: Flow) -> int:
    return QUANTUM * (YOUNG_SHARE if flow.is_young else 1)
