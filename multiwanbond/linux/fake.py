"""TUN devices and UDP sockets in memory, for tests of what stands on them.

They pass the same contract tests as the real ones (tests/linux/test_tun.py, test_udp.py). Delivery
is immediate; delay, rate and queues are the business of `sim`.
"""

import errno
import socket
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Final, Generic, TypeVar

import trio

from multiwanbond.core import ip
from multiwanbond.core.burst import Burst
from multiwanbond.core.datagram import Address, Received, Transmit
from multiwanbond.errors import PlatformError

from .tun import Offload
from .udp import UdpStatistics

Item = TypeVar("Item")


class _Inbox(Generic[Item]):
    """What waits to be read; closing it ends all waiting, as `notify_closing` does."""

    def __init__(self) -> None:
        self.items: deque[Item] = deque()
        self.is_closed = False
        self._changed = trio.Event()

    def put(self, item: Item) -> None:
        self.items.append(item)
        self._changed.set()

    def take(self, limit: int, enough: int, size: Callable[[Item], int]) -> list[Item]:
        taken: list[Item] = []
        octets = 0
        while self.items and len(taken) < limit and octets < enough:
            taken.append(self.items.popleft())
            octets += size(taken[-1])
        return taken

    def close(self) -> None:
        self.is_closed = True
        self._changed.set()

    async def wait(self) -> None:
        await trio.lowlevel.checkpoint()
        while not self.items and not self.is_closed:
            self._changed = trio.Event()
            await self._changed.wait()
        if self.is_closed:
            raise trio.ClosedResourceError


class FakeTun:
    """A TUN device whose kernel side is `feed` and `delivered`."""

    def __init__(self, name: str, *, wants_offload: bool = True) -> None:
        self.name: Final = name
        self.offload: Final = Offload.TCP_AND_UDP if wants_offload else Offload.NONE
        self.is_up = True
        """False: the interface takes nothing, as after `ip link set down`."""
        self.delivered: list[Burst] = []
        """What was written, in order; runs as runs if the device takes them."""
        self._inbox = _Inbox[Burst]()

    def feed(self, bursts: Iterable[Burst]) -> None:
        """Let the kernel route `bursts` into the device."""
        for burst in bursts:
            if burst.segment_size and self.offload is Offload.NONE:
                for packet in ip.split_run(burst):
                    self._inbox.put(packet)
            else:
                self._inbox.put(burst)

    async def wait_readable(self) -> None:
        await self._inbox.wait()

    def read_nowait(self, limit: int = 64, enough: int = sys.maxsize) -> list[Burst]:
        return self._inbox.take(limit, enough, lambda burst: len(burst.packet))

    def write_nowait(self, bursts: Sequence[Burst]) -> int:
        if not self.is_up:
            return sum(burst.segment_count for burst in bursts)
        for burst in bursts:
            if burst.segment_size and self.offload is Offload.NONE:
                self.delivered += ip.split_run(burst)
            else:
                self.delivered.append(burst)
        return 0

    def close(self) -> None:
        self._inbox.close()


class FakeNetwork:
    """Hosts that reach each other by address; no routes, no delay."""

    def __init__(self) -> None:
        self._hosts: list[FakeHost] = []
        self.is_lost: Callable[[Address, Address], bool] = lambda source, destination: False
        """Decides for each datagram whether it vanishes silently between two addresses."""

    def add_host(self, interfaces: Mapping[str, Sequence[str]]) -> "FakeHost":
        """Return a new host with these addresses per interface."""
        host = FakeHost(self, {name: list(hosts) for name, hosts in interfaces.items()})
        self._hosts.append(host)
        return host

    def deliver(self, data: bytes, source: Address, destination: Address, size: int) -> None:
        if self.is_lost(source, destination):
            return
        for host in self._hosts:
            for name, addresses in host.interfaces.items():
                if destination.host in addresses and name not in host.down:
                    host.receive(data, source, destination, name, size)


class FakeHost:
    """One machine of a `FakeNetwork`: its interfaces and the sockets open on it."""

    def __init__(self, network: FakeNetwork, interfaces: dict[str, list[str]]) -> None:
        self.network: Final = network
        self.interfaces: Final = interfaces
        """Addresses by interface; may be changed at any time."""
        self.mtu = 65_536
        """Of all interfaces."""
        self.down: Final = set[str]()
        """Interfaces without link."""
        self.sockets: Final = list[FakeUdpSocket]()
        self._next_port = 40000

    def open_socket(
        self,
        *,
        family: socket.AddressFamily,
        local: Address | None,
        device: str | None = None,
        mark: int | None = None,
        wants_gso: bool = True,
    ) -> "FakeUdpSocket":
        """Return a socket of this host; the arguments and errors are those of `UdpSocket`."""
        if device is not None and device not in self.interfaces:
            raise PlatformError(
                f"There is no interface {device!r} to bind a socket to.", "See 'ip link show'."
            )
        wildcard = "::" if family == socket.AF_INET6 else "0.0.0.0"
        bound = local or Address(wildcard, 0)
        if not ip_address(bound.host).is_unspecified and bound.host not in self._addresses():
            raise PlatformError(
                f"No interface of this machine has the address {bound.host}.",
                "See 'ip address show'.",
            )
        if not bound.port:
            self._next_port += 1
            bound = bound._replace(port=self._next_port)
        if any(other.local == bound and other.device == device for other in self.sockets):
            raise PlatformError(
                f"The UDP address {bound} is in use.",
                f"See 'ss -ulpn sport = :{bound.port}'. End that program or use another port.",
            )
        opened = FakeUdpSocket(
            self, family, bound, device, tells_local=local is not None, has_gso=wants_gso
        )
        self.sockets.append(opened)
        return opened

    def _addresses(self) -> set[str]:
        return {address for addresses in self.interfaces.values() for address in addresses}

    def source_for(self, destination: Address, device: str | None) -> str | None:
        """Return the address a datagram would leave from; None if no interface leads there."""
        target = ip_address(destination.host)
        for name, addresses in self.interfaces.items():
            if name in self.down or device not in {None, name}:
                continue
            for address in addresses:
                mine = ip_address(address)
                if (mine.version, mine.is_loopback) == (target.version, target.is_loopback):
                    return address
        return None

    def receive(
        self, data: bytes, source: Address, destination: Address, interface: str, size: int
    ) -> None:
        for candidate in self.sockets:
            if candidate.accepts(destination, interface):
                candidate.take(data, source, destination.host, size)
                return


class FakeUdpSocket:
    """A socket made by `FakeHost.open_socket`."""

    def __init__(
        self,
        host: FakeHost,
        family: socket.AddressFamily,
        local: Address,
        device: str | None,
        *,
        tells_local: bool,
        has_gso: bool,
    ) -> None:
        self.family: Final = family
        self.local: Final = local
        self.device: Final = device
        self._host = host
        self._is_wildcard = ip_address(local.host).is_unspecified
        self._tells_local = tells_local and self._is_wildcard
        self._is_dual_stack = local.host == "::" and tells_local
        self._has_gso = has_gso
        self._inbox = _Inbox[Received]()
        self._dropped: Counter[str] = Counter()
        self._refused: dict[Address, int] = {}
        self._reads = self._received = self._writes = self._sent = 0

    def accepts(self, destination: Address, interface: str) -> bool:
        if destination.port != self.local.port or self.device not in {None, interface}:
            return False
        if not self._is_wildcard:
            return destination.host == self.local.host
        version = ip_address(destination.host).version
        return self._is_dual_stack or version == ip_address(self.local.host).version

    def take(self, data: bytes, source: Address, local_host: str, size: int) -> None:
        told = local_host if self._tells_local else None
        self._inbox.put(Received(data, source, segment_size=size, local_host=told))

    async def wait_readable(self) -> None:
        await self._inbox.wait()

    def receive_nowait(self, limit: int = 32, enough: int = sys.maxsize) -> list[Received]:
        received = self._inbox.take(limit, enough, lambda read: len(read.data))
        self._reads += len(received)
        self._received += sum(_count(len(item.data), item.segment_size) for item in received)
        return received

    def send_nowait(self, transmits: Iterable[Transmit]) -> int:
        return sum(self._send(transmit) for transmit in transmits)

    def _send(self, transmit: Transmit) -> int:
        data, destination = bytes(transmit.data), transmit.destination
        size = transmit.segment_size if transmit.segment_size < len(data) else 0
        count = _count(len(data), size)
        host = self._host.source_for(destination, self.device)
        if host is None:
            self._dropped[errno.errorcode[errno.ENETUNREACH]] += count
            return count
        length = size or len(data)
        if length + (48 if ":" in host else 28) > self._host.mtu:
            self._dropped[errno.errorcode[errno.EMSGSIZE]] += count
            self._refused[destination] = min(length, self._refused.get(destination, length))
            return count
        if not self._is_wildcard:
            host = self.local.host
        source = Address(transmit.local_host or host, self.local.port)
        deliver = self._host.network.deliver
        if self._has_gso or not size:
            deliver(data, source, destination, size)
            self._writes += 1
        else:
            for start in range(0, len(data), size):
                deliver(data[start : start + size], source, destination, 0)
            self._writes += count
        self._sent += count
        return 0

    def take_refused(self) -> Mapping[Address, int]:
        refused, self._refused = self._refused, {}
        return refused

    def statistics(self) -> UdpStatistics:
        return UdpStatistics(
            reads=self._reads,
            datagrams_received=self._received,
            writes=self._writes,
            datagrams_sent=self._sent,
            dropped=dict(self._dropped),
            is_gso_enabled=self._has_gso,
            gso_failures=0,
        )

    def close(self) -> None:
        if self in self._host.sockets:
            self._host.sockets.remove(self)
        self._inbox.close()


def _count(length: int, size: int) -> int:
    return -(-length // size) if size else 1
