"""A host with an endpoint in it: feeds it as the daemon would, in batches, and obeys its polls."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from multiwanbond.core.burst import Burst, Bytes
from multiwanbond.core.datagram import Address, LinkChange, Received, Transmit
from multiwanbond.core.events import Event

from .inner import InnerHandler
from .packets import check_burst, destination_of, packed
from .world import Timer, World

MOST_IN_A_RUN: Final = 64
"""Datagrams the kernel joins at most (UDP_GRO_CNT_MAX)."""


class Engine(Protocol):
    """The contract of the core (design.md section 3) as far as a host needs it."""

    def handle_bursts(self, bursts: Sequence[Burst], now: float) -> None:
        """Take what the TUN device gave."""

    def handle_datagrams(self, wan_id: int, received: Sequence[Received], now: float) -> None:
        """Take what a socket gave."""

    def handle_link_change(self, wan_id: int, change: LinkChange, now: float) -> None:
        """Take note that a WAN can or cannot be used."""

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""

    def poll_transmit(self) -> Iterable[Transmit]:
        """Return what to send."""

    def poll_deliver(self) -> Sequence[Burst]:
        """Return what to write to the TUN device."""

    def poll_event(self) -> Event | None:
        """Return something that happened, oldest first."""

    def poll_timeout(self) -> float | None:
        """Return when `handle_timeout` is to be called."""


class Arrival(NamedTuple):
    """A datagram at the door of a host."""

    wan_id: int
    data: bytes
    source: Address
    local_host: str


class Host:
    """A machine: inner applications on one side, the network on the other, an engine between.

    Everything that reaches it at one instant is handed to the engine as one batch. `coalesce`
    makes it gather for longer, as interrupt moderation and a busy event loop do.
    """

    def __init__(
        self,
        world: World,
        name: str,
        engine: Engine,
        *,
        inner_hosts: Sequence[str],
        send: Callable[[Transmit], None],
        coalesce: float = 0.0,
    ) -> None:
        self.world: Final = world
        self.name: Final = name
        self.engine: Engine | None = engine
        """None while the host is down."""
        self.inner_hosts: Final = tuple(inner_hosts)
        """Its addresses inside the tunnel."""
        self.events: Final[list[tuple[float, Event]]] = []
        """When the engine reported what."""
        self.strays: Final[Counter[str]] = Counter()
        """Inner packets nobody here waits for, by what is wrong with them."""
        self._inner = {packed(host) for host in inner_hosts}
        self._send = send
        self._coalesce = coalesce
        self._handlers: dict[tuple[int, int], InnerHandler] = {}
        self._inbox: list[Arrival] = []
        self._outbox: list[Burst] = []
        self._is_woken = False
        self._timer = Timer(world, self._on_timer)
        self._rearm()

    def bind(self, protocol: int, port: int, handler: InnerHandler) -> None:
        """Give what is delivered for an inner port to `handler`."""
        self._handlers[protocol, port] = handler

    def send_bursts(self, bursts: Iterable[Burst]) -> None:
        """Write packets as an inner application; the engine gets them in this same instant."""
        self._outbox.extend(bursts)
        self._wake()

    def receive(self, arrival: Arrival) -> None:
        """Take a datagram from the network."""
        if self.engine is not None:
            self._inbox.append(arrival)
            self._wake()

    def change_link(self, wan_id: int, change: LinkChange) -> None:
        """Tell the engine about a WAN."""
        if self.engine is not None:
            self.engine.handle_link_change(wan_id, change, self.world.now)
            self._poll(self.engine)

    def stop(self) -> None:
        """Die without a word, as by SIGKILL: nothing is said, nothing is kept."""
        self.engine = None
        self._inbox.clear()
        self._outbox.clear()
        self._timer.set(None)

    def start(self, engine: Engine) -> None:
        """Come (back) up with a new engine that knows nothing of the old one."""
        self.stop()
        self.engine = engine
        self._rearm()

    def poll(self) -> None:
        """Do what the engine wants, after a test has called it directly."""
        if self.engine is not None:
            self._poll(self.engine)

    def _wake(self) -> None:
        if not self._is_woken:
            self._is_woken = True
            self.world.call_in(self._coalesce, self._serve)

    def _serve(self) -> None:
        """Hand the engine all that has gathered."""
        self._is_woken = False
        engine, now = self.engine, self.world.now
        inbox, self._inbox = self._inbox, []
        outbox, self._outbox = self._outbox, []
        if engine is None:
            return
        for wan_id, received in join_arrivals(inbox):
            engine.handle_datagrams(wan_id, received, now)
            self._poll(engine)
        if outbox:
            engine.handle_bursts(outbox, now)
            self._poll(engine)

    def _on_timer(self) -> None:
        if self.engine is not None:
            self.engine.handle_timeout(self.world.now)
            self._poll(self.engine)

    def _poll(self, engine: Engine) -> None:
        for transmit in engine.poll_transmit():
            self._send(transmit)
        for burst in engine.poll_deliver():
            self._deliver(burst)
        while (event := engine.poll_event()) is not None:
            self.events.append((self.world.now, event))
        self._rearm()

    def _rearm(self) -> None:
        self._timer.set(self.engine.poll_timeout() if self.engine is not None else None)

    def _deliver(self, burst: Burst) -> None:
        check_burst(burst)
        protocol, host, port = destination_of(burst.packet)
        handler = self._handlers.get((protocol, port))
        if host not in self._inner:
            self.strays["wrong host"] += 1
        elif handler is None:
            self.strays["nobody listens"] += 1
        else:
            handler(burst)


def join_arrivals(arrivals: Iterable[Arrival]) -> list[tuple[int, list[Received]]]:
    """Return datagrams as sockets with UDP_GRO give them: per WAN, equal sizes in one read.

    A run is of one sender and one size, but for a last datagram that may be smaller.
    """
    batches: dict[int, list[Received]] = {}
    runs: list[tuple[Received, list[Bytes]]] = []
    open_runs: dict[int, int] = {}
    for wan_id, data, source, local_host in arrivals:
        index = open_runs.get(wan_id)
        if index is not None and _fits(*runs[index], data, source, local_host):
            runs[index][1].append(data)
            continue
        received = Received(data, source, local_host=local_host)
        open_runs[wan_id] = len(runs)
        runs.append((received, [data]))
        batches.setdefault(wan_id, []).append(received)
    for received, parts in runs:
        if len(parts) > 1:
            received.segment_size = len(parts[0])
            received.data = b"".join(parts)
    return list(batches.items())


def _fits(run: Received, parts: list[Bytes], data: bytes, source: Address, local_host: str) -> bool:
    size = len(parts[0])
    return (
        len(parts) < MOST_IN_A_RUN
        and (len(parts) + 1) * size < 1 << 16
        and 0 < len(data) <= size == len(parts[-1])
        and run.source == source
        and run.local_host == local_host
    )
