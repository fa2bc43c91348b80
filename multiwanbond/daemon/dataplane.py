"""The packet's journey through the process: one task per file descriptor, one function to flush.

    TUN readable    --> read a batch     --> Endpoint.handle_bursts    --+
    socket readable --> receive a batch  --> Endpoint.handle_datagrams --+--> flush
    deadline        -->                      Endpoint.handle_timeout   --+

`flush` then does all that the endpoint wants done: datagrams to the WANs' sockets, packets to the
TUN device, events to the log, the next deadline to the timer.

Between the wait for a file descriptor and the next one nothing awaits: a batch is one clock
reading, one call into the endpoint and one flush. Batches are bounded, so that a flood on one
descriptor leaves the others, and the timer, their turn.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final, Protocol

import trio

from multiwanbond.core.burst import Burst
from multiwanbond.core.datagram import Address, Received, Transmit
from multiwanbond.core.endpoint import Endpoint
from multiwanbond.core.events import Event
from multiwanbond.linux.udp import UdpStatistics

TUN_BATCH: Final = 64
"""Bursts read at most before the sockets and the timer get their turn."""

SOCKET_BATCH: Final = 32
"""Socket reads at most; each may be a run of datagrams."""

BATCH_BYTES: Final = 512 * 1024
"""Bytes read from either at most: a millisecond's work, for which a ping beside them waits, and
what a processor's cache holds. Beside a flow of 2 to 3 Gbit/s pings took 7 ms (95th percentile),
and with 2 MB 11; with 128 kB 6.5, and the flow lost a fifth."""

SERVER_SOCKET: Final = 0
"""The WAN number under which a server's one listening socket is known to the endpoint."""

_wan_of: Final = attrgetter("wan_id")


class Tun(Protocol):
    """What we need of a TUN device; see `linux.tun.TunDevice`."""

    async def wait_readable(self) -> None: ...
    def read_nowait(self, limit: int = ..., enough: int = ...) -> list[Burst]: ...
    def write_nowait(self, bursts: Sequence[Burst]) -> int: ...


class Udp(Protocol):
    """What we need of a WAN's socket; see `linux.udp.UdpSocket`."""

    @property
    def local(self) -> Address: ...
    async def wait_readable(self) -> None: ...
    def receive_nowait(self, limit: int = ..., enough: int = ...) -> list[Received]: ...
    def send_nowait(self, transmits: Iterable[Transmit]) -> int: ...
    def take_refused(self) -> Mapping[Address, int]: ...
    def statistics(self) -> UdpStatistics: ...
    def close(self) -> None: ...


class Filters(Protocol):
    """What may look at inner packets, change and drop them; quick, and never raising."""

    def outbound(self, bursts: Sequence[Burst]) -> Sequence[Burst]: ...
    def inbound(self, bursts: Sequence[Burst]) -> Sequence[Burst]: ...


class Dataplane:
    """Moves packets between one TUN device, the WANs' sockets and the endpoint."""

    def __init__(
        self,
        endpoint: Endpoint,
        tun: Tun,
        *,
        on_event: Callable[[Event], None],
        on_socket_broken: Callable[[int, OSError], None],
    ) -> None:
        """Prepare; nothing moves before `run`.

        Args:
            on_event: told every event of the endpoint.
            on_socket_broken: told the WAN whose socket failed for good. It is detached already;
                whoever made it may attach another. Neither may call the endpoint: we are in the
                middle of a flush.
        """
        self.endpoint: Final = endpoint
        self._tun = tun
        self._on_event = on_event
        self._on_socket_broken = on_socket_broken
        self._sockets: dict[int, Udp] = {}
        self._nursery: trio.Nursery | None = None
        self._timer = trio.CancelScope()
        self._refused: list[tuple[int, Address, int]] = []
        self._turns = trio.lowlevel.ParkingLot()
        self.filters: Filters | None = None
        """What looks at packets on their way; None for nothing."""
        self.undeliverable_packets = 0
        """Inner packets the TUN device would not take."""
        self.unsent_datagrams = 0
        """Datagrams no socket would take."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Move packets until cancelled, or until the TUN device fails."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                nursery.start_soon(self._carry_out)
                nursery.start_soon(self._keep_time)
                for wan_id, socket in self._sockets.items():
                    nursery.start_soon(self._carry_in, wan_id, socket)
                self.flush()
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._nursery = None

    # Outbound: from the TUN device to the WANs

    async def _carry_out(self) -> None:
        tun, handle_bursts, flush = self._tun, self.endpoint.handle_bursts, self.flush
        while True:
            await tun.wait_readable()
            bursts = tun.read_nowait(TUN_BATCH, BATCH_BYTES)
            if bursts:
                kept = bursts if self.filters is None else self.filters.outbound(bursts)
                handle_bursts(kept, trio.current_time())
                flush()

    # Inbound: from a WAN to the TUN device

    async def _carry_in(self, wan_id: int, socket: Udp) -> None:
        handle_datagrams, flush = self.endpoint.handle_datagrams, self.flush
        while True:
            try:
                await socket.wait_readable()
                received = socket.receive_nowait(SOCKET_BATCH, BATCH_BYTES)
            except trio.ClosedResourceError:
                return  # detached
            except OSError as exc:
                self._drop_socket(wan_id, socket, exc)
                return
            if received:
                handle_datagrams(wan_id, received, trio.current_time())
                flush()

    # Time

    async def _keep_time(self) -> None:
        while True:
            with self._timer:
                await trio.sleep_forever()
            now = trio.current_time()
            deadline = self.endpoint.poll_timeout()
            # A new scope before the flush, which arms it.
            self._timer = trio.CancelScope()
            if deadline is not None and deadline <= now:
                self.endpoint.handle_timeout(now)
                self.flush()
            else:
                self._arm(deadline)
            self._turns.unpark_all()

    async def turn(self) -> None:
        """Return when the task that keeps time has made a round, which this call brings about.

        The others only ever wait for the kernel to say that there is something to read.
        """
        self._timer.deadline = trio.current_time()
        await self._turns.park()

    def _arm(self, deadline: float | None) -> None:
        # Only ever moved forward: moving costs 1.7 µs, and after most batches the deadline has
        # merely receded. The timer then fires early, finds nothing due and sleeps on.
        if deadline is not None and deadline < self._timer.deadline:
            self._timer.deadline = deadline

    # What the endpoint wants done

    def flush(self) -> None:
        """Do all that the endpoint wants done; to be called after every call into it."""
        endpoint = self.endpoint
        # The datagrams live in buffers of the endpoint: each is sent before the next is built.
        for wan_id, transmits in groupby(endpoint.poll_transmit(), _wan_of):
            self._send(wan_id, transmits)
        if self._refused:
            self._tell_refused()
        bursts = endpoint.poll_deliver()
        if bursts and self.filters is not None:
            bursts = self.filters.inbound(bursts)
        if bursts:
            self.undeliverable_packets += self._tun.write_nowait(bursts)
        while (event := endpoint.poll_event()) is not None:
            self._on_event(event)
        self._arm(endpoint.poll_timeout())

    def _send(self, wan_id: int, transmits: Iterable[Transmit]) -> None:
        socket = self._sockets.get(wan_id)
        if socket is not None:
            try:
                unsent = socket.send_nowait(transmits)
                if unsent:
                    self._on_unsent(wan_id, socket, unsent)
            except OSError as exc:
                self._drop_socket(wan_id, socket, exc)
        # What a broken or missing socket leaves over.
        self.unsent_datagrams += sum(_count_datagrams(transmit) for transmit in transmits)

    def _on_unsent(self, wan_id: int, socket: Udp, count: int) -> None:
        self.unsent_datagrams += count
        for destination, octets in socket.take_refused().items():
            self._refused.append((wan_id, destination, octets))

    def _tell_refused(self) -> None:
        """Let the endpoint know what our own interfaces are too narrow for."""
        refused, self._refused = self._refused, []
        now = trio.current_time()
        for wan_id, destination, octets in refused:
            self.endpoint.handle_refused(wan_id, destination, octets, now)

    # Sockets come and go with their WANs

    def attach(self, wan_id: int, socket: Udp) -> None:
        """Send and receive by `socket` for this WAN from now on; an earlier one is closed."""
        self.detach(wan_id)
        self._sockets[wan_id] = socket
        if self._nursery is not None:
            self._nursery.start_soon(self._carry_in, wan_id, socket)

    def detach(self, wan_id: int) -> None:
        """Close this WAN's socket, if it has one; its datagrams are dropped until the next."""
        socket = self._sockets.pop(wan_id, None)
        if socket is not None:
            socket.close()

    def detach_all(self) -> None:
        """Close all sockets."""
        for wan_id in list(self._sockets):
            self.detach(wan_id)

    @property
    def sockets(self) -> Mapping[int, Udp]:
        """The sockets in use now, by WAN."""
        return self._sockets

    def _drop_socket(self, wan_id: int, socket: Udp, exc: OSError) -> None:
        if self._sockets.get(wan_id) is not socket:
            return  # replaced since
        self.detach(wan_id)
        self._on_socket_broken(wan_id, exc)


def _count_datagrams(transmit: Transmit) -> int:
    if not transmit.segment_size:
        return 1
    return -(-len(transmit.data) // transmit.segment_size)
