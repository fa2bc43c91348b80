"""Lets the simulator's QUIC run on the wall clock and over a real socket."""

import errno
import os
import select
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from struct import Struct
from typing import Final

from multiwanbond.core.burst import Burst
from multiwanbond.linux.udp import has_corrupting_gso
from multiwanbond.sim.inner import InnerHandler
from multiwanbond.sim.packets import UDP_HEADER, read_udp
from multiwanbond.sim.world import World

# From <linux/udp.h> and <asm-generic/socket.h>; not in `socket`.
_SOL_UDP: Final = 17
_UDP_SEGMENT: Final = 103
_UDP_GRO: Final = 104
_SO_RCVBUFFORCE: Final = 33
_SEGMENT_SIZE: Final = Struct("=H")

# Chosen by us.
_BUFFER: Final = 4 << 20
"""Bytes of receive buffer: 200 ms at 150 Mbit/s, more than a scheduler's whim takes from us."""
_MOST_READS: Final = 16
"""Reads whose datagrams are acknowledged together, so that few processors still keep up."""
_LARGEST_READ: Final = 65536
_ANCILLARY: Final = socket.CMSG_SPACE(4)
_LONGEST_SLEEP: Final = 0.1
_HEADER: Final = bytes([0x45]) + bytes(19 + UDP_HEADER)
"""Stands where a simulated packet has its headers; of them, only the length of IPv4's is read."""


class WallClock(World):
    """A world whose time is `time.monotonic`; things happen at or soon after their instants."""

    def __init__(self) -> None:
        super().__init__(seed=0)
        self.now = time.monotonic()

    def read(self) -> None:
        """Bring `now` up to date."""
        self._move_to(time.monotonic())

    def run_due(self) -> None:
        """Do all that was to happen until now."""
        while self._agenda and self._agenda[0][0] <= self.now:
            self._step()

    def left(self) -> float:
        """Return the seconds until something is to happen, not more than one wants to sleep."""
        if not self._agenda:
            return _LONGEST_SLEEP
        return min(max(0.0, self._agenda[0][0] - time.monotonic()), _LONGEST_SLEEP)


class SocketHost:
    """A host with one conversation, over a UDP socket of the kernel."""

    def __init__(self, world: World, own: socket.socket) -> None:
        """
        Args:
            own: bound, or connected; what is only bound gets connected to whoever speaks first.
        """
        self.world: Final = world
        self.socket: Final = own
        self.heard_at: float | None = None
        """When the far end first said something."""
        self.unsent = 0
        """Datagrams that the kernel did not take."""
        self.is_refused = False
        """True once the far end has closed its socket."""
        self._is_connected = _is_connected(own)
        self._handler: InnerHandler | None = None
        self._buffer = memoryview(bytearray(_LARGEST_READ))
        self._has_gso = not has_corrupting_gso(os.uname().release)
        own.setblocking(False)
        _enlarge(own)
        with suppress(OSError):  # before Linux 5.0 every datagram is a read of its own
            own.setsockopt(_SOL_UDP, _UDP_GRO, 1)

    def bind(self, protocol: int, port: int, handler: InnerHandler) -> None:
        """Give what arrives to `handler`, whatever the port: the kernel knows it better."""
        self._handler = handler

    # --- sending -----------------------------------------------------------------------------

    def send_bursts(self, bursts: Iterable[Burst]) -> None:
        """Write packets to the socket, a run with one system call; lost is what has no room."""
        for burst in bursts:
            self._send(read_udp(burst.packet), burst.segment_size)

    def _send(self, payload: memoryview, size: int) -> None:
        if size and self._has_gso:
            control = [(_SOL_UDP, _UDP_SEGMENT, _SEGMENT_SIZE.pack(size))]
            code = self._try_send(payload, control)
            if code != errno.EIO:
                self.unsent += -(-len(payload) // size) if code else 0
                return
            # This device computes no checksums, so the kernel will never segment for it.
            self._has_gso = False
        step = size or len(payload)
        for start in range(0, len(payload), step):
            self.unsent += bool(self._try_send(payload[start : start + step], []))

    def _try_send(self, payload: memoryview, controls: Sequence[tuple[int, int, bytes]]) -> int:
        """Write once; return 0, or why it failed."""
        try:
            self.socket.sendmsg((payload,), controls)
        except ConnectionRefusedError:
            # An answer to something sent before. Nobody is there to miss this one.
            self.is_refused = True
        except OSError as exc:
            return exc.errno or errno.EIO
        return 0

    # --- receiving ---------------------------------------------------------------------------

    def receive(self) -> None:
        """Hand over what has arrived, datagrams of one size together."""
        assert self._handler is not None
        size, parts = 0, [_HEADER]
        for data, segment in self._drain():
            length = segment or len(data)
            # Like the kernel's, a run of ours ends with its first shorter datagram.
            if len(parts) > 1 and (length != size or len(parts[-1]) % size):
                self._handler(_joined(parts, size))
                parts = [_HEADER]
            size = length
            parts.append(data)
        if len(parts) > 1:
            self._handler(_joined(parts, size))

    def _drain(self) -> list[tuple[bytes, int]]:
        """Return what some reads give, each with the size of its datagrams if it holds several."""
        found = []
        for _ in range(_MOST_READS):
            try:
                length, controls, _, source = self.socket.recvmsg_into((self._buffer,), _ANCILLARY)
            except ConnectionRefusedError:
                self.is_refused = True
                break
            except OSError:
                break
            if not self._is_connected:
                self.socket.connect(source)
                self._is_connected = True
            if length:
                found.append((bytes(self._buffer[:length]), _segment_size(controls)))
        if found and self.heard_at is None:
            self.heard_at = self.world.now
        return found


class Nowhere:
    """The host at the far end, which another process is: here it neither speaks nor hears."""

    def __init__(self, world: World) -> None:
        self.world: Final = world

    def bind(self, protocol: int, port: int, handler: InnerHandler) -> None:
        """Do nothing: nothing arrives here."""

    def send_bursts(self, bursts: Iterable[Burst]) -> None:
        """Do nothing; nobody asks for it."""


def run(clock: WallClock, hosts: Sequence[SocketHost], is_over: Callable[[], bool]) -> None:
    """Let time pass and packets arrive until `is_over()`."""
    by_socket = {host.socket: host for host in hosts}
    while not is_over():
        # Unlike epoll it counts microseconds, and a pacer that wakes late is a slow one.
        readable, _, _ = select.select(by_socket, (), (), clock.left())
        clock.read()
        for own in readable:
            by_socket[own].receive()
        clock.run_due()


def _joined(parts: Sequence[bytes], size: int) -> Burst:
    packet = b"".join(parts)
    if len(packet) - len(_HEADER) <= size:
        return Burst(packet)
    return Burst(packet, segment_size=size, header_length=len(_HEADER), is_checksum_partial=True)


def _segment_size(controls: Sequence[tuple[int, int, bytes]]) -> int:
    for level, kind, data in controls:
        if level == _SOL_UDP and kind == _UDP_GRO:
            return int.from_bytes(data[:4], sys.byteorder)
    return 0


def _is_connected(own: socket.socket) -> bool:
    try:
        own.getpeername()
    except OSError:
        return False
    return True


def _enlarge(own: socket.socket) -> None:
    try:
        own.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    except PermissionError:
        # Up to net.core.rmem_max we are allowed without being root.
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
