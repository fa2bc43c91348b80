"""UDP sockets of the WANs: many datagrams per system call, bound to a device, marked.

The standard library has no sendmmsg; UDP_SEGMENT (one write, many datagrams of equal size) and
UDP_GRO (one read, many datagrams of one sender) do the same and are cheaper in the kernel as well.
"""

import errno
import os
import re
import socket
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from struct import Struct
from typing import Final

import trio

from multiwanbond.core.burst import Bytes
from multiwanbond.core.datagram import Address, Received, Transmit
from multiwanbond.errors import PlatformError, PrivilegeError

# From <linux/udp.h>, <linux/in.h>, <linux/in6.h>, <asm-generic/socket.h>; not all in `socket`.
_SOL_UDP: Final = 17
_UDP_SEGMENT: Final = 103
_UDP_GRO: Final = 104
_IP_PKTINFO: Final = 8
_IP_MTU_DISCOVER: Final = 10
_IPV6_MTU_DISCOVER: Final = 23
_PMTUDISC_PROBE: Final = 3
_SO_BINDTODEVICE: Final = 25
_SO_SNDBUFFORCE: Final = 32
_SO_RCVBUFFORCE: Final = 33
_SO_MARK: Final = 36
_IN_PKTINFO: Final = Struct("=i4s4s")  # interface index, source to use, destination seen
_IN6_PKTINFO: Final = Struct("=16sI")  # address, interface index
_SEGMENT_SIZE: Final = Struct("=H")

# Chosen by us.
_BUFFER: Final = 8 << 20
"""Bytes of socket buffer asked for: 60 ms at 1 Gbit/s, the longest our own tasks may take."""
_LARGEST_READ: Final = 65536
_ANCILLARY: Final = socket.CMSG_SPACE(4) + socket.CMSG_SPACE(_IN6_PKTINFO.size)
_MAPPED: Final = "::ffff:"

_NETWORK_ERRORS: Final = frozenset(
    {
        # No room: in the socket's buffer, in the device's queue.
        errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM,
        # No way there: routing, the interface, or our address on it is gone.
        errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.ENODEV,
        errno.ENXIO, errno.EADDRNOTAVAIL, errno.EINVAL,
        # A packet filter or a "prohibit" route says no.
        errno.EPERM, errno.EACCES,
        # An ICMP answer to something sent before; a datagram that does not fit the path.
        errno.ECONNREFUSED, errno.EMSGSIZE, errno.EIO,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class UdpStatistics:
    """What a socket has moved; reads and writes against datagrams show how well GRO and GSO do."""

    reads: int
    datagrams_received: int
    writes: int
    datagrams_sent: int
    dropped: Mapping[str, int]
    """Datagrams that could not be sent, by the kernel's reason ("EAGAIN": buffer full)."""
    is_gso_enabled: bool
    gso_failures: int
    """Writes that had to be repeated datagram by datagram."""


class UdpSocket:
    """One non-blocking UDP socket: of a WAN (bound to its device), or of a server."""

    def __init__(
        self,
        *,
        family: socket.AddressFamily,
        local: Address | None,
        device: str | None = None,
        mark: int | None = None,
        wants_gso: bool = True,
    ) -> None:
        """Open and bind the socket.

        Args:
            family: AF_INET or AF_INET6. With AF_INET6 and the local host "::" both families are
                served; IPv4 addresses look like IPv4 addresses all the same.
            local: where to listen; None: any address, a port of the kernel's choice. With a
                wildcard host each `Received` says which address of ours it was sent to.
            device: the only interface to send and receive by.
            mark: the mark that routing rules see; needs CAP_NET_ADMIN.
            wants_gso: False sends every datagram by itself.

        Raises:
            PrivilegeError: marks, low ports, or this device are not for us.
            PlatformError: address in use or not ours, no such device, no IPv6.
        """
        self.family: Final = family
        self._is_dual_stack = family == socket.AF_INET6 and local is not None and local.host == "::"
        try:
            self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        except OSError as exc:
            raise _explain_family(family, exc) from exc
        try:
            self._configure(device, mark)
            self._bind(local)
        except BaseException:
            self._socket.close()
            raise
        self._is_gso_enabled = wants_gso and self._has_gso()
        self._buffers: list[memoryview] = []
        self._sources: dict[tuple[str, int], Address] = {}
        self._local_hosts: dict[bytes, str] = {}
        self._reads = self._datagrams_received = 0
        self._writes = self._datagrams_sent = self._gso_failures = 0
        self._dropped: Counter[int] = Counter()
        self._refused: dict[Address, int] = {}
        self._refused_size = 0

    @property
    def local(self) -> Address:
        """The address the socket is bound to."""
        host, port = self._socket.getsockname()[:2]
        return Address(host, port)

    async def wait_readable(self) -> None:
        """Return when a datagram can be received."""
        await trio.lowlevel.wait_readable(self._socket)

    def close(self) -> None:
        """Close the socket; waiters get `trio.ClosedResourceError`. Closing twice is fine."""
        if self._socket.fileno() >= 0:
            with suppress(RuntimeError):  # raised outside trio, where nobody can be waiting
                trio.lowlevel.notify_closing(self._socket)
        self._socket.close()

    def statistics(self) -> UdpStatistics:
        """Return the counters since the socket was opened."""
        names = errno.errorcode
        return UdpStatistics(
            reads=self._reads,
            datagrams_received=self._datagrams_received,
            writes=self._writes,
            datagrams_sent=self._datagrams_sent,
            dropped={names.get(number, str(number)): n for number, n in self._dropped.items()},
            is_gso_enabled=self._is_gso_enabled,
            gso_failures=self._gso_failures,
        )

    # Receiving

    def receive_nowait(self, limit: int = 32, enough: int = sys.maxsize) -> list[Received]:
        """Return what has arrived; the data is valid until the next call.

        Never raises for what the network does.

        Args:
            limit: reads at most.
            enough: bytes from which on no more is read.
        """
        received: list[Received] = []
        octets = 0
        buffers, sources = self._buffers, self._sources
        recvmsg_into = self._socket.recvmsg_into
        for _ in range(limit):
            index = len(received)
            if index == len(buffers):
                buffers.append(memoryview(bytearray(_LARGEST_READ)))
            buffer = buffers[index]
            try:
                length, controls, _, raw = recvmsg_into((buffer,), _ANCILLARY)
            except OSError as exc:
                if exc.errno in _NETWORK_ERRORS and exc.errno != errno.EAGAIN:
                    continue  # reading a pending error clears it
                if exc.errno == errno.EAGAIN:
                    break
                raise
            key = raw[:2]
            source = sources.get(key)
            if source is None:
                source = self._remember_source(key)
            size, local_host = self._read_controls(controls) if controls else (0, None)
            is_run = 0 < size < length
            self._datagrams_received += -(-length // size) if is_run else 1
            received.append(
                Received(
                    buffer[:length],
                    source,
                    segment_size=size if is_run else 0,
                    local_host=local_host,
                )
            )
            octets += length
            if octets >= enough:
                break
        self._reads += len(received)
        return received

    def _remember_source(self, key: tuple[str, int]) -> Address:
        """Return the address of a sender; the same object again as long as few others write."""
        if len(self._sources) >= 1024:  # strangers can send from as many addresses as they like
            self._sources.clear()
        source = self._sources[key] = Address(key[0].removeprefix(_MAPPED), key[1])
        return source

    def _read_controls(self, controls: list[tuple[int, int, bytes]]) -> tuple[int, str | None]:
        """Return the segment size of a joined read (0: none) and our address it was sent to."""
        size, local_host = 0, None
        for level, kind, data in controls:
            if level == _SOL_UDP and kind == _UDP_GRO:
                size = int.from_bytes(data[:4], sys.byteorder)
            elif level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
                local_host = self._local_host(data[4:8])
            elif level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
                local_host = self._local_host(data[:16])
        return size, local_host

    def _local_host(self, packed: bytes) -> str:
        host = self._local_hosts.get(packed)
        if host is None:
            family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
            host = socket.inet_ntop(family, packed).removeprefix(_MAPPED)
            self._local_hosts[packed] = host  # bounded by our own addresses
        return host

    # Sending

    def send_nowait(self, transmits: Iterable[Transmit]) -> int:
        """Send everything; return how many datagrams the kernel did not take.

        Never raises for what the network does. Nothing is kept for later: a datagram that cannot
        leave now is counted as dropped, and the core learns of it by the missing ack.
        """
        dropped = 0
        for transmit in transmits:
            data, size = transmit.data, transmit.segment_size
            address = self._destination(transmit.destination)
            controls = self._source_control(transmit.local_host) if transmit.local_host else []
            if 0 < size < len(data):
                dropped += self._send_run(data, size, controls, address)
            else:
                dropped += self._send_one(data, controls, address)
            if self._refused_size:
                self._note_refused(transmit.destination)
        return dropped

    def take_refused(self) -> Mapping[Address, int]:
        """Return of what size the smallest datagram was that did not fit our own interface.

        By destination, since the last call.
        """
        refused, self._refused = self._refused, {}
        return refused

    def _note_refused(self, destination: Address) -> None:
        least = min(self._refused_size, self._refused.get(destination, self._refused_size))
        self._refused[destination] = least
        self._refused_size = 0

    def _destination(self, destination: Address) -> tuple[str, int]:
        if self._is_dual_stack and ":" not in destination.host:
            return _MAPPED + destination.host, destination.port
        return destination

    def _source_control(self, host: str) -> list[tuple[int, int, bytes]]:
        if self.family == socket.AF_INET:
            packed = _IN_PKTINFO.pack(0, socket.inet_aton(host), bytes(4))
            return [(socket.IPPROTO_IP, _IP_PKTINFO, packed)]
        name, _, scope = (host if ":" in host else _MAPPED + host).partition("%")
        index = socket.if_nametoindex(scope) if scope else 0
        packed = _IN6_PKTINFO.pack(socket.inet_pton(socket.AF_INET6, name), index)
        return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, packed)]

    def _send_run(
        self,
        data: Bytes,
        size: int,
        controls: list[tuple[int, int, bytes]],
        address: tuple[str, int],
    ) -> int:
        count = -(-len(data) // size)
        if self._is_gso_enabled:
            segment = (_SOL_UDP, _UDP_SEGMENT, _SEGMENT_SIZE.pack(size))
            code = self._try_send(data, [*controls, segment], address)
            if not code:
                self._datagrams_sent += count
                return 0
            if code not in {errno.EIO, errno.EMSGSIZE, errno.EINVAL}:
                self._dropped[code] += count
                return count
            self._gso_failures += 1
            if code == errno.EIO:
                # This device computes no checksums, so the kernel will never segment for it.
                self._is_gso_enabled = False
        view = memoryview(data)
        return sum(
            self._send_one(view[start : start + size], controls, address)
            for start in range(0, len(data), size)
        )

    def _send_one(
        self, data: Bytes, controls: list[tuple[int, int, bytes]], address: tuple[str, int]
    ) -> int:
        code = self._try_send(data, controls, address)
        if code:
            self._dropped[code] += 1
            if code == errno.EMSGSIZE:
                self._refused_size = min(len(data), self._refused_size or len(data))
            return 1
        self._datagrams_sent += 1
        return 0

    def _try_send(
        self, data: Bytes, controls: list[tuple[int, int, bytes]], address: tuple[str, int]
    ) -> int:
        """Write once; return 0, or the errno of what the network had against it."""
        try:
            self._socket.sendmsg((data,), controls, 0, address)
        except OSError as exc:
            if exc.errno is None or exc.errno not in _NETWORK_ERRORS:
                raise
            if exc.errno == errno.ECONNREFUSED:
                # An old ICMP answer, reported instead of sending. It is cleared now.
                with suppress(OSError):
                    self._socket.sendmsg((data,), controls, 0, address)
                    self._writes += 1
                    return 0
            return exc.errno
        self._writes += 1
        return 0

    # Setting up

    def _has_gso(self) -> bool:
        if has_corrupting_gso(os.uname().release):
            return False
        try:
            self._socket.setsockopt(_SOL_UDP, _UDP_SEGMENT, 0)
        except OSError:
            return False
        return True

    def _configure(self, device: str | None, mark: int | None) -> None:
        if device is not None:
            self._bind_to_device(device)
        if mark is not None:
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_MARK, mark)
            except PermissionError as exc:
                raise PrivilegeError(
                    f"Setting the socket mark {mark:#x} is not permitted.",
                    "Run as root, or give the process CAP_NET_ADMIN.",
                ) from exc
        self._forbid_fragments()
        self._enlarge(_SO_RCVBUFFORCE, socket.SO_RCVBUF)
        self._enlarge(_SO_SNDBUFFORCE, socket.SO_SNDBUF)
        with suppress(OSError):  # before Linux 5.0 every datagram is a read of its own
            self._socket.setsockopt(_SOL_UDP, _UDP_GRO, 1)

    def _forbid_fragments(self) -> None:
        """Send every datagram whole or not at all, whatever the kernel believes of the path.

        What passes the path is the core's to find out (RFC 8899): an ICMP message that says so may
        be forged, or be dropped on the way, and fragments are dropped by many a NAT.
        """
        set_option = self._socket.setsockopt
        set_option(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
        if self.family == socket.AF_INET6:
            set_option(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)

    def _bind_to_device(self, device: str) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, device.encode() + b"\0")
        except PermissionError as exc:
            raise PrivilegeError(
                f"Binding a socket to the interface {device!r} is not permitted.",
                "Run as root, or give the process CAP_NET_RAW.",
            ) from exc
        except OSError as exc:
            raise PlatformError(
                f"There is no interface {device!r} to bind a socket to.", "See 'ip link show'."
            ) from exc

    def _enlarge(self, forced: int, plain: int) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, forced, _BUFFER)
        except PermissionError:
            # Up to net.core.rmem_max and wmem_max we are allowed without being root.
            self._socket.setsockopt(socket.SOL_SOCKET, plain, _BUFFER)

    def _bind(self, local: Address | None) -> None:
        wildcard = "::" if self.family == socket.AF_INET6 else "0.0.0.0"
        address = local or Address(wildcard, 0)
        set_option = self._socket.setsockopt
        if self.family == socket.AF_INET6:
            set_option(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not self._is_dual_stack))
        if local is not None and local.host == wildcard:
            # The answer must leave from the address that was spoken to, or a NAT in between
            # will not know it.
            if self.family == socket.AF_INET6:
                set_option(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            else:
                set_option(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        try:
            self._socket.bind(address)
        except OSError as exc:
            raise _explain_bind(address, exc) from exc


def has_corrupting_gso(release: str) -> bool:
    """Return whether this kernel release garbles runs whose segments are all of equal length."""
    numbers = [int(number) for number in re.findall(r"\d+", release)[:3]]
    return [7, 0] <= numbers < [7, 1, 5]


def _explain_family(family: socket.AddressFamily, exc: OSError) -> PlatformError:
    if exc.errno == errno.EAFNOSUPPORT and family == socket.AF_INET6:
        return PlatformError(
            "This kernel has no IPv6.", "Use IPv4 addresses only, such as '0.0.0.0:9000'."
        )
    return PlatformError(f"Opening a UDP socket failed: {exc.strerror}.", "See 'ulimit -n'.")


def _explain_bind(address: Address, exc: OSError) -> PlatformError:
    match exc.errno:
        case errno.EADDRINUSE:
            return PlatformError(
                f"The UDP address {address} is in use.",
                f"See 'ss -ulpn sport = :{address.port}'. End that program or use another port.",
            )
        case errno.EADDRNOTAVAIL:
            return PlatformError(
                f"No interface of this machine has the address {address.host}.",
                "See 'ip address show'.",
            )
        case errno.EACCES | errno.EPERM:
            return PrivilegeError(
                f"Listening on {address} is not permitted.",
                "Ports below 1024 need root or CAP_NET_BIND_SERVICE.",
            )
    return PlatformError(f"Binding to {address} failed: {exc.strerror}.", "See 'ip address show'.")
