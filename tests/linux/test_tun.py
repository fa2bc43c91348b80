"""The contract of TUN devices, held by the kernel's and by the fake one."""

import socket
from collections.abc import Iterator, Sequence
from typing import Protocol

import pytest
import trio
import trio.testing

from multiwanbond.core.burst import Burst
from multiwanbond.core.ip import split_run
from multiwanbond.linux.fake import FakeTun
from multiwanbond.linux.tun import Offload, TunDevice, parse

from .inner import finished, tcp_burst, udp_burst
from .namespaces import Namespace, namespaces, skip_without_kernel

AnyTun = TunDevice | FakeTun

NEAR = ("10.9.0.1", 5000)
FAR = ("10.9.0.2", 6000)


class Kernel(Protocol):
    """The other side of the device: what applications see."""

    def open_tun(self, *, wants_offload: bool) -> AnyTun: ...
    def send_datagrams(self, payloads: Sequence[bytes]) -> None: ...
    def received_datagrams(self, count: int) -> list[bytes]: ...
    def take_down(self) -> None: ...


class RealKernel:
    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace

    def open_tun(self, *, wants_offload: bool) -> AnyTun:
        tun = self.namespace.run(lambda: TunDevice("mwb0", wants_offload=wants_offload))
        # Without IPv6 on it, the kernel has nothing of its own to send.
        self.namespace.run(lambda: switch_ipv6_off("mwb0"))
        self.namespace.ip("address", "add", "10.9.0.1/24", "dev", "mwb0")
        self.namespace.ip("link", "set", "mwb0", "up")
        self.socket = self.namespace.run(lambda: socket.socket(type=socket.SOCK_DGRAM))
        self.socket.bind(NEAR)
        self.socket.settimeout(5)
        return tun

    def send_datagrams(self, payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            self.socket.sendto(payload, FAR)

    def received_datagrams(self, count: int) -> list[bytes]:
        return [self.socket.recv(65535) for _ in range(count)]

    def take_down(self) -> None:
        self.namespace.ip("link", "set", "mwb0", "down")

    def close(self) -> None:
        if hasattr(self, "socket"):
            self.socket.close()


def switch_ipv6_off(interface: str) -> None:
    with open(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6", "w") as switch:
        switch.write("1")


class MemoryKernel:
    def open_tun(self, *, wants_offload: bool) -> AnyTun:
        self.tun = FakeTun("mwb0", wants_offload=wants_offload)
        return self.tun

    def send_datagrams(self, payloads: Sequence[bytes]) -> None:
        self.tun.feed(udp_burst(NEAR, FAR, payload) for payload in payloads)

    def received_datagrams(self, count: int) -> list[bytes]:
        packets = [packet for burst in self.tun.delivered for packet in split_run(burst)]
        return [finished(packet)[28:] for packet in packets][:count]

    def take_down(self) -> None:
        self.tun.is_up = False


@pytest.fixture(params=[pytest.param("kernel", marks=pytest.mark.netns), "fake"])
def kernel(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    if request.param == "fake":
        yield MemoryKernel()
        return
    skip_without_kernel()
    with namespaces(1) as [namespace]:
        real = RealKernel(namespace)
        yield real
        real.close()


async def read(tun: AnyTun, count: int) -> list[Burst]:
    found: list[Burst] = []
    with trio.fail_after(5):
        while len(found) < count:
            await tun.wait_readable()
            found += tun.read_nowait()
    return found


async def test_packets_of_applications_are_read_in_order(kernel: Kernel) -> None:
    tun = kernel.open_tun(wants_offload=True)
    payloads = [bytes([n]) * (100 + n) for n in range(5)]

    kernel.send_datagrams(payloads)
    bursts = await read(tun, 5)

    assert [finished(burst)[28:] for burst in bursts] == payloads
    assert all(burst.segment_count == 1 for burst in bursts)
    tun.close()


def test_a_dry_device_gives_nothing(kernel: Kernel) -> None:
    tun = kernel.open_tun(wants_offload=True)

    bursts = tun.read_nowait()

    assert bursts == []
    tun.close()


async def test_no_more_than_the_limit_is_read_at_once(kernel: Kernel) -> None:
    tun = kernel.open_tun(wants_offload=True)
    kernel.send_datagrams([b"x"] * 5)

    with trio.fail_after(5):
        await tun.wait_readable()
    first, second = tun.read_nowait(3), tun.read_nowait(3)

    assert (len(first), len(second)) == (3, 2)
    tun.close()


async def test_no_more_is_read_when_there_is_enough(kernel: Kernel) -> None:
    tun = kernel.open_tun(wants_offload=True)
    kernel.send_datagrams([b"x" * 1000] * 5)

    with trio.fail_after(5):
        await tun.wait_readable()
    first, second = tun.read_nowait(64, 2500), tun.read_nowait(64, 2500)

    assert (len(first), len(second)) == (3, 2)
    tun.close()


@pytest.mark.parametrize("wants_offload", [True, False])
def test_a_run_is_delivered_as_its_datagrams(kernel: Kernel, wants_offload: bool) -> None:
    tun = kernel.open_tun(wants_offload=wants_offload)
    payload = b"a" * 1000 + b"b" * 1000 + b"c" * 400

    dropped = tun.write_nowait([udp_burst(FAR, NEAR, payload, segment_size=1000)])

    assert dropped == 0
    assert kernel.received_datagrams(3) == [b"a" * 1000, b"b" * 1000, b"c" * 400]
    tun.close()


def test_packets_with_partial_and_whole_checksums_are_delivered(kernel: Kernel) -> None:
    tun = kernel.open_tun(wants_offload=True)
    partial = udp_burst(FAR, NEAR, b"partial")
    whole = Burst(finished(udp_burst(FAR, NEAR, b"whole")))

    dropped = tun.write_nowait([partial, whole])

    assert dropped == 0
    assert kernel.received_datagrams(2) == [b"partial", b"whole"]
    tun.close()


def test_a_device_that_is_down_drops_and_counts_packets(kernel: Kernel) -> None:
    tun = kernel.open_tun(wants_offload=True)
    kernel.take_down()
    run = tcp_burst(FAR, NEAR, b"x" * 3000, segment_size=1000)

    dropped = tun.write_nowait([run, udp_burst(FAR, NEAR, b"x")])

    assert dropped == 4
    tun.close()


def test_offloads_are_used_only_where_wanted(kernel: Kernel) -> None:
    tun = kernel.open_tun(wants_offload=False)

    assert tun.offload is Offload.NONE
    tun.close()


async def test_closing_wakes_the_waiter(kernel: Kernel) -> None:
    tun = kernel.open_tun(wants_offload=True)

    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await tun.wait_readable()

        await trio.testing.wait_all_tasks_blocked()
        tun.close()
        tun.close()


@pytest.mark.parametrize(("flags", "is_verified"), [(0, False), (2, True)])
def test_a_packet_whose_checksum_was_found_right_is_known_as_such(
    flags: int, is_verified: bool
) -> None:
    """Network cards find it right; no interface of a test can."""
    packet = bytes(finished(udp_burst(NEAR, FAR, b"payload")))
    header = bytes([flags, 0]) + bytes(8)

    burst = parse(header + packet)

    assert burst is not None
    assert (burst.packet, burst.is_checksum_verified) == (packet, is_verified)
