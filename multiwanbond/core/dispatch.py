"""What leaves when, and by which path: urgent packets at once, then repairs, then flows in turn.

A packet waits in one queue until a path has credit for it, and is numbered only then: what the
queue drops makes no hole, and no packet is stuck behind a line that has just become slow.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from multiwanbond.core.burst import Burst
from multiwanbond.core.classes import UNCLASSIFIED, Classifier
from multiwanbond.core.datagram import Transmit
from multiwanbond.core.duplication import Duplication
from multiwanbond.core.equaliser import AckEqualiser
from multiwanbond.core.fec.encoder import ParityEncoder
from multiwanbond.core.flow import SMALL, Flow, FlowTable
from multiwanbond.core.ip import flow_key, is_pure_ack
from multiwanbond.core.keys import TransportKey
from multiwanbond.core.outbound import Outbound
from multiwanbond.core.pacer import TICK
from multiwanbond.core.path import Path
from multiwanbond.core.path_state import PathState
from multiwanbond.core.queue import FEW, LEAST_LIMIT, TARGET, FairQueue, Piece
from multiwanbond.core.repair import OLDEST, Lost, Relapses
from multiwanbond.core.scheduling import Scheduler, make_scheduler
from multiwanbond.core.scheduling.base import soonest
from multiwanbond.core.settings import EndpointSettings, FecSettings, Priority
from multiwanbond.core.slow_start import AckThinner
from multiwanbond.core.timers import earliest

MOST_URGENT_WAIT: Final = 0.05
"""Seconds that a path may be ahead of its rate and still take urgent packets; if all are further,
these are a flood, and wait like others."""
MOST_WAIT_OF_CLASS: Final = 0.01
"""The same for packets that are urgent only because the operator says so: as many as a line carries
may be, and pass the others while it is not full of them."""
REPAIR_AHEAD: Final = 0.002
"""Seconds that a path may be ahead of its rate and still take a repair (study, section 4.2)."""
REPAIR_LOSS_WEIGHT: Final = 5.0
QUEUE_TIME: Final = 0.1
"""Seconds of all paths' rates together that may wait; CoDel keeps it shorter in the long run."""
ROOM_TIME: Final = TARGET / 2
"""Seconds of all paths' rates together that a sender may let wait who can wait himself. Twice as
long, and CoDel would drop some of it."""
PATIENCE: Final = 5.0
"""Seconds after the loss of a path in which nobody is told to slow down for what had been sent for
it: the queue holds what the bond carried before. Most outages are shorter. A loss here stalls a
download for as long as that queue is, several are needed until it has shrunk, and what the path
could do is missed when it is back."""
RESTORED: Final = 0.9
"""Share of its rate at which a path that is back counts as such."""
_LATENCY_FIRST: Final = Priority.LATENCY_FIRST
MOST_LIMIT: Final = 16 * 1024 * 1024


class Dispatch:
    """The sending half of a bond."""

    __slots__ = (
        "_classifier",
        "_duplication",
        "_encoder",
        "_equaliser",
        "_flows",
        "_gone",
        "_gone_at",
        "_outbound",
        "_paths",
        "_prompt_paths",
        "_queue",
        "_relapses",
        "_repairs",
        "_scheduler",
        "_thinner",
        "_wake_at",
        "largest",
        "repaired_packets",
        "unsendable_packets",
    )

    def __init__(self, settings: EndpointSettings) -> None:
        self.unsendable_packets = 0
        """Packets that came while there was no path or no key at all, or none that takes them."""
        self.largest: int | None = None
        """Bytes of the largest packet that the paths in use carry; None: they carry all that comes.

        What is larger would be swallowed on the way, and be sent again and again in vain."""
        self.repaired_packets = 0
        """Packets that were sent again."""
        self._flows = FlowTable()
        self._scheduler: Scheduler = make_scheduler(settings.routing_mode)
        self._queue: FairQueue[Path] = FairQueue()
        self._repairs: deque[Lost] = deque()
        self._relapses = Relapses()
        self._outbound = Outbound(settings)
        self._classifier = Classifier(settings.classes)
        self._duplication = Duplication(settings.duplication)
        self._encoder: ParityEncoder | None = None
        self._thinner = AckThinner()
        self._equaliser = AckEqualiser()
        self._wake_at: float | None = None
        self._gone: dict[Path, float] = {}  # lost lately, perhaps back -> its rate then
        self._gone_at: float | None = None
        self._paths: Sequence[Path] = ()
        self._prompt_paths: Sequence[Path] = ()
        self._protect(settings.fec)

    def reconfigure(self, settings: EndpointSettings, before: EndpointSettings) -> None:
        """Go by other settings; what waits, and which flow is where, stays."""
        if settings.routing_mode is not before.routing_mode:
            self._scheduler = make_scheduler(settings.routing_mode)
        self._duplication.reconfigure(settings.duplication)
        if settings.classes != before.classes:
            self._classifier = Classifier(settings.classes)
            self._flows.forget_classes()
        self._outbound.compressor.reconfigure(settings)
        self._protect(settings.fec)

    def _protect(self, fec: FecSettings) -> None:
        """Send as much parity as these settings want."""
        if self._encoder is not None and fec.enabled:
            self._encoder.settings = fec
        else:
            self._encoder = ParityEncoder(fec) if fec.enabled else None
        self._outbound.encoder = self._encoder

    def use(self, paths: Sequence[Path]) -> None:
        """Send by these paths from now on; by the healthy ones of them what must be quick."""
        for path in self._paths:
            if path not in paths:
                self._gone[path] = path.rate
                self._gone_at = None  # the next `drain` says when
        self._paths = paths
        self._prompt_paths = [path for path in paths if path.state is PathState.UP] or paths

    @property
    def outbound(self) -> Outbound:
        """Numbers and seals; frames leave through it directly."""
        return self._outbound

    @property
    def queued_bytes(self) -> int:
        """Inner bytes that wait for their turn."""
        return self._queue.octets

    @property
    def room(self) -> int:
        """Bytes that may come now without waiting so long that any are shed; 0 without a path."""
        rate = sum(path.rate for path in self._paths)
        most = max(int(rate * ROOM_TIME), FEW) if self._paths else 0
        return max(most - self._queue.octets, 0)

    @property
    def shed_packets(self) -> int:
        """Packets the queue took out, to tell their senders to slow down."""
        return self._queue.dropped

    @property
    def copied_packets(self) -> int:
        """Packets that left by another path as well."""
        return self._duplication.count

    # --- what is to leave

    def handle_bursts(self, bursts: Iterable[Burst], key: TransportKey | None, now: float) -> None:
        """Send urgent packets, and let the others wait for `drain`."""
        lookup, push = self._flows.lookup, self._queue.push
        if self.largest is not None:
            bursts = self._passing(bursts, self.largest)
        for burst in bursts:
            if key is None or not self._paths:
                self.unsendable_packets += burst.segment_count
                continue
            packet = burst.packet
            flow = lookup(flow_key(packet), now)
            if flow.traffic_class is UNCLASSIFIED:
                flow.traffic_class = self._classifier.classify(flow.key, packet)
            size = len(packet)
            flow.octets += size
            if (size > SMALL or flow.octets == size) and flow.is_tcp:
                self._thinner.on_data(flow, burst, now)
                if flow.is_followed:
                    self._equaliser.on_data(flow, burst, now)
            if flow.is_sparse(size, now) and self._send_urgent(burst, flow, key, now):
                continue
            push(flow, burst, now)

    def _passing(self, bursts: Iterable[Burst], largest: int) -> list[Burst]:
        """Return what the paths carry, and count the rest."""
        kept = []
        for burst in bursts:
            if burst.largest_packet <= largest:
                kept.append(burst)
            else:
                self.unsendable_packets += burst.segment_count
        return kept

    def _send_urgent(self, burst: Burst, flow: Flow, key: TransportKey, now: float) -> bool:
        wish = flow.traffic_class
        paths = self._prompt_paths
        if wish.wans:
            paths = allowed(paths, wish.wans)
        path = self._scheduler.choose_at_once(flow, paths, now)
        is_first = wish.priority is _LATENCY_FIRST
        if path.wait(now) > (MOST_WAIT_OF_CLASS if is_first else MOST_URGENT_WAIT):
            return False
        piece = Piece(burst, 0, burst.segment_count, len(burst.packet))
        is_ack = piece.octets <= SMALL and flow.is_tcp and is_pure_ack(burst.packet)
        octets = self._outbound.send(piece, flow, path, key, now, is_urgent=True, is_ack=is_ack)
        path.on_left(octets, now)
        is_single = not is_ack and not burst.segment_size
        ways = self._duplication.ways_of_urgent(
            path, paths, piece.octets, now, wish=wish.duplicate, is_single=is_single
        )
        if ways:
            self._send_copies(path, ways, key, now)
        return True

    def _send_copies(self, path: Path, ways: Iterable[Path], key: TransportKey, now: float) -> None:
        """Send what left by `path` last by other ways, too."""
        for way in ways:
            way.on_left(self._outbound.send_copy(path.in_flight.latest, way, key, now), now)

    def repair(self, lost: Sequence[Lost]) -> None:
        """Send packets again as soon as paths have credit, urgent ones first."""
        if self.largest is not None:
            lost = [each for each in lost if each.burst.largest_packet <= self.largest]
        urgent = [each for each in lost if each.is_urgent]
        self._repairs.extendleft(reversed(urgent))
        self._repairs.extend(each for each in lost if not each.is_urgent)

    # --- leaving

    def drain(self, key: TransportKey | None, now: float) -> None:
        """Let leave what the paths have credit for."""
        self._wake_at = None
        if key is None or not self._paths:
            return
        self._send_waiting(self._paths, key, now)
        if self._encoder is not None:
            self._send_parity(self._encoder, key, now)

    def _send_parity(self, encoder: ParityEncoder, key: TransportKey, now: float) -> None:
        """Send parity by other paths than what it protects, as far as there are any."""
        for parity, carriers in encoder.take(now):
            others = [path for path in self._prompt_paths if path not in carriers]
            left = others = others or list(self._prompt_paths)
            for each in parity:
                path = soonest(left, now)
                path.on_left(self._outbound.send_parity(each, path, key, now), now)
                left = [other for other in left if other is not path] or others

    def _send_waiting(self, paths: Sequence[Path], key: TransportKey, now: float) -> None:
        if not self._queue and not self._repairs:
            for path in paths:
                path.capacity.note_spare(path.ledger.next_sequence)
            return
        rate = sum(path.rate for path in paths)
        limit = (rate + self._lost_rate(now)) * QUEUE_TIME
        self._queue.limit = min(max(int(limit), LEAST_LIMIT), MOST_LIMIT)
        self._queue.is_patient = bool(self._gone)
        for path in paths:
            path.refill(now)
        self._send_repairs(paths, key, now)
        self._send_in_turn(paths, key, now)
        is_empty = not self._queue
        for path in paths:
            if is_empty or path.has_credit:
                path.capacity.note_spare(path.ledger.next_sequence)
        self._set_wake_up(paths, now)

    def _lost_rate(self, now: float) -> float:
        """Return the bytes a second that were lost with paths so lately that they may be back."""
        if not self._gone:
            return 0.0
        if self._gone_at is None:
            self._gone_at = now
        elif now - self._gone_at > PATIENCE:
            self._gone.clear()
        lost = 0.0
        for path, rate in list(self._gone.items()):
            now_again = path.rate if path in self._paths else 0.0
            lost += max(rate - now_again, 0.0)
            if now_again > RESTORED * rate:
                del self._gone[path]
        return lost

    def _send_repairs(self, paths: Sequence[Path], key: TransportKey, now: float) -> None:
        repairs = self._repairs
        while repairs:
            lost = repairs[0]
            if now - lost.sent_at < OLDEST:
                among = allowed(paths, lost.wans)
                ready = [path for path in among if path.wait(now) <= REPAIR_AHEAD]
                if not ready and not lost.is_urgent:
                    return
                path = soonest(ready or among, now, loss_weight=REPAIR_LOSS_WEIGHT)
                # What is lost for being too much is not to become more.
                loss = 0.0 if path.capacity.is_capped else path.loss(now)
                rtt = path.smoothed_rtt or 0.0
                for _ in range(2 if self._relapses.are_likely(rtt, loss, now) else 1):
                    path.on_left(self._outbound.send_again(lost, path, key, now), now)
                    self.repaired_packets += 1
            repairs.popleft()

    def _send_in_turn(self, paths: Sequence[Path], key: TransportKey, now: float) -> None:
        queue, scheduler, send = self._queue, self._scheduler, self._outbound.send
        duplication = self._duplication

        def choose(flow: Flow) -> Path | None:
            wans = flow.traffic_class.wans
            return scheduler.choose(flow, allowed(paths, wans) if wans else paths, now)

        while True:
            turn = queue.next(choose)
            if turn is None:
                return
            flow_queue, path = turn
            piece = queue.pull(flow_queue, path.credit, now)
            if piece is not None and self._is_too_large(piece):
                self.unsendable_packets += piece.segments
            elif piece is not None:
                path.on_left(send(piece, flow_queue.flow, path, key, now, is_urgent=False), now)
                wish = flow_queue.flow.traffic_class
                if duplication.is_wanted(wish.duplicate):
                    among = allowed(paths, wish.wans)
                    ways = duplication.ways_of_bulk(path, among, piece.segments, now)
                    self._send_copies(path, ways, key, now)

    def _is_too_large(self, piece: Piece) -> bool:
        return self.largest is not None and piece.burst.largest_packet > self.largest

    def _set_wake_up(self, paths: Sequence[Path], now: float) -> None:
        """Wake when a path that is spent has credit again, but not every moment."""
        if not self._queue and not self._repairs:
            return
        # Repairs do not ask whether the window is full: what is missing is not on the line.
        is_any = bool(self._repairs)
        times = [
            path.pacer.next_at
            for path in paths
            if not path.has_credit and (is_any or not path.is_full)
        ]
        if times:
            self._wake_at = max(min(times), now + TICK)

    def pass_on(self, bursts: list[Burst], now: float) -> list[Burst]:
        """Return what to deliver now of packets from the peer: acks for flows of ours may wait."""
        if self._thinner.is_busy:
            bursts = self._thinner.thin(bursts, self._paths, now)
            for over in self._thinner.settled:
                self._equaliser.follow(over, self._paths, now)
            self._thinner.settled.clear()
        if self._equaliser.is_busy:
            bursts = self._equaliser.delay(bursts, self._paths, now)
        return bursts

    def deadline(self) -> float | None:
        """When `drain` or `pass_on` has something to do even if nothing happens."""
        return earliest(
            (
                self._wake_at,
                self._thinner.deadline(),
                self._equaliser.deadline(),
                None if self._encoder is None else self._encoder.deadline(),
            )
        )

    def expire_idle(self, now: float) -> None:
        """Forget flows that have been silent for long."""
        self._flows.expire_idle(now)

    def poll_transmit(self) -> Iterator[Transmit]:
        """Yield what is to be sent now."""
        return self._outbound.poll_transmit()


def allowed(paths: Sequence[Path], wans: frozenset[int]) -> Sequence[Path]:
    """Return the paths that traffic may use which has `wans` to itself; all if none of these is."""
    if not wans:
        return paths
    return [path for path in paths if path.path_id in wans] or paths
