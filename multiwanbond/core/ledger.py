"""What became of one path's datagrams: the sender's account, and the receiver's report for it."""

from collections import deque
from typing import Final, NamedTuple

from multiwanbond.core.frames import HOLD_UNIT, MAX_GAP, MAX_HOLD, MAX_RANGE, MAX_RANGES, PathAck
from multiwanbond.core.wire import SEQUENCE_BITS, TIMESTAMP_MASK, expand, ticks

LOSS_WINDOW: Final = 10.0
"""Seconds of history behind the loss share: long enough that one lost probe is not a percentage."""
_LOSS_BUCKET: Final = 1.0
LEAST_LOSS_SAMPLE: Final = 100
"""Datagrams the share is divided by at least: one lost of ten does not say ten in a hundred."""
_MOST_UNACKED: Final = 65_536
"""Runs accounted for one by one while no ack comes; beyond that the account is coarser."""
_COUNT_WRAP: Final = 1 << 32
REPETITIONS: Final = 50
"""Acks that tell of a gap, if no newer one comes: half a second of traffic, or half a minute of an
idle line. Told for ever, ten datagrams lost once made every ack of it a third longer."""


class Settled(NamedTuple):
    """What one ack said about datagrams that were not accounted for before."""

    expected: int
    received: int


class Ledger:
    """Sent datagrams of one path, settled by the peer's acks."""

    __slots__ = (
        "_acked_datagrams",
        "_acked_sequence",
        "_awaited",
        "_loss",
        "_loss_buckets",
        "_loss_until",
        "_sent_bytes_at",
        "last_progress",
        "next_sequence",
        "sent_bytes",
        "settled_bytes",
    )

    def __init__(self, now: float) -> None:
        self.next_sequence = 1
        self.sent_bytes = 0
        self.settled_bytes = 0
        """Bytes sent up to the highest datagram the peer has received: delivered or lost."""
        self.last_progress = now
        """When an ack last showed that something new had arrived."""
        self._sent_bytes_at: deque[tuple[int, int]] = deque()  # (sequence, sent_bytes after it)
        self._awaited: deque[tuple[int, float]] = (
            deque()
        )  # (sequence that asks for an ack, sent at)
        self._acked_sequence = 0
        self._acked_datagrams = 0
        self._loss_buckets: deque[tuple[float, int, int]] = deque()  # (start, expected, received)
        self._loss = 0.0
        self._loss_until = 0.0  # so long it is what `_loss` says, if nothing is counted

    @property
    def in_flight_bytes(self) -> int:
        """Bytes sent after the newest datagram known to have arrived."""
        return self.sent_bytes - self.settled_bytes

    @property
    def acked_sequence(self) -> int:
        """The highest path sequence the peer is known to have received."""
        return self._acked_sequence

    @property
    def sent_datagrams(self) -> int:
        """All datagrams ever numbered on this path."""
        return self.next_sequence - 1

    def waiting_since(self, count: int) -> float | None:
        """Return since when `count` transmissions have been waiting for an ack; None if fewer are.

        Any progress lets all of them wait anew: a queue that is long but moves is not silence.
        """
        if len(self._awaited) < count:
            return None
        return max(self._awaited[count - 1][1], self.last_progress)

    def forget_awaited(self) -> None:
        """Expect no ack for what was sent so far: the line it went by is gone."""
        self._awaited.clear()

    def on_sent(self, last_sequence: int, octets: int) -> None:
        """Note a run of datagrams that ends with `last_sequence` and has `octets` bytes in all."""
        self.sent_bytes += octets
        if len(self._sent_bytes_at) == _MOST_UNACKED:
            self._sent_bytes_at.pop()
        self._sent_bytes_at.append((last_sequence, self.sent_bytes))

    def on_awaited(self, last_sequence: int, now: float) -> None:
        """Note that the run just sent asks for an ack: it carries packets, or a probe."""
        if len(self._awaited) < _MOST_UNACKED:
            self._awaited.append((last_sequence, now))

    def on_ack(
        self, ack: PathAck, now: float, *, counts_loss: bool = True, excused: int = 0
    ) -> Settled | None:
        """Settle what the peer reports; return it, or None if nothing new had arrived.

        An ack older than one already seen changes nothing. What is missing does not count as the
        line's loss while `counts_loss` is False: our own traffic overflows its queue. Of the
        missing, `excused` were expected not to arrive.
        """
        highest = expand(ack.highest, SEQUENCE_BITS, self._acked_sequence)
        if highest <= self._acked_sequence or highest >= self.next_sequence:
            return None
        datagrams = (ack.datagrams - self._acked_datagrams) % _COUNT_WRAP
        expected = highest - self._acked_sequence - excused
        self._count_loss(expected, datagrams if counts_loss else expected, now)
        self._acked_sequence = highest
        self._acked_datagrams = ack.datagrams
        sent = self._sent_bytes_at
        while sent and sent[0][0] <= highest:
            self.settled_bytes = sent.popleft()[1]
        awaited = self._awaited
        while awaited and awaited[0][0] <= highest:
            awaited.popleft()
        self.last_progress = now
        return Settled(expected, datagrams)

    def _count_loss(self, expected: int, received: int, now: float) -> None:
        buckets = self._loss_buckets
        if not buckets or now - buckets[-1][0] >= _LOSS_BUCKET:
            buckets.append((now, 0, 0))
        self._loss_until = 0.0
        start, had_expected, had_received = buckets.pop()
        buckets.append((start, had_expected + expected, had_received + received))

    def forget_losses(self) -> None:
        """Begin a new account of losses."""
        self._loss_buckets.clear()
        self._loss_until = 0.0

    def loss(self, now: float) -> float:
        """Return the share of datagrams lost in the last `LOSS_WINDOW` seconds, 0 to 1.

        The worst second is left out: a sender's slow start overflows any queue once, and for that
        alone a download was moved from a 100 Mbit/s line to one of 10.
        """
        if now < self._loss_until:
            return self._loss
        buckets = self._loss_buckets
        while buckets and now - buckets[0][0] > LOSS_WINDOW:
            buckets.popleft()
        worst = max(buckets, key=lambda bucket: bucket[1] - bucket[2], default=(0.0, 0, 0))
        expected = sum(bucket[1] for bucket in buckets) - worst[1]
        received = sum(bucket[2] for bucket in buckets) - worst[2]
        # Reordering can make one interval receive more than it expects; the sum never should.
        self._loss = min(max(expected - received, 0) / max(expected, LEAST_LOSS_SAMPLE), 1.0)
        self._loss_until = (buckets[0][0] if buckets else now) + LOSS_WINDOW
        return self._loss


class Arrivals:
    """Received datagrams of one path, and the ack that reports them."""

    __slots__ = (
        "_echo",
        "_is_folded",
        "_least_delay",
        "_ranges",
        "_repetitions",
        "arrived_at",
        "datagrams",
        "has_gap",
        "highest",
        "octets",
    )

    def __init__(self) -> None:
        self.has_gap = False
        """True once something is missing that has not been reported yet."""
        self._ranges: list[list[int]] = [[1, 0]]  # [first, last] received in a row, oldest first
        self._repetitions = 0  # reports since the newest gap
        self.highest = 0
        """Highest path sequence received."""
        self.datagrams = 0
        self.octets = 0
        self._echo = 0
        self.arrived_at = 0.0
        """When the newest datagram came; 0 before the first."""
        self._least_delay: int | None = None
        self._is_folded = True  # nothing newer is still to be taken into account

    def on_datagram(
        self, sequence: int, timestamp: int, octets: int, now: float, count: int = 1
    ) -> bool:
        """Count authentic datagrams; return True if they are the newest of their path.

        Args:
            sequence: path sequence of the first.
            timestamp: when the last left, by the sender's clock.
            octets: bytes of all.
            now: the caller's clock.
            count: how many, in a row; of several the first is newer than all that came before.
        """
        self.datagrams += count
        self.octets += octets
        if sequence <= self.highest:
            self._fill(sequence)
            return False
        last = sequence + count - 1
        if sequence == self.highest + 1:
            self._ranges[-1][1] = last
        else:
            self._ranges.append([sequence, last])
            self.has_gap = True
            self._repetitions = 0
            if len(self._ranges) > MAX_RANGES:
                del self._ranges[0]
        self.highest = last
        if now != self.arrived_at:
            if not self._is_folded:
                self._fold_delay()
            self.arrived_at = now
        self._is_folded = False
        self._echo = timestamp
        return True

    def _fold_delay(self) -> None:
        """Take the newest datagram into account; of one batch it is the one delayed least."""
        if not self.arrived_at:
            return
        delay = ticks(self.arrived_at) - self._echo & TIMESTAMP_MASK
        least = self._least_delay
        if least is None or (least - delay & TIMESTAMP_MASK) <= TIMESTAMP_MASK >> 1:
            self._least_delay = delay

    def _fill(self, sequence: int) -> None:
        """Note a late arrival; only one next to a range is worth remembering."""
        for index in range(len(self._ranges) - 1, -1, -1):
            entry = self._ranges[index]
            if sequence == entry[0] - 1:
                entry[0] = sequence
                if index and self._ranges[index - 1][1] == sequence - 1:
                    entry[0] = self._ranges[index - 1][0]
                    del self._ranges[index - 1]
                return
            if sequence == entry[1] + 1:
                entry[1] = sequence
                return

    def _report_ranges(self) -> tuple[tuple[int, int], ...]:
        reported: list[tuple[int, int]] = []
        below = 0
        for first, last in reversed(self._ranges):
            if reported:
                gap = below - last - 1
                if gap > MAX_GAP:
                    break
                reported[-1] = (reported[-1][0], gap)
            reported.append((min(last - first + 1, MAX_RANGE), 0))
            below = first
            if last - first + 1 > MAX_RANGE:
                break
        return tuple(reported)

    def report(self, path_id: int, now: float) -> PathAck:
        """Return the ack of everything received so far; the least delay is found anew from here."""
        if len(self._ranges) > 1:
            self._repetitions += 1
            if self._repetitions > REPETITIONS:
                del self._ranges[:-1]
        self._fold_delay()
        least_delay, self._least_delay = self._least_delay, None
        self._is_folded = True
        return PathAck(
            path_id=path_id,
            highest=self.highest % _COUNT_WRAP,
            echo=self._echo,
            hold=min(int((now - self.arrived_at) / HOLD_UNIT), MAX_HOLD),
            datagrams=self.datagrams % _COUNT_WRAP,
            octets=self.octets % _COUNT_WRAP,
            received_at=ticks(self.arrived_at) & TIMESTAMP_MASK,
            least_delay=least_delay or 0,
            ranges=self._report_ranges(),
        )


def gaps_of(ack: PathAck, highest: int) -> list[tuple[int, int]]:
    """Return first and last sequence of what the peer misses, `highest` being the ack's in full."""
    gaps = []
    upper = highest
    for length, gap in ack.ranges:
        upper -= length
        if gap:
            gaps.append((upper - gap + 1, upper))
        upper -= gap
    return gaps


def round_trip(ack: PathAck, now: float) -> float | None:
    """Return the seconds from the acked datagram's transmission to now, less the time it was held.

    None if it was held too long to say.
    """
    if ack.hold == MAX_HOLD:
        return None
    elapsed = (ticks(now) - ack.echo) & TIMESTAMP_MASK
    return max(elapsed * 16e-6 - ack.hold * HOLD_UNIT, 1e-6)
