"""What has come and waits to be taken: bounded, and safe to be cancelled at."""

from collections import deque
from typing import Final, Generic, Self, TypeVar

import trio

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """Items in the order they came; whoever puts one in never waits, whoever takes one may.

    Any number of tasks may take; each item goes to one of them.
    """

    def __init__(self, capacity: int) -> None:
        """Be empty, and hold at most so many items."""
        self.capacity: Final = capacity
        self.dropped = 0
        """Items that came while it was full."""
        self._items: deque[Item] = deque()
        self._takers = trio.lowlevel.ParkingLot()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item) -> None:
        """Add an item, or count it as dropped if there is no room."""
        if len(self._items) >= self.capacity:
            self.dropped += 1
            return
        self._items.append(item)
        self._takers.unpark()

    async def take(self) -> Item:
        """Return the oldest item, and wait for one if there is none.

        Raises:
            trio.ClosedResourceError: the bond has been closed.
        """
        await trio.lowlevel.checkpoint()
        while not self._items:
            if self._is_closed:
                raise trio.ClosedResourceError
            await self._takers.park()
        return self._items.popleft()

    def take_nowait(self) -> Item:
        """Return the oldest item.

        Raises:
            trio.WouldBlock: there is none.
        """
        if not self._items:
            raise trio.WouldBlock
        return self._items.popleft()

    def close(self) -> None:
        """Let those who wait, now or later, know that nothing more comes."""
        self._is_closed = True
        self._takers.unpark_all()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        return await self.take()
