"""Stands where the daemon has its TUN device: packets come from a program and go to it."""

import sys
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final

import trio

from multiwanbond.core import ip
from multiwanbond.core.burst import Burst

MOST_WAITING: Final = 64
"""Packets handed over and not yet read: one batch of the data plane's."""


class MemoryTun:
    """The data plane's view of a TUN device whose kernel side is `push` and a function."""

    def __init__(self, deliver: Callable[[Burst], None]) -> None:
        """Be empty.

        Args:
            deliver: is given every single packet that arrives; must not raise nor wait.
        """
        self._deliver = deliver
        self._packets: deque[tuple[bytes, Burst]] = deque()
        self._octets: Counter[bytes] = Counter()
        self._readable = trio.lowlevel.ParkingLot()

    @property
    def is_full(self) -> bool:
        """True while `push` must not be called."""
        return len(self._packets) >= MOST_WAITING

    def octets_for(self, public_key: bytes) -> int:
        """Return the bytes of packets for a peer that have not been read yet."""
        return self._octets[public_key]

    def push(self, public_key: bytes, burst: Burst) -> None:
        """Hand over a packet for a peer."""
        self._packets.append((public_key, burst))
        self._octets[public_key] += len(burst.packet)
        self._readable.unpark_all()

    # The data plane's side

    async def wait_readable(self) -> None:
        """Return when a packet was handed over."""
        await trio.lowlevel.checkpoint()
        while not self._packets:
            await self._readable.park()

    def read_nowait(self, limit: int = MOST_WAITING, enough: int = sys.maxsize) -> list[Burst]:
        """Return what was handed over: so many packets at most, or so many bytes and one more."""
        bursts: list[Burst] = []
        octets = 0
        while self._packets and len(bursts) < limit and octets < enough:
            public_key, burst = self._packets.popleft()
            size = len(burst.packet)
            self._octets[public_key] -= size
            octets += size
            bursts.append(burst)
        return bursts

    def write_nowait(self, bursts: Sequence[Burst]) -> int:
        """Deliver packets; return 0, for all are taken."""
        for burst in bursts:
            for packet in ip.split_run(burst):
                self._deliver(packet)
        return 0
