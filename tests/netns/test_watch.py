"""Changes that a kernel tells of."""

import socket
from collections.abc import Iterator

import pytest
import trio

from multiwanbond.linux.watch import LinkWatch
from tests.linux.namespaces import Namespace, namespaces, skip_without_kernel

pytestmark = pytest.mark.netns


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    skip_without_kernel()
    with namespaces(1) as [made]:
        made.ip("link", "add", "d0", "type", "veth", "peer", "name", "d1")
        made.ip("link", "set", "d0", "up")
        made.ip("link", "set", "d1", "up")
        yield made


async def drained(watch: LinkWatch) -> None:
    """Return when nothing new has come for a while."""
    while True:
        with trio.move_on_after(0.1) as silence:
            await watch.wait_changed()
        if silence.cancelled_caught:
            return


@pytest.mark.parametrize(
    "change",
    [
        ["address", "add", "192.0.2.7/24", "dev", "d0"],
        ["address", "add", "2001:db8::7/64", "dev", "d0"],
        ["link", "set", "d1", "down"],
        ["link", "delete", "d0"],
        ["route", "add", "default", "dev", "d0"],
        ["-6", "route", "add", "default", "dev", "d0"],
    ],
    ids=" ".join,
)
async def test_a_change_ends_the_wait(namespace: Namespace, change: list[str]) -> None:
    async with namespace.run(LinkWatch) as watch:
        await drained(watch)

        namespace.ip(*change)

        with trio.fail_after(5):
            await watch.wait_changed()


async def test_our_own_routes_do_not(namespace: Namespace) -> None:
    async with namespace.run(LinkWatch) as watch:
        await drained(watch)

        namespace.ip("route", "add", "default", "dev", "d0", "table", "77", "protocol", "77")

        with trio.move_on_after(0.2) as silence:
            await watch.wait_changed()
        assert silence.cancelled_caught


async def test_lost_messages_count_as_a_change(namespace: Namespace) -> None:
    async with namespace.run(LinkWatch) as watch:
        await drained(watch)
        shrink(watch)
        for number in range(200):
            namespace.ip("address", "add", f"192.0.2.{number}/32", "dev", "d0")

        with trio.fail_after(5):
            await watch.wait_changed()


def shrink(watch: LinkWatch) -> None:
    """Give the watch so small a buffer that the kernel has to drop messages."""
    watch._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
