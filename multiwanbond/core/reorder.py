"""Packets wait for the one before them in their own flow, and for nothing else.

Every packet has a number in the bond and says how far back its flow's previous packet is. It is
released when that predecessor has been released or given up, so a hole in one flow never delays
another, and the receiver needs no table of flows.

A missing packet is given up, so that those behind it go on,
- when nothing can bring it any more: paths deliver in the order they were sent on, so it is lost
  once every path that was lately heard of has delivered something later (the fragment-loss rule of
  RFC 1990, section 4.1.1), and the sender has had the time to send it again;
- when a packet has waited for it for the time-out. Each held packet owns its deadline: with one
  timer that arrivals re-arm, every hole would wait behind the one before it;
- when too many packets are held. The hole that has been waited for longest goes first.

There is no tolerance for packets that overtake each other within a path. A line rarely does that to
one UDP flow, within one batch of reads it does not show (holes are judged per batch), and a packet
given up too soon is still delivered when it comes: the inner hosts then see the order the line
made, not a delay on every loss.
"""

from collections import OrderedDict, deque
from heapq import heapify, heappop, heappush
from typing import Final

from multiwanbond.core.segments import Segments
from multiwanbond.core.statistics import ReorderStatistics
from multiwanbond.core.wire import DataForm

Plaintext = bytes | bytearray
Released = tuple[DataForm, Plaintext | Segments]
"""The form and the plaintext of a DATA datagram; of several in a row the form of the last."""

# --- chosen by us ----------------------------------------------------------------------------

QUIET_AFTER: Final = 0.6
"""Seconds without a datagram after which a path is no longer expected to bring a missing packet.
Longer than it takes to notice that a path is dead and to send elsewhere what it held: with 0.1 s
the repair came too late, and a download lost half its window (bonding study, pitfall 8)."""
WINDOW: Final = 1 << 16
"""Sequences whose fate is remembered: as far as a distance reaches (16 bits on the wire)."""
_MASK: Final = WINDOW - 1
_MOST_PASSINGS: Final = 1024
"""Batches remembered; a hole older than these counts as lost since it is waited for."""

# Fates, in this order: what is at least `_GIVEN_UP` is not waited for.
_UNKNOWN: Final = 0
_HOLE: Final = 1
"""Missing, and a held packet waits for it."""
_HELD: Final = 2
_GIVEN_UP: Final = 3
_RELEASED: Final = 4


class _Held:
    """A packet, or several in a row, that wait for their predecessor."""

    __slots__ = ("count", "form", "packet", "predecessor", "sequence", "since")

    def __init__(
        self,
        sequence: int,
        predecessor: int,
        form: DataForm,
        packet: Plaintext | Segments,
        since: float,
        count: int = 1,
    ) -> None:
        self.sequence = sequence
        self.count = count
        self.predecessor = predecessor
        self.form = form
        self.packet = packet
        self.since = since

    @property
    def sequences(self) -> range:
        """Of all packets."""
        return range(self.sequence, self.sequence + self.count)


class ReorderBuffer:
    """Puts the packets of each flow back in order, for so long as that makes sense.

    Push what arrives, `expire` once per batch, then `poll`. Memory is bounded by the capacity and
    the window, whatever sequences and distances a peer invents.
    """

    __slots__ = (
        "_duplicates",
        "_fates",
        "_given_up",
        "_heard",
        "_held",
        "_highest",
        "_holes",
        "_late",
        "_passings",
        "_polled",
        "_released",
        "_waiting",
        "capacity",
        "repair_time",
        "timeout",
    )

    def __init__(self, capacity: int, timeout: float) -> None:
        self.capacity = capacity
        """Packets held at most."""
        self.timeout = timeout
        """Seconds a packet is held at most. Both, and the next, may be changed at any time."""
        self.repair_time = 0.0
        """Seconds a packet is held for one that is lost but may be sent again."""
        self._highest = 0
        # Invariant: a slot of `_fates` belongs to the one sequence of its residue in
        # (highest - WINDOW, highest]. No hole is older: `_advance` gives up those that would be,
        # and since a packet is younger than the hole it waits for, nothing held is older either.
        self._fates = bytearray(WINDOW)
        self._held: OrderedDict[int, _Held] = OrderedDict()  # in order of arrival
        self._waiting: dict[int, list[int]] = {}  # predecessor -> packets held for it
        self._holes: list[int] = []  # heap; may name some that are holes no more
        self._heard: dict[int, tuple[int, float]] = {}  # path id -> (delivered up to, heard at)
        self._released: list[Released] = []
        self._passings: deque[tuple[int, float]] = deque()  # (passed by all paths, since when)
        self._polled = 0
        self._late = 0
        self._duplicates = 0
        self._given_up = 0

    # --- arrivals

    def push(
        self,
        path_id: int,
        sequence: int,
        distance: int,
        form: DataForm,
        packet: Plaintext,
        now: float,
    ) -> None:
        """Take one packet.

        Args:
            path_id: the path it came by.
            sequence: its number in the bond, not truncated; 1 or more.
            distance: from its flow's previous packet; 0 if it need not wait.
            form: handed on with the packet.
            packet: the plaintext of a DATA datagram.
            now: the caller's clock.
        """
        fates = self._fates
        slot = sequence & _MASK
        if sequence == self._highest + 1 and fates[slot] != _HOLE:
            self._highest = sequence
            self._heard[path_id] = (sequence, now)
        elif not self._is_new(path_id, sequence, form, packet, now):
            return
        if distance and fates[sequence - distance & _MASK] < _GIVEN_UP:
            predecessor = sequence - distance
            if predecessor > 0 and predecessor > self._highest - WINDOW:
                self._hold(_Held(sequence, predecessor, form, packet, now))
                return
        is_awaited = fates[slot] == _HOLE
        fates[slot] = _RELEASED
        self._released.append((form, packet))
        if is_awaited:
            self._release_after(sequence)

    def push_run(
        self,
        path_id: int,
        first: int,
        count: int,
        distance: int,
        form: DataForm,
        segments: Segments,
        now: float,
    ) -> None:
        """Take segments that follow each other; as many `push` would do the same.

        Args:
            path_id: the path they came by.
            first: the number of the first.
            count: how many.
            distance: from the first to its flow's previous packet; 0 if it need not wait.
            form: of the last one.
            segments: their plaintexts.
            now: the caller's clock.
        """
        if not self._are_new(path_id, first, count, now):
            for index, plaintext in enumerate(segments.split()):
                is_last = index == count - 1
                self.push(
                    path_id,
                    first + index,
                    1 if index else distance,
                    form if is_last else DataForm.SEGMENT,
                    plaintext,
                    now,
                )
            return
        predecessor = first - distance
        if (
            distance
            and self._fates[predecessor & _MASK] < _GIVEN_UP
            and predecessor > max(0, self._highest - WINDOW)
        ):
            self._hold(_Held(first, predecessor, form, segments, now, count))
            return
        self._released.append((form, segments))
        self._polled += count - 1
        self._settle_run(first, count)

    def _are_new(self, path_id: int, first: int, count: int, now: float) -> bool:
        """Make room for packets in a row if nothing is known of any of them, and say so."""
        last, highest, fates = first + count - 1, self._highest, self._fates
        start = first & _MASK
        end = start + count
        if first <= highest:
            if last > highest or first <= highest - WINDOW or end > WINDOW:
                return False
            if max(fates[start:end]) > _HOLE:
                return False
        elif first == highest + 1 and end <= WINDOW and fates.find(_HOLE, start, end) < 0:
            self._highest = last  # nothing to give up, and the caller overwrites the old fates
        else:
            self._advance(last)
        self.note(path_id, last, now)
        return True

    def _settle_run(self, first: int, count: int) -> None:
        """Note that packets in a row are released, and release what waited for any of them."""
        waiting = self._waiting
        self._mark(first, count, _RELEASED)
        if waiting:
            for sequence in range(first, first + count):
                if sequence in waiting:
                    self._release_after(sequence)

    def _mark(self, first: int, count: int, fate: int) -> None:
        start = first & _MASK
        until_wrap = min(count, WINDOW - start)
        self._fates[start : start + until_wrap] = bytes((fate,)) * until_wrap
        self._fates[: count - until_wrap] = bytes((fate,)) * (count - until_wrap)

    def note(self, path_id: int, sequence: int, now: float) -> None:
        """The path has delivered everything it was given up to `sequence`, and is alive."""
        delivered = self._heard.get(path_id)
        if delivered is not None and delivered[0] > sequence:
            sequence = delivered[0]
        self._heard[path_id] = (sequence, now)

    def _is_new(
        self, path_id: int, sequence: int, form: DataForm, packet: Plaintext, now: float
    ) -> bool:
        """Settle duplicates and late packets; say whether the packet still needs its turn."""
        self.note(path_id, sequence, now)
        if sequence > self._highest:
            self._advance(sequence)
            return True
        is_remembered = sequence > self._highest - WINDOW
        fate = self._fates[sequence & _MASK] if is_remembered else _GIVEN_UP
        if fate in (_HELD, _RELEASED):
            self._duplicates += 1
            return False
        if fate == _GIVEN_UP:
            if is_remembered:
                self._fates[sequence & _MASK] = _RELEASED
            self._late += 1
            self._released.append((form, packet))
            return False
        return True

    def _advance(self, sequence: int) -> None:
        """Move the window so that it ends with `sequence`; holes that fall out are given up."""
        fates = self._fates
        count = min(sequence - self._highest, WINDOW)
        begin = sequence - count + 1 & _MASK
        spans = ((begin, min(begin + count, WINDOW)), (0, begin + count - WINDOW))
        # First every hole, then every slot: a hole's followers are marked where they stand now.
        for start, end in spans:
            slot = start - 1
            while end > start and (slot := fates.find(_HOLE, slot + 1, end)) >= 0:
                self._give_up(self._highest - (self._highest - slot & _MASK))
        for start, end in spans:
            if end > start:
                fates[start:end] = bytes(end - start)
        self._highest = sequence

    # --- holding and releasing

    def _hold(self, held: _Held) -> None:
        fates, waiting = self._fates, self._waiting
        predecessor, slot = held.predecessor, held.predecessor & _MASK
        if held.count == 1:
            self._held[held.sequence] = held
            fates[held.sequence & _MASK] = _HELD
        else:
            self._held.update((each, held) for each in held.sequences)
            self._mark(held.sequence, held.count, _HELD)
        waiting.setdefault(predecessor, []).append(held.sequence)
        if fates[slot] == _UNKNOWN:
            fates[slot] = _HOLE
            heappush(self._holes, predecessor)
            if len(self._holes) > 2 * self.capacity + 64:
                self._holes = [hole for hole in waiting if fates[hole & _MASK] == _HOLE]
                heapify(self._holes)
        while len(self._held) > self.capacity:
            self._stop_waiting(next(iter(self._held.values())))

    def _release_after(self, sequence: int) -> None:
        """Release what waited for `sequence`, and what waited for that."""
        fates, waiting, held, released = self._fates, self._waiting, self._held, self._released
        done = [sequence]
        for settled in done:
            for follower in waiting.pop(settled, ()):
                packet = held.pop(follower)
                released.append((packet.form, packet.packet))
                if packet.count == 1:
                    fates[follower & _MASK] = _RELEASED
                    done.append(follower)
                    continue
                self._mark(follower, packet.count, _RELEASED)
                self._polled += packet.count - 1
                done += packet.sequences
                for each in packet.sequences[1:]:
                    del held[each]

    def _give_up(self, hole: int) -> None:
        self._fates[hole & _MASK] = _GIVEN_UP
        self._given_up += 1
        self._release_after(hole)

    def _stop_waiting(self, packet: _Held) -> None:
        """Give up the hole that `packet` waits for, be it through others; it is released."""
        predecessor = packet.predecessor
        while predecessor in self._held:
            predecessor = self._held[predecessor].predecessor
        self._give_up(predecessor)

    # --- time

    def expire(self, now: float) -> None:
        """Give up what is known to be lost or has been waited for long enough."""
        held = self._held
        if not held:
            return
        self._give_up_lost(now)
        while held:
            oldest = next(iter(held.values()))
            if oldest.since + self.timeout > now:
                return
            # What was sent before is overdue as well, or its flow would overtake itself.
            while (hole := self._lowest_hole()) is not None and hole < oldest.predecessor:
                self._give_up(hole)
            if oldest.sequence in held:
                self._stop_waiting(oldest)

    def _give_up_lost(self, now: float) -> None:
        """Give up the holes that every path lately heard of has passed, and nobody repaired."""
        passed = min(
            (upto for upto, heard_at in self._heard.values() if heard_at + QUIET_AFTER > now),
            default=self._highest,
        )
        if not self._passings or passed > self._passings[-1][0]:
            self._passings.append((passed, now))
            while len(self._passings) > _MOST_PASSINGS:
                self._passings.popleft()
        while (hole := self._lowest_hole()) is not None and hole <= passed:
            if self._lost_since(hole) + self.repair_time > now:
                return
            self._give_up(hole)

    def _lost_since(self, hole: int) -> float:
        """Return since when `hole`, which all paths have passed, is waited for in vain.

        Not since it is waited for: the packets that came by a satellite's quick companion wait for
        a third of a second before anybody can tell that something is lost.
        """
        since = self._waited_since(hole)
        passed_at = 0.0
        for passed, when in reversed(self._passings):
            if passed < hole:
                break
            passed_at = when
        return max(since, passed_at)

    def _waited_since(self, hole: int) -> float:
        """Return when the first packet that waits for `hole` was held."""
        return self._held[self._waiting[hole][0]].since

    def _lowest_hole(self) -> int | None:
        holes, waiting = self._holes, self._waiting
        # One that has come but is held itself is not found: it waits for a hole below it.
        while holes and holes[0] not in waiting:
            heappop(holes)
        return holes[0] if holes else None

    def deadline(self) -> float | None:
        """When `expire` has something to do even if nothing arrives; None while nothing is held."""
        if not self._held:
            return None
        oldest = next(iter(self._held.values()))
        hole = self._lowest_hole()
        assert hole is not None  # somebody at the end of each chain waits for a hole
        passed_at = max(
            (heard_at + QUIET_AFTER for upto, heard_at in self._heard.values() if upto < hole),
            default=oldest.since,
        )
        repaired_at = self._lost_since(hole) + self.repair_time
        return min(oldest.since + self.timeout, max(passed_at, repaired_at))

    # --- results

    def poll(self) -> list[Released]:
        """Return what has been released since the last call, in order."""
        released = self._released
        self._released = []
        self._polled += len(released)
        return released

    def statistics(self) -> ReorderStatistics:
        """Return a snapshot."""
        return ReorderStatistics(
            released=self._polled + len(self._released) - self._late,
            held=len(self._held),
            late=self._late,
            duplicates=self._duplicates,
            given_up=self._given_up,
        )
