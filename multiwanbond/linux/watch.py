"""Hears from the kernel that links, addresses or default routes have changed.

The messages are not decoded: whoever waits looks at everything again anyway, and a look costs less
than the bookkeeping to avoid it.
"""

import errno
import socket
from struct import Struct
from types import TracebackType
from typing import Final, Self

import trio

from .kernel import ROUTE_PROTOCOL

# From <linux/rtnetlink.h>.
_GROUPS: Final = 0x1 | 0x10 | 0x100 | 0x40 | 0x400
"""Links, IPv4 and IPv6 addresses, IPv4 and IPv6 routes."""
_RTM_NEWROUTE, _RTM_DELROUTE = 24, 25
_MESSAGE: Final = Struct("=IHHII")  # length, type, flags, sequence, port
_ROUTE: Final = Struct("=8B")  # family, bits of destination, of source, TOS, table, protocol, ...

_LARGEST_READ: Final = 65536


class LinkWatch:
    """Collects changes from its making on; `async with LinkWatch() as watch: ...`."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._socket.bind((0, _GROUPS))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()

    async def wait_changed(self) -> None:
        """Return when something has changed since the last return; changes come in swarms."""
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                data = self._socket.recv(_LARGEST_READ)
            except OSError as exc:
                if exc.errno != errno.ENOBUFS:
                    raise
                return  # messages were lost: anything may have changed
            if concerns_uplinks(data):
                return


def concerns_uplinks(data: bytes) -> bool:
    """Return whether one read of netlink messages tells of anything but other people's routes.

    A router with a routing daemon changes thousands of specific routes a minute; none of them is
    a WAN's. Our own routes are no news either.
    """
    offset = 0
    while offset + _MESSAGE.size <= len(data):
        length, kind, *_ = _MESSAGE.unpack_from(data, offset)
        if kind not in {_RTM_NEWROUTE, _RTM_DELROUTE}:
            return True
        _, bits, _, _, _, protocol, *_ = _ROUTE.unpack_from(data, offset + _MESSAGE.size)
        if bits == 0 and protocol != ROUTE_PROTOCOL:
            return True
        offset += max(length + 3 & ~3, _MESSAGE.size)
    return False
