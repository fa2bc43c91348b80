"""TUN facts that only a kernel can show: offloads, TCP through them, names in use."""

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from multiwanbond.errors import PlatformError
from multiwanbond.linux.tun import Offload, TunDevice
from tests.linux.inner import tcp_burst
from tests.linux.namespaces import Namespace, namespaces, skip_without_kernel

pytestmark = pytest.mark.netns


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    skip_without_kernel()
    with namespaces(1) as [made]:
        yield made


def open_tun(namespace: Namespace, *, host: int = 1, wants_offload: bool = True) -> TunDevice:
    tun = namespace.run(lambda: TunDevice("mwb0", wants_offload=wants_offload))
    namespace.ip("address", "add", f"10.9.0.{host}/24", "dev", "mwb0")
    namespace.ip("address", "add", f"fd00:9::{host}/64", "dev", "mwb0", "nodad")
    namespace.ip("link", "set", "mwb0", "up")
    return tun


@pytest.mark.parametrize("wants_offload", [True, False])
@pytest.mark.parametrize("address", ["10.9.0.2", "fd00:9::2"])
async def test_a_tcp_transfer_passes_between_two_devices(wants_offload: bool, address: str) -> None:
    skip_without_kernel()
    content = os.urandom(3_000_000)
    with namespaces(2) as [left, right]:
        one = open_tun(left, host=1, wants_offload=wants_offload)
        other = open_tun(right, host=2, wants_offload=wants_offload)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        server = right.run(lambda: socket.create_server((address, 7000), family=family))
        client = left.run(lambda: socket.socket(family))
        received = bytearray()
        sending = threading.Thread(target=send_all, args=(client, (address, 7000), content))
        receiving = threading.Thread(target=receive_all, args=(server, received))

        for thread in (sending, receiving):
            thread.start()
        largest = relay(one, other, receiving)
        sending.join()

        one.close()
        other.close()
    assert received == content
    assert largest > 10 if wants_offload else largest == 1


def send_all(client: socket.socket, address: tuple[str, int], content: bytes) -> None:
    with client:
        client.settimeout(10)
        client.connect(address)
        client.sendall(content)


def receive_all(server: socket.socket, received: bytearray) -> None:
    with server:
        server.settimeout(10)
        connection, _ = server.accept()
        with connection:
            connection.settimeout(10)
            while data := connection.recv(1 << 20):
                received += data


def relay(one: TunDevice, other: TunDevice, until: threading.Thread) -> int:
    """Carry packets both ways until the thread ends; return the segments of the longest run."""
    largest = 0
    while until.is_alive():
        for source, target in ((one, other), (other, one)):
            bursts = source.read_nowait()
            target.write_nowait(bursts)
            largest = max([largest, *(burst.segment_count for burst in bursts)])
        until.join(0.0005)
    return largest


def test_all_offloads_are_agreed_on_this_kernel(namespace: Namespace) -> None:
    tun = open_tun(namespace)

    assert tun.offload is Offload.TCP_AND_UDP
    tun.close()


def test_congestion_marks_are_answered_once_per_run(namespace: Namespace) -> None:
    tun = open_tun(namespace)
    namespace.run(lambda: enable_forwarding())
    run = tcp_burst(
        ("10.9.0.7", 1), ("10.9.0.8", 2), b"x" * 3000, segment_size=1000, flags=0x80 | 0x10
    )

    tun.write_nowait([run])  # the kernel sends it back to us, towards 10.9.0.8
    cwr = [
        bool(burst.packet[33] & 0x80)
        for burst in tun.read_nowait()
        if burst.packet[0] >> 4 == 4 and burst.packet[9] == socket.IPPROTO_TCP
    ]

    assert cwr == [True, False, False]
    tun.close()


def enable_forwarding() -> None:
    for path in ("ip_forward", "conf/all/rp_filter", "conf/all/send_redirects"):
        with open(f"/proc/sys/net/ipv4/{path}", "w") as setting:
            setting.write("1" if path == "ip_forward" else "0")


@pytest.mark.parametrize("name", ["mwb0", "lo"])
def test_a_taken_name_is_refused(namespace: Namespace, name: str) -> None:
    tun = open_tun(namespace)

    with pytest.raises(PlatformError, match=f"already an interface '{name}'"):
        namespace.run(lambda: TunDevice(name))

    tun.close()


def test_a_device_that_somebody_deletes_is_noticed(namespace: Namespace) -> None:
    tun = open_tun(namespace)
    namespace.ip("link", "delete", "mwb0")

    with pytest.raises(PlatformError, match="'mwb0' was deleted"):
        tun.read_nowait()

    tun.close()


def test_the_device_is_gone_after_closing(namespace: Namespace) -> None:
    tun = open_tun(namespace)
    tun.close()

    assert "mwb0" not in namespace.ip("link")


def test_children_do_not_inherit_the_device(namespace: Namespace) -> None:
    tun = open_tun(namespace)

    assert not os.get_inheritable(tun._fd)
    tun.close()


@pytest.mark.parametrize("name", ["", "with space", "a/b", "mwb%d", "sixteen-letters-"])
def test_what_is_no_interface_name_is_refused(name: str) -> None:
    with pytest.raises(PlatformError, match="is no name for an interface"):
        TunDevice(name)
