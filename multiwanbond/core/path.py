"""One WAN of ours to one address of the peer: numbering, round-trip time, loss and health."""

from typing import Final

from multiwanbond.core import prober
from multiwanbond.core.datagram import Address
from multiwanbond.core.ledger import Arrivals, Ledger, gaps_of, round_trip
from multiwanbond.core.path_state import PathState, Trigger, next_state
from multiwanbond.core.prober import PROOF_ANSWERS, Prober
from multiwanbond.core.repair import FULL_QUEUE, InFlight, Lost
from multiwanbond.core.replay import ReplayWindow
from multiwanbond.core.rtt import QueueDelay, RttEstimator
from multiwanbond.core.settings import HealthSettings
from multiwanbond.core.statistics import PathStatistics
from multiwanbond.core.wire import PathAck

EXCESS_PATIENCE: Final = 1.0
"""Seconds a limit must be exceeded before the path is Degraded: one burst is not a bad line."""
LEAST_SPREAD: Final = 0.02
"""Seconds of jitter granted to every line."""
ACK_GUARD: Final = 0.04
"""Seconds: two feedback intervals of 10 ms, and as much for a busy peer. A 10 ms line is suspected
after 70 ms; with 100 ms more, a call beside the transfer stutters (study, section 5.8)."""
MOST_ACK_PATIENCE: Final = 1.0
EASE_PATIENCE: Final = 3.0
"""Seconds all limits must be kept before it is Up again: longer, so that it does not flap."""


class Change:
    """One transition of a path's state."""

    __slots__ = ("state_from", "state_to", "trigger")

    def __init__(self, state_from: PathState, state_to: PathState, trigger: Trigger) -> None:
        self.state_from = state_from
        self.state_to = state_to
        self.trigger = trigger


class Path:
    """Everything known about one path; `bond` decides what is sent on it.

    The path id is the initiator's WAN id at both ends. `wan_id` is what our own sockets call it: at
    the initiator (`is_ours`) the same number, at the responder that of its listening socket.
    """

    __slots__ = (
        "_has_doubted",
        "_limits_crossed_at",
        "arrivals",
        "changes",
        "has_link",
        "health",
        "in_flight",
        "is_ours",
        "is_suspect",
        "ledger",
        "local_host",
        "path_id",
        "prober",
        "queue_delay",
        "remote",
        "replay",
        "rtt",
        "state",
        "state_since",
        "suspicions",
        "wan_id",
    )

    def __init__(
        self, path_id: int, *, wan_id: int, is_ours: bool, health: HealthSettings, now: float
    ) -> None:
        self.path_id = path_id
        self.is_ours = is_ours
        self.wan_id = wan_id
        self.health = health
        self.remote: Address | None = None
        self.local_host: str | None = None
        self.has_link = False
        self.state = PathState.STARTING
        self.state_since = now
        self.changes: list[Change] = []
        """Transitions since the owner last took them away."""
        self.rtt = RttEstimator()
        self.queue_delay = QueueDelay()
        self.ledger = Ledger(now)
        self.arrivals = Arrivals()
        self.in_flight = InFlight()
        self.replay = ReplayWindow()
        self.prober = Prober(now)
        self.is_suspect = False
        """True while acks are overdue: packets go elsewhere, if there is an elsewhere."""
        self.suspicions = 0
        self._has_doubted = False
        self._limits_crossed_at: float | None = None

    # --- what the schedulers read

    @property
    def is_usable(self) -> bool:
        """True if packets may be sent here while there is a choice."""
        return self.has_link and self.state in (PathState.UP, PathState.DEGRADED)

    @property
    def smoothed_rtt(self) -> float | None:
        """Seconds, our own queue included; None before the first answer."""
        return self.rtt.smoothed

    @property
    def base_rtt(self) -> float | None:
        """Seconds without our own queue; None before the first answer."""
        return self.rtt.base

    def loss(self, now: float) -> float:
        """Return the share of recent datagrams that were lost, 0 to 1."""
        return self.ledger.loss(now)

    @property
    def in_flight_bytes(self) -> int:
        """Bytes on their way."""
        return self.ledger.in_flight_bytes

    @property
    def delivery_rate(self) -> float | None:
        """Bytes a second that lately arrived; None before there was any traffic."""
        return self.ledger.delivery_rate

    # --- what happened

    def on_link_up(self, remote: Address, now: float) -> None:
        """The WAN can be used to reach `remote`; it is probed at once."""
        self.has_link = True
        self.remote = remote
        self.ledger.forget_awaited()
        self._clear_suspicion()
        self.prober.probe_now(now)

    def on_link_lost(self, now: float) -> None:
        """Nothing can be sent on the WAN any more."""
        self.has_link = False
        self._trigger(Trigger.LINK_LOST, now)

    def on_arrival(self, now: float) -> None:
        """Something new came by this path; if it was believed dead, that is put to the test."""
        if self.state is PathState.DOWN:
            self.prober.hurry(now)

    def on_probe_reply(self, probe_id: int, now: float) -> None:
        """The peer answered a probe."""
        if not self.prober.on_reply(probe_id):
            return
        self._trigger(Trigger.ANSWERED, now)
        if self.state is PathState.RECOVERING and self.prober.answers_in_row >= PROOF_ANSWERS:
            # What was lost while it was Down is what Down has said; it must not count twice.
            self.ledger.forget_losses()
            self._trigger(Trigger.PROVEN, now)

    def on_ack(self, ack: PathAck, now: float, *, came_by_this_path: bool) -> list[Lost]:
        """The peer reported what it received on this path; return what is to be sent again.

        An ack that came by another path says nothing about this path's way back, so its timing is
        not counted as this path's round trip.
        """
        self.queue_delay.on_ack(ack, now)
        if not self.ledger.on_ack(ack, now, counts_loss=not self._is_congested):
            return []
        self.prober.on_progress()
        self._clear_suspicion()
        if came_by_this_path:
            rtt = round_trip(ack, now)
            if rtt is not None:
                self.rtt.on_sample(rtt, now)
        self._judge(now)
        highest = self.ledger.acked_sequence
        lost = self.in_flight.judge(highest, gaps_of(ack, highest), self.rtt.smoothed or 0.0, now)
        return [] if self._is_congested else lost

    @property
    def _is_congested(self) -> bool:
        """True if the line's queue is so long that what it loses, it loses by overflowing."""
        return self.queue_delay.seconds > FULL_QUEUE + 2 * self.rtt.jitter

    def on_time(self, now: float) -> bool:
        """Count what is overdue; return True if the path has just become suspect."""
        has_failed = self.prober.on_timeout(now, self._interval())
        if has_failed and self.prober.failures_in_row >= self.health.failure_threshold:
            self._trigger(Trigger.SILENT, now)
        doubt_at = self._doubt_at()
        if doubt_at is None or doubt_at > now:
            return False
        self.prober.hurry(now)
        if self.ledger.waiting_since(2) is None:
            # One lost packet is no dead line: the probe that leaves now is the second question.
            self._has_doubted = True
            return False
        self._suspect()
        return True

    # --- suspicion

    def _doubt_at(self) -> float | None:
        """When an ack that is still missing says something; None while nothing is awaited."""
        if self.is_suspect or self.state is PathState.DOWN:
            return None
        since = self.ledger.waiting_since(2)
        if since is None and not self._has_doubted:
            since = self.ledger.waiting_since(1)
        return None if since is None else since + self._ack_patience()

    def _ack_patience(self) -> float:
        """Return how long an ack may take on a line that works (bonding study, section 4.7)."""
        rtt = self.rtt
        if rtt.smoothed is None:
            return MOST_ACK_PATIENCE
        spread = max(4 * rtt.deviation, LEAST_SPREAD)
        return min(rtt.smoothed + spread + ACK_GUARD, MOST_ACK_PATIENCE)

    def on_abandoned(self, now: float) -> bool:
        """The peer says that nothing gets through; believed until an ack shows the contrary.

        Returns:
            True if that was news.
        """
        if self.is_suspect or self.state is PathState.DOWN:
            return False
        self._suspect()
        self.prober.hurry(now)
        return True

    def _suspect(self) -> None:
        self.is_suspect = True
        self.suspicions += 1

    def _clear_suspicion(self) -> None:
        self.is_suspect = False
        self._has_doubted = False

    def _trigger(self, trigger: Trigger, now: float) -> None:
        state = next_state(self.state, trigger)
        if state is self.state:
            return
        self.changes.append(Change(self.state, state, trigger))
        self.state = state
        self.state_since = now
        self._limits_crossed_at = None

    # --- health

    def _judge(self, now: float) -> None:
        """Compare with the limits; a crossing counts once it has lasted."""
        is_degraded = self.state is PathState.DEGRADED
        if self._exceeds_limits(now) == is_degraded:
            self._limits_crossed_at = None
            return
        if self._limits_crossed_at is None:
            self._limits_crossed_at = now
        patience = EASE_PATIENCE if is_degraded else EXCESS_PATIENCE
        if now - self._limits_crossed_at >= patience:
            self._trigger(Trigger.LIMITS_KEPT if is_degraded else Trigger.LIMITS_EXCEEDED, now)

    def _exceeds_limits(self, now: float) -> bool:
        limits = self.health
        base = self.rtt.base
        return (
            (base is not None and base > limits.max_latency)
            or self.rtt.jitter > limits.max_jitter
            or self.ledger.loss(now) * 100 > limits.max_packet_loss
        )

    # --- probing

    def start_probe(self, now: float, *, is_idle: bool) -> int:
        """Note that a probe leaves now; return its id."""
        is_calm = is_idle and not self.prober.failures_in_row
        return self.prober.start_probe(
            now, prober.patience(self.rtt), self._interval(is_idle=is_calm)
        )

    def _interval(self, *, is_idle: bool = False) -> float:
        return prober.interval(self.health, self.state, is_ours=self.is_ours, is_idle=is_idle)

    def deadline(self) -> float | None:
        """When `on_time` or a probe is due; None while there is no link."""
        if not self.has_link:
            return None
        doubt_at = self._doubt_at()
        probe_at = self.prober.deadline()
        return probe_at if doubt_at is None else min(probe_at, doubt_at)

    def statistics(self, now: float) -> PathStatistics:
        """Return a snapshot."""
        has_rtt = self.rtt.smoothed is not None
        return PathStatistics(
            path_id=self.path_id,
            state=self.state,
            state_since=self.state_since,
            remote=self.remote if self.has_link else None,
            rtt=self.rtt.smoothed,
            jitter=self.rtt.jitter if has_rtt else None,
            loss=self.ledger.loss(now),
            suspicions=self.suspicions,
            sent_datagrams=self.ledger.sent_datagrams,
            sent_bytes=self.ledger.sent_bytes,
            received_datagrams=self.arrivals.datagrams,
            received_bytes=self.arrivals.octets,
        )
