"""A bond inside a program: messages instead of packets, and neither a TUN device nor root.

Everything else is the daemon's: the same endpoint, data plane, WANs and listener.
"""

import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final, Self

import trio

from multiwanbond.config.model import Configuration
from multiwanbond.config.runnable import require_runnable
from multiwanbond.core.burst import Burst
from multiwanbond.core.datagram import Address
from multiwanbond.core.endpoint import Endpoint
from multiwanbond.core.events import BondOpened, Event, MtuChanged
from multiwanbond.core.statistics import EndpointStatistics
from multiwanbond.daemon.app import single_error
from multiwanbond.daemon.bring_up import fitting_mtu
from multiwanbond.daemon.dataplane import Dataplane
from multiwanbond.daemon.listener import Listener
from multiwanbond.daemon.machine import Network
from multiwanbond.daemon.measure import measure_ciphers
from multiwanbond.daemon.plan import ClientPlan, Plan, plan_for
from multiwanbond.daemon.report import Report
from multiwanbond.daemon.wans import Wans
from multiwanbond.errors import DatagramError, MessageError, PlatformError

from .addressing import Destination, Directory
from .mailbox import Mailbox
from .messages import HEADERS, MESSAGE_PORT, Message, decode_untrusted, encode, header
from .network import UnprivilegedNetwork
from .tun import MemoryTun

RECEIVE_QUEUE: Final = 1024
"""Messages that may wait to be received, unless another number is asked for."""
EVENT_QUEUE: Final = 256
LINGER: Final = 1.0
"""Seconds for which the end of a bond waits for what was sent to leave."""

logging.getLogger("multiwanbond").addHandler(logging.NullHandler())  # the program decides


@dataclass(frozen=True, slots=True, kw_only=True)
class BondStatistics:
    """What a bond has counted since it was opened."""

    sent_messages: int
    received_messages: int
    """Those that wait to be taken included."""
    overflowed_messages: int
    """Messages that came while the queue of received ones was full, and are lost."""
    foreign_packets: int
    """Packets that came and were no message to us: of another port, address or protocol."""
    missed_events: int
    """Events that came while those before had not been taken, and are lost."""
    endpoint: EndpointStatistics
    """Peers, their paths, and all that was dropped; bytes and rates as `mwb status` has them."""


class Bond:
    """A client's bond with its server, or a server's with all its clients.

    Made by `open_bond`. Iterating over it yields the messages that arrive. Everything belongs to
    one trio thread; any number of its tasks may send and receive.
    """

    def __init__(self, plan: Plan, network: Network, *, port: int, receive_queue: int) -> None:
        self._plan = plan
        self._tun = MemoryTun(self._take_packet)
        self._directory = Directory(plan.tunnel.addresses, plan.endpoint.peers, port)
        self._port = port
        self._mtu = plan.endpoint.inner_mtu
        self._peer_mtus: dict[str, int] = {}
        self._headers: dict[Destination, bytes] = {}
        self._received: Mailbox[Message] = Mailbox(receive_queue)
        self._events: Mailbox[Event] = Mailbox(EVENT_QUEUE)
        self._progress = trio.lowlevel.ParkingLot()
        self._is_closed = False
        self._sent = self._arrived = self._foreign = 0
        self._endpoint = Endpoint(plan.endpoint, entropy=os.urandom, now=trio.current_time())
        self._dataplane = _TellingDataplane(
            self._endpoint,
            self._tun,
            on_event=self._on_event,
            on_socket_broken=lambda wan_id, exc: self._sockets.on_socket_broken(wan_id, exc),
            on_flushed=self._on_flushed,
        )
        self._sockets = self._make_sockets(network)
        self._report = Report(self._sockets.label)

    def _make_sockets(self, network: Network) -> Wans | Listener:
        role = self._plan.role
        if isinstance(role, ClientPlan):
            return Wans(role, network=network, dataplane=self._dataplane)
        return Listener(role, network=network, dataplane=self._dataplane)

    # Sending

    async def send(self, data: bytes, *, to: str | Address | None = None) -> None:
        """Hand over a message, and wait as long as the bond has no room for it.

        There is none while no line carries anything, nor while as much waits as the lines carry in
        a few hundredths of a second. What is handed over travels as a datagram does: at most once,
        seldom lost, perhaps not in order.

        Args:
            data: `largest_message` bytes at most.
            to: a peer's name, an address inside the tunnel, or the `source` of a message. None is
                the only peer.

        Raises:
            MessageError: nobody is reached there, or the message is too long.
            trio.ClosedResourceError: the bond has been closed.
        """
        destination = self._directory.destination(to)
        # Other tasks get their turn when a batch is full: one message a batch costs three times as
        # much (200 us and 60, both ends).
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._has_room(destination):
            self._check(data, destination)
            await self._progress.park()
        self._hand_over(data, destination)

    def send_nowait(self, data: bytes, *, to: str | Address | None = None) -> None:
        """Hand over a message, as `send` does.

        Raises:
            trio.WouldBlock: the bond has no room for it now.
        """
        destination = self._directory.destination(to)
        if not self._has_room(destination):
            self._check(data, destination)
            raise trio.WouldBlock
        self._hand_over(data, destination)

    def largest_message(self, to: str | Address | None = None) -> int:
        """Return how many bytes a message may have; fewer may be once the other end has spoken."""
        return self._largest(self._directory.destination(to))

    def _largest(self, destination: Destination) -> int:
        mtu = self._peer_mtus.get(destination.peer.name, self._mtu)
        return mtu - HEADERS[destination.target.version]

    def _has_room(self, destination: Destination) -> bool:
        key = destination.peer.public_key
        return not self._tun.is_full and self._endpoint.room(key) > self._tun.octets_for(key)

    def _check(self, data: bytes, destination: Destination) -> None:
        if self._is_closed:
            raise trio.ClosedResourceError
        largest = self._largest(destination)
        if len(data) > largest:
            raise MessageError(
                f"A message of {len(data)} bytes is too long: {largest} fit.",
                "Send it in parts, or set tunnel.mtu if all lines carry more.",
            )

    def _hand_over(self, data: bytes, destination: Destination) -> None:
        self._check(data, destination)
        self._tun.push(destination.peer.public_key, encode(self._header(destination), data))
        self._sent += 1

    def _header(self, destination: Destination) -> bytes:
        head = self._headers.get(destination)
        if head is None:
            if len(self._headers) >= 1024:  # answers may go to any number of ports
                self._headers.clear()
            head = self._headers[destination] = header(
                destination.source, self._port, destination.target, destination.port
            )
        return head

    # Receiving

    async def receive(self) -> Message:
        """Return the message that came first, and wait for one if there is none.

        Raises:
            trio.ClosedResourceError: the bond has been closed.
        """
        return await self._received.take()

    def receive_nowait(self) -> Message:
        """Return the message that came first; raises trio.WouldBlock if there is none."""
        return self._received.take_nowait()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        return await self.receive()

    def _take_packet(self, packet: Burst) -> None:
        try:
            data, source, target = decode_untrusted(packet)
        except DatagramError:
            self._foreign += 1
            return
        peer = self._directory.peer_at(source.host)
        if peer is None or target.port != self._port or not self._directory.is_own(target.host):
            self._foreign += 1
            return
        self._arrived += 1
        self._received.put(Message(data=data, peer=peer.name, source=source))

    # What there is to know

    @property
    def peers(self) -> tuple[str, ...]:
        """The peers' names."""
        return self._directory.peers

    @property
    def events(self) -> Mailbox[Event]:
        """What happens to the bond and its paths: `async for event in bond.events`."""
        return self._events

    def is_connected(self, peer: str | None = None) -> bool:
        """Say whether messages reach a peer now; None is the only one."""
        public_key = self._directory.peer(peer).public_key
        return any(
            counted.is_connected and counted.public_key == public_key
            for counted in self._endpoint.statistics().peers
        )

    async def wait_connected(self, peer: str | None = None) -> None:
        """Return once messages reach a peer; None is the only one.

        Raises:
            MessageError: there is none of that name.
            trio.ClosedResourceError: the bond has been closed.
        """
        await trio.lowlevel.checkpoint()
        while not self.is_connected(peer):
            if self._is_closed:
                raise trio.ClosedResourceError
            await self._progress.park()

    def statistics(self) -> BondStatistics:
        """Return everything that was counted."""
        return BondStatistics(
            sent_messages=self._sent,
            received_messages=self._arrived - self._received.dropped,
            overflowed_messages=self._received.dropped,
            foreign_packets=self._foreign,
            missed_events=self._events.dropped,
            endpoint=self._endpoint.statistics(),
        )

    def _on_event(self, event: Event) -> None:
        if isinstance(event, BondOpened | MtuChanged):
            self._peer_mtus[event.peer] = event.inner_mtu
        self._report.on_event(event)
        self._events.put(event)

    def _on_flushed(self) -> None:
        self._progress.unpark_all()

    # From the start to the end

    async def _run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        try:
            with single_error():
                async with trio.open_nursery() as nursery:
                    await nursery.start(self._dataplane.run)
                    await nursery.start(self._sockets.run)
                    task_status.started()
        finally:
            self._say_goodbye()

    async def _drain(self) -> None:
        """Return when what was handed over has left, or can not."""
        with trio.move_on_after(LINGER):
            while self._is_waiting():
                await self._progress.park()

    def _is_waiting(self) -> bool:
        peers = self._endpoint.statistics().peers
        return any(
            self._tun.octets_for(peer.public_key) or (peer.is_connected and peer.queued_bytes)
            for peer in peers
        )

    def _say_goodbye(self) -> None:
        self._is_closed = True
        self._endpoint.close(trio.current_time())
        self._dataplane.flush()
        self._dataplane.detach_all()
        self._sockets.close()
        self._received.close()
        self._events.close()
        self._progress.unpark_all()


class _TellingDataplane(Dataplane):
    """A data plane that tells when something may have changed."""

    def __init__(
        self,
        endpoint: Endpoint,
        tun: MemoryTun,
        *,
        on_event: Callable[[Event], None],
        on_socket_broken: Callable[[int, OSError], None],
        on_flushed: Callable[[], None],
    ) -> None:
        super().__init__(endpoint, tun, on_event=on_event, on_socket_broken=on_socket_broken)
        self._on_flushed = on_flushed

    def flush(self) -> None:
        super().flush()
        self._on_flushed()


@asynccontextmanager
async def open_bond(
    configuration: Configuration,
    *,
    port: int = MESSAGE_PORT,
    receive_queue: int = RECEIVE_QUEUE,
    network: Network | None = None,
) -> AsyncIterator[Bond]:
    """Open a bond for the length of an `async with` block.

    The block begins before the other end is reached; `Bond.wait_connected` and `Bond.send` wait
    for that. At its end, what was sent has a second to leave, and the other end is told.

    Args:
        configuration: what `load_configuration` returned; a client's or a server's.
        port: UDP port inside the tunnel that messages come from and go to.
        receive_queue: messages that may wait to be received; what comes on top is dropped.
        network: the networks around the machine; tests bring their own.

    Raises:
        ConfigFileError: all that the configuration lacks.
        PlatformError: this machine cannot carry the bond (any more).
    """
    configuration = require_runnable(configuration)
    costs = await trio.to_thread.run_sync(measure_ciphers)
    plan = _with_one_server(plan_for(configuration, costs))
    around = network or UnprivilegedNetwork(tunnel=plan.tunnel.name)
    mtu = plan.tunnel.mtu
    if mtu is None:
        mtu = await trio.to_thread.run_sync(fitting_mtu, plan, around)
    plan = replace(plan, endpoint=replace(plan.endpoint, inner_mtu=mtu))
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            bond = Bond(plan, around, port=port, receive_queue=receive_queue)
            await nursery.start(bond._run)
            yield bond
            await bond._drain()
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        failure = group.exceptions[0]
    if failure is not None:
        raise failure  # by itself, as it was raised in the block


def _with_one_server(plan: Plan) -> Plan:
    if plan.standby:
        raise PlatformError(
            "security.peers names several servers, and the library keeps to one.",
            "Leave one there, or let the daemon carry the traffic: it goes from one to another.",
        )
    return plan
