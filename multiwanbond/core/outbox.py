"""Datagrams of one path on their way out, laid end to end so that one system call sends a run."""

from collections.abc import Iterator
from typing import Final

from multiwanbond.core.datagram import Address, Transmit

RUN_BYTES: Final = 65_507
"""Most bytes of one UDP send, a GSO run included (the IPv4 length field less both headers)."""
RUN_DATAGRAMS: Final = 64
"""Most segments of one GSO send: UDP_MAX_SEGMENTS before Linux 6.9."""


class Outbox:
    """Builds runs: equal-size datagrams back to back, the last of a run perhaps shorter.

    `reserve` returns room for one datagram; the caller fills it before the next call. Buffers are
    kept and used again, which is why a `Transmit` is valid only until the next call into the core.
    """

    __slots__ = ("_count", "_finished", "_free", "_size", "_used", "buffer", "view")

    def __init__(self) -> None:
        self._free: list[bytearray] = []
        self._finished: list[tuple[memoryview, int]] = []
        self._open()

    def _open(self) -> None:
        self.buffer = self._free.pop() if self._free else bytearray(RUN_BYTES)
        self.view = memoryview(self.buffer)
        self._used = 0
        self._size = 0
        self._count = 0

    def reserve(self, size: int) -> int:
        """Return the offset in `buffer` of room for a datagram of `size` bytes."""
        start = self._used
        if self._count and (
            size > self._size or self._count == RUN_DATAGRAMS or start + size > RUN_BYTES
        ):
            self._finish()
            start = 0
        if not self._count:
            self._size = size
        self._count += 1
        self._used = start + size
        if size < self._size:
            # A shorter datagram ends its run: counted as full, the run is closed by the next one.
            self._count = RUN_DATAGRAMS
        return start

    def reserve_run(self, size: int, count: int, last: int) -> tuple[int, int]:
        """Return the offset of room for datagrams that follow each other, and for how many.

        Args:
            size: bytes of each but the last.
            count: how many there are.
            last: bytes of the last, `size` at most.
        """
        start = self.reserve(size if count > 1 else last)
        if self._count == RUN_DATAGRAMS:
            return start, 1
        room = min(RUN_DATAGRAMS - self._count, (RUN_BYTES - self._used) // size)
        more = min(count - 1, room)
        self._count += more
        self._used += more * size
        if more == count - 1 and more and last < size:
            self._used -= size - last
            self._count = RUN_DATAGRAMS
        return start, 1 + more

    def _finish(self) -> None:
        self._finished.append((self.view[: self._used], self._size))
        self._open()

    def drain(
        self, destination: Address, wan_id: int, local_host: str | None
    ) -> Iterator[Transmit]:
        """Yield everything reserved since the last call, as runs to one destination."""
        if self._count:
            self._finish()
        finished, self._finished = self._finished, []
        for view, size in finished:
            yield Transmit(
                view,
                destination,
                wan_id=wan_id,
                segment_size=size if len(view) > size else 0,
                local_host=local_host,
            )
            assert isinstance(view.obj, bytearray)
            self._free.append(view.obj)
