"""One direction of a WAN: what happens to an IP packet between two hosts.

A `Link` is passive: `push` hands it a packet, `next_due` says when to look again, `pop_due` takes
out what has arrived by then, in order. So the simulator can drive it in virtual time and the lab's
emulator in real time, and a freeze whose end nobody knows yet needs no special care.

    sender -> MTU -> policer -> byte-limited queue -> rate -> loss -> delay + jitter -> receiver

Loss strikes behind the queue, as on the air: a lost packet has used the line all the same.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Final, Generic, TypeVar

JITTER_PERIOD: Final = 0.02
"""Seconds between two draws of the extra delay; packets in between share it, as radio frames do."""

_NEVER: Final = float("inf")

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstLoss:
    """Gilbert-Elliott loss: the link is good or bad, and loses packets only while bad."""

    to_bad: float
    """Probability per packet of turning from good to bad."""
    to_good: float
    """Probability per packet of turning back."""
    loss_in_bad: float
    """Probability that a packet is lost while bad."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policer:
    """A token bucket that drops what exceeds its rate instead of queueing it."""

    rate: float
    """Bytes per second."""
    bucket: int
    """Bytes that may pass at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateTrace:
    """A rate that changes with time: each entry holds for `step`, then the list starts again."""

    rates: tuple[float, ...]
    """Bytes per second, all positive."""
    step: float
    """Seconds."""
    start: float = 0.0
    """When the first entry holds, by the clock of the link; not later than any packet."""

    def at(self, index: int) -> tuple[float, float]:
        """Return the rate of the step of that number from 0, and when the step ends."""
        return self.rates[index % len(self.rates)], self.start + (index + 1) * self.step

    def index(self, now: float) -> int:
        """Return the number of the step that holds `now`."""
        return int((now - self.start) / self.step)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """What one direction of a WAN is like. Sizes and rates count whole IP packets."""

    rate: float | RateTrace | None
    """Bytes per second; None: unlimited."""
    delay: float
    """Seconds from the end of sending to arrival."""
    jitter: float = 0.0
    """Most of the extra delay in seconds; its share is U(0,1) squared. Order is kept."""
    loss: float = 0.0
    """Share of packets lost at random, 0 to 1."""
    burst_loss: BurstLoss | None = None
    """Loss that comes in bursts, besides `loss`."""
    queue: int = 100_000
    """Bytes that wait at most, the packet being sent included; what comes on top is dropped."""
    mtu: int = 1500
    """Larger packets are dropped."""
    policer: Policer | None = None
    """Limit in front of the queue."""
    is_black: bool = False
    """True: everything is swallowed and nobody is told."""
    is_frozen: bool = False
    """True: nothing is sent; the queue waits, and overflows, until this is False again."""


class LossCause(Enum):
    """Why a link lost a packet."""

    QUEUE_FULL = "queue full"
    RANDOM = "random"
    BURST = "burst"
    TOO_BIG = "too big"
    POLICED = "policed"
    BLACK = "black"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkStatistics:
    """What became of the packets of one direction so far."""

    pushed: int
    """Packets handed to the link."""
    pushed_bytes: int
    delivered: int
    """Packets taken out by `pop_due`."""
    delivered_bytes: int
    lost: dict[LossCause, int]
    """Packets by cause; every cause is a key."""
    queued_bytes: int
    """Bytes that wait for the line."""


class Link(Generic[Item]):
    """One direction of a WAN; carries items it does not look into.

    `now` never goes back between calls, whichever they are.
    """

    __slots__ = (
        "_air",
        "_delivered",
        "_delivered_bytes",
        "_free",
        "_is_bad",
        "_jitter_slot",
        "_last_arrival",
        "_line",
        "_lost",
        "_pushed",
        "_pushed_bytes",
        "_queued",
        "_random",
        "_settings",
        "_tokens",
        "_tokens_at",
        "_wobble",
    )

    def __init__(self, settings: LinkSettings, rng: Random) -> None:
        self._settings = settings
        self._random = rng.random
        self._line: deque[tuple[float, int, Item]] = deque()
        """Waiting for the line or being sent: when its last byte leaves, its size, itself."""
        self._air: deque[tuple[float, int, Item]] = deque()
        """Sent and not lost: when it arrives, its size, itself."""
        self._queued = 0
        self._free = 0.0
        self._last_arrival = 0.0
        self._jitter_slot = -1
        self._wobble = 0.0
        self._is_bad = False
        self._tokens = float(settings.policer.bucket) if settings.policer else 0.0
        self._tokens_at = 0.0
        self._pushed = self._pushed_bytes = 0
        self._delivered = self._delivered_bytes = 0
        self._lost = dict.fromkeys(LossCause, 0)

    @property
    def settings(self) -> LinkSettings:
        """What the link is like now; `reconfigure` changes it."""
        return self._settings

    @property
    def statistics(self) -> LinkStatistics:
        """A snapshot of the counters."""
        return LinkStatistics(
            pushed=self._pushed,
            pushed_bytes=self._pushed_bytes,
            delivered=self._delivered,
            delivered_bytes=self._delivered_bytes,
            lost=dict(self._lost),
            queued_bytes=self._queued,
        )

    def push(self, item: Item, size: int, now: float) -> None:
        """Hand the link an IP packet of `size` bytes; it may be lost at once or later."""
        self._pushed += 1
        self._pushed_bytes += size
        line = self._line
        if line and line[0][0] <= now:
            self._depart(now)
        settings = self._settings
        if size > settings.mtu:
            self._lost[LossCause.TOO_BIG] += 1
        elif settings.is_black:
            self._lost[LossCause.BLACK] += 1
        elif settings.policer is not None and not self._is_conforming(settings.policer, size, now):
            self._lost[LossCause.POLICED] += 1
        elif self._queued + size > settings.queue:
            self._lost[LossCause.QUEUE_FULL] += 1
        else:
            self._queued += size
            start = self._free if self._free > now else now
            self._free = departure = self._departure(start, size)
            line.append((departure, size, item))

    def pop_due(self, now: float) -> list[Item]:
        """Return what has arrived by `now`, in the order it was pushed."""
        line, air = self._line, self._air
        if line and line[0][0] <= now:
            self._depart(now)
        due: list[Item] = []
        while air and air[0][0] <= now:
            _, size, item = air.popleft()
            self._delivered_bytes += size
            due.append(item)
        self._delivered += len(due)
        return due

    def next_due(self) -> float | None:
        """Return when to call `pop_due` next; it may find nothing then, but misses nothing.

        None: nothing is on its way, or it is frozen; ask again after `push` and `reconfigure`.
        """
        if self._air:
            return self._air[0][0]
        if self._line and self._line[0][0] < _NEVER:
            # Lost or delayed on the air is decided when it leaves; earlier it cannot arrive.
            return max(self._line[0][0] + self._settings.delay, self._last_arrival)
        return None

    def reconfigure(self, settings: LinkSettings, now: float) -> None:
        """Be like `settings` from `now` on, for what still waits for the line too.

        What has left already arrives as it would have; a packet half sent is begun again.
        """
        self._depart(now)
        if settings.policer != self._settings.policer and settings.policer is not None:
            self._tokens, self._tokens_at = float(settings.policer.bucket), now
        self._settings = settings
        self._jitter_slot = -1
        waiting = list(self._line)
        self._line.clear()
        self._free = now
        for _, size, item in waiting:
            self._free = self._departure(self._free, size)
            self._line.append((self._free, size, item))

    def _departure(self, start: float, size: int) -> float:
        """Return when the last of `size` bytes leaves if the first may leave at `start`."""
        settings = self._settings
        if settings.is_frozen:
            return _NEVER
        rate = settings.rate
        if rate is None:
            return start
        if isinstance(rate, RateTrace):
            return _time_through(rate, start, size)
        return start + size / rate

    def _depart(self, now: float) -> None:
        """Put on the air, or lose, what has left the line by `now`."""
        settings, line, air = self._settings, self._line, self._air
        is_plain = not (
            settings.loss or settings.burst_loss or settings.jitter or settings.is_black
        )
        delay, last = settings.delay, self._last_arrival
        while line and line[0][0] <= now:
            departure, size, item = line.popleft()
            self._queued -= size
            arrival = departure + delay
            if not is_plain:
                cause = self._cause_of_loss(settings)
                if cause is not None:
                    self._lost[cause] += 1
                    continue
                if settings.jitter:
                    arrival += self._extra_delay(settings.jitter, departure)
            last = arrival if arrival > last else last
            air.append((last, size, item))
        self._last_arrival = last

    def _cause_of_loss(self, settings: LinkSettings) -> LossCause | None:
        """Draw whether a packet that leaves now is lost."""
        if settings.is_black:
            return LossCause.BLACK
        burst = settings.burst_loss
        if burst is not None:
            if self._random() < (burst.to_good if self._is_bad else burst.to_bad):
                self._is_bad = not self._is_bad
            if self._is_bad and self._random() < burst.loss_in_bad:
                return LossCause.BURST
        if settings.loss and self._random() < settings.loss:
            return LossCause.RANDOM
        return None

    def _extra_delay(self, jitter: float, departure: float) -> float:
        slot = int(departure / JITTER_PERIOD)
        if slot != self._jitter_slot:
            self._jitter_slot = slot
            self._wobble = jitter * self._random() ** 2
        return self._wobble

    def _is_conforming(self, policer: Policer, size: int, now: float) -> bool:
        """Take `size` tokens if they are there."""
        grown = self._tokens + (now - self._tokens_at) * policer.rate
        self._tokens, self._tokens_at = min(float(policer.bucket), grown), now
        if self._tokens < size:
            return False
        self._tokens -= size
        return True


def _time_through(trace: RateTrace, start: float, size: float) -> float:
    """Return when `size` bytes that begin at `start` have gone through a changing rate."""
    # Counted in whole steps: adding them up as floats could stop short of a boundary for ever.
    index = trace.index(start)
    while True:
        rate, end = trace.at(index)
        room = rate * (end - start)
        if room >= size:
            return start + size / rate
        if room > 0:
            size -= room
            start = end
        index += 1
