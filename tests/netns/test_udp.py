"""UDP facts that only a kernel can show: GRO, fallbacks from GSO, marks, privileges."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from multiwanbond.core.datagram import Address, Transmit
from multiwanbond.errors import PrivilegeError
from multiwanbond.linux.udp import UdpSocket, has_corrupting_gso
from tests.linux.namespaces import Namespace, join, namespaces, skip_without_kernel

pytestmark = pytest.mark.netns

SERVER = Address("10.200.1.2", 9000)


@pytest.fixture
def pair() -> Iterator[tuple[Namespace, Namespace]]:
    skip_without_kernel()
    with namespaces(2) as [left, right]:
        join(left, right)
        yield left, right


def open_udp(
    namespace: Namespace, local: Address | None = None, *, mark: int | None = None
) -> UdpSocket:
    return namespace.run(lambda: UdpSocket(family=socket.AF_INET, local=local, mark=mark))


async def drain(server: UdpSocket, count: int) -> list[bytes]:
    found: list[bytes] = []
    with trio.fail_after(5):
        while len(found) < count:
            await server.wait_readable()
            for read in server.receive_nowait():
                size = read.segment_size or len(read.data)
                data = bytes(read.data)
                found += [data[at : at + size] for at in range(0, len(data), size)]
    return found


async def test_a_run_is_one_write_and_one_read(pair: tuple[Namespace, Namespace]) -> None:
    client, server = open_udp(pair[0]), open_udp(pair[1], SERVER)

    client.send_nowait([Transmit(b"x" * 1400 * 40, SERVER, wan_id=1, segment_size=1400)])
    await drain(server, 40)

    assert client.statistics().writes == 1
    assert server.statistics().reads == 1
    client.close()
    server.close()


async def test_what_is_too_large_for_the_link_is_refused_and_not_fragmented(
    pair: tuple[Namespace, Namespace],
) -> None:
    pair[0].ip("link", "set", "wan0", "mtu", "1300")
    client, server = open_udp(pair[0]), open_udp(pair[1], SERVER)

    dropped = client.send_nowait([Transmit(b"x" * 2800, SERVER, wan_id=1, segment_size=1400)])
    refused = client.take_refused()
    client.send_nowait([Transmit(b"x" * 2400, SERVER, wan_id=1, segment_size=1200)])
    datagrams = await drain(server, 2)

    assert dropped == 2
    assert refused == {SERVER: 1400}
    assert [len(datagram) for datagram in datagrams] == [1200, 1200]
    assert client.statistics().gso_failures == 1
    assert client.statistics().is_gso_enabled
    client.close()
    server.close()


class SocketOnCardWithoutChecksums:
    """A socket whose device refuses runs with EIO, as network cards without checksums do."""

    def __init__(self, real: socket.socket) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def sendmsg(self, data: Any, controls: Any, flags: int, address: Any) -> int:
        if any(level == 17 for level, _, _ in controls):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return self._real.sendmsg(data, controls, flags, address)


async def test_a_device_that_cannot_segment_is_asked_only_once(
    pair: tuple[Namespace, Namespace],
) -> None:
    client, server = open_udp(pair[0]), open_udp(pair[1], SERVER)
    client._socket = SocketOnCardWithoutChecksums(client._socket)  # type: ignore[assignment]
    run = Transmit(b"x" * 2800, SERVER, wan_id=1, segment_size=1400)

    dropped = client.send_nowait([run, run])
    datagrams = await drain(server, 4)

    assert dropped == 0
    assert len(datagrams) == 4
    assert client.statistics().gso_failures == 1
    assert not client.statistics().is_gso_enabled
    client.close()
    server.close()


def test_rules_see_the_mark(pair: tuple[Namespace, Namespace]) -> None:
    pair[0].ip("rule", "add", "fwmark", "0x77", "prohibit")
    plain, marked = open_udp(pair[0]), open_udp(pair[0], mark=0x77)
    transmit = Transmit(b"x", SERVER, wan_id=1)

    dropped = plain.send_nowait([transmit]), marked.send_nowait([transmit])

    assert dropped == (0, 1)
    assert marked.statistics().dropped == {"EACCES": 1}
    plain.close()
    marked.close()


def test_a_source_address_that_is_gone_drops(pair: tuple[Namespace, Namespace]) -> None:
    client = open_udp(pair[0], Address("0.0.0.0", 9000))

    dropped = client.send_nowait([Transmit(b"x", SERVER, wan_id=0, local_host="10.9.9.9")])

    assert dropped == 1
    client.close()


def test_a_vanished_device_drops(pair: tuple[Namespace, Namespace]) -> None:
    client = pair[0].run(lambda: UdpSocket(family=socket.AF_INET, local=None, device="wan0"))
    pair[0].ip("link", "delete", "wan0")

    dropped = client.send_nowait([Transmit(b"x", SERVER, wan_id=1)])

    assert dropped == 1
    assert client.receive_nowait() == []
    client.close()


def test_the_receive_buffer_holds_bursts(pair: tuple[Namespace, Namespace]) -> None:
    client, server = open_udp(pair[0]), open_udp(pair[1], SERVER)
    run = Transmit(b"x" * 1400 * 40, SERVER, wan_id=1, segment_size=1400)

    client.send_nowait([run] * 60)  # 3.4 MB before the first read

    reads = server.receive_nowait(100)
    assert sum(len(read.data) // 1400 for read in reads) == 2400
    client.close()
    server.close()


UNPRIVILEGED = """
import os, socket
from multiwanbond.linux.udp import UdpSocket
from multiwanbond.linux.tun import TunDevice
from multiwanbond.errors import PrivilegeError
os.setgroups([]); os.setgid(65534); os.setuid(65534)
open_udp = lambda **more: UdpSocket(family=socket.AF_INET, local=None, **more)
for step in (lambda: open_udp(mark=1), lambda: TunDevice("mwb0")):
    try:
        step()
    except PrivilegeError as error:
        print(error)
open_udp()
"""


AS_ANOTHER_MACHINE = """
mount -t tmpfs none /mnt
mknod -m "$1" /mnt/tun c 10 200
mount --bind /mnt/tun /dev/net/tun
shift
exec "$@"
"""


@pytest.mark.parametrize(
    ("mode", "complaint"),
    [
        (
            "666",
            "Creating the interface 'mwb0' is not permitted. "
            "Run as root, or give the process CAP_NET_ADMIN.",
        ),
        (
            "600",
            "Opening /dev/net/tun is not permitted. "
            "Run as root, or let everybody open it, as udev does: 'chmod 666 /dev/net/tun'. "
            "Creating interfaces takes CAP_NET_ADMIN nevertheless.",
        ),
    ],
)
def test_without_privileges_each_step_says_what_is_missing(mode: str, complaint: str) -> None:
    skip_without_kernel()

    machine = ["unshare", "--mount", "sh", "-ec", AS_ANOTHER_MACHINE, "-", mode]
    result = subprocess.run(
        [*machine, sys.executable, "-c", UNPRIVILEGED], capture_output=True, text=True, check=False
    )

    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        "Setting the socket mark 0x1 is not permitted. "
        "Run as root, or give the process CAP_NET_ADMIN.",
        complaint,
    ]
    assert PrivilegeError.exit_code == 77


@pytest.mark.parametrize(
    ("release", "is_bad"),
    [
        ("6.18.44", False), ("7.0.0-12-generic", True), ("7.1", True), ("7.1.4", True),
        ("7.1.5", False), ("7.2.0-rc1", False),
    ],
)  # fmt: skip
def test_kernels_that_garble_runs_are_known(release: str, is_bad: bool) -> None:
    assert has_corrupting_gso(release) is is_bad
