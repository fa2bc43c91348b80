"""One WAN of ours to one address of the peer: numbering, round-trip time, loss and health."""

from math import inf
from typing import Final

from multiwanbond.core import prober, train
from multiwanbond.core.capacity import Capacity
from multiwanbond.core.datagram import Address
from multiwanbond.core.frames import Frame, PathAck, Probe, Terms, TrainReport, View
from multiwanbond.core.ledger import Arrivals, Ledger, Settled, gaps_of, round_trip
from multiwanbond.core.limits import LimitWatch, exceeds
from multiwanbond.core.pacer import Pacer
from multiwanbond.core.path_state import Change, PathState, Trigger, next_state
from multiwanbond.core.peer_view import PeerView
from multiwanbond.core.pmtu import ETHERNET, FIRST_ID, PathMtu, SizeProbe
from multiwanbond.core.prober import PROOF_ANSWERS, Prober
from multiwanbond.core.repair import InFlight, Lost
from multiwanbond.core.replay import ReplayWindow
from multiwanbond.core.rtt import DelayClock, OneWayDelay, RttEstimator, ack_patience
from multiwanbond.core.settings import HealthSettings
from multiwanbond.core.terms import terms_of
from multiwanbond.core.timers import earliest

SIGN_OF_LIFE: Final = 0.05
"""Seconds for which anything that comes by a path shows that the line works, while acks are up to
twice as late as they may be: a queue that has suddenly become long delays those as well."""
FULL_QUEUE: Final = 0.02
"""Seconds of queue above which a loss is our own overflow of it, and not held against the line."""
LEAST_STANDING: Final = 0.03
"""Seconds that a standing queue is the least of, at least; half a round trip if that is longer."""
LEAVING_INTERVAL: Final = 0.2
"""Seconds between two probes of a path that leaves, at most: they tell the peer that it does."""
SHORT_OUTAGE: Final = 1.0
RETURN_SHARES: Final = (0.85, 0.5)
"""Share of the rate a path begins with after a silence: a short one, a longer one."""
LONG_OUTAGE: Final = 10.0
"""Seconds of silence after which the line may be another one altogether."""


class Path:
    """Everything known about one path; `bond` decides what is sent on it.

    The path id is the initiator's WAN id at both ends. `wan_id` is what our own sockets call it: at
    the initiator (`is_ours`) the same number, at the responder that of its listening socket.
    """

    __slots__ = (
        "_has_doubted",
        "_limit",
        "_limits",
        "_suspected_at",
        "arrivals",
        "arriving_train",
        "capacity",
        "changes",
        "credit",
        "has_gone",
        "has_link",
        "health",
        "in_flight",
        "is_fit",
        "is_ours",
        "is_resting",
        "is_suspect",
        "leaving_since",
        "ledger",
        "local_host",
        "mtu",
        "one_way",
        "pacer",
        "path_id",
        "peer_view",
        "prober",
        "remote",
        "replay",
        "rtt",
        "state",
        "state_since",
        "suspicions",
        "terms",
        "train",
        "wan_id",
    )

    def __init__(
        self,
        path_id: int,
        *,
        wan_id: int,
        is_ours: bool,
        health: HealthSettings,
        now: float,
        full_datagram: int = ETHERNET,
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
        self.terms = terms_of(health)
        """How much it may be used; the initiator's operator decides, and the peer is told."""
        self._limit = self.terms.max_bandwidth or inf
        self.leaving_since: float | None = None
        """When we began to take our WAN out of the bond; None: it stays."""
        self.has_gone = False
        """True once a path that was leaving has done so. It is kept, because its numbering is:
        should the WAN come back under the same keys, no nonce may be used twice."""
        self.changes: list[Change] = []
        """Transitions since the owner last took them away."""
        self.rtt = RttEstimator()
        self.one_way = OneWayDelay()
        self.capacity = Capacity()
        self.pacer = Pacer(now)
        self.credit = 0.0
        """Bytes that may still leave at this instant; see `refill`."""
        self.train = train.Sent()
        self.arriving_train = train.Arriving()
        self.ledger = Ledger(now)
        self.arrivals = Arrivals()
        self.in_flight = InFlight()
        self.replay = ReplayWindow()
        self.prober = Prober(now)
        self.mtu = PathMtu(full_datagram)
        self.is_fit = True
        """True if the packets that come now fit its datagrams."""
        self.peer_view = PeerView()
        self.is_resting = False
        """True while it is kept in reserve, and others carry the packets."""
        self.is_suspect = False
        """True while acks are overdue: packets go elsewhere, if there is an elsewhere."""
        self.suspicions = 0
        self._suspected_at = now
        self._has_doubted = False
        self._limits = LimitWatch()

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
        """Seconds, without queues; None before the first answer."""
        return self.rtt.base

    @property
    def delay(self) -> float | None:
        """Seconds to the peer, from a zero that all paths of the bond share; None: unknown yet."""
        return self.one_way.smoothed

    @property
    def rate(self) -> float:
        """Bytes a second that the line is believed to deliver, or may be used for if less."""
        return min(self.capacity.measured, self._limit)

    @property
    def weight(self) -> int:
        """The operator's own judgement."""
        return self.terms.weight or 1

    @property
    def is_leaving(self) -> bool:
        """True if nothing new is to be sent by it, unless there is nothing better."""
        return not self.terms.weight

    @property
    def sent_bytes(self) -> int:
        """Bytes of all datagrams that have left."""
        return self.ledger.sent_bytes

    @property
    def has_credit(self) -> bool:
        """True if rate and window let something leave now."""
        return self.credit > 0

    def wait(self, now: float) -> float:
        """Return the seconds until the pacer lets something leave."""
        return self.pacer.wait(now)

    def loss(self, now: float) -> float:
        """Return the share of recent datagrams that were lost, 0 to 1."""
        return self.ledger.loss(now)

    # --- leaving

    def refill(self, now: float) -> None:
        """Find out how much may leave at this instant."""
        room = self.capacity.window - self.ledger.in_flight_bytes
        self.credit = min(self.pacer.credit(self._pace, now), room)

    def on_left(self, octets: int, now: float) -> None:
        """Account for datagrams that leave now, whether there was credit or not."""
        self.credit -= octets
        self.pacer.on_sent(octets, self._pace, now)

    @property
    def _pace(self) -> float:
        """Bytes a second that may leave now."""
        return min(self.capacity.rate, self._limit)

    @property
    def is_full(self) -> bool:
        """True if only an ack lets more leave, however much time passes."""
        return self.ledger.in_flight_bytes >= self.capacity.window

    # --- what happened

    def on_link_up(self, remote: Address, now: float) -> None:
        """The WAN can be used to reach `remote`; it is probed at once."""
        self.has_link = True
        self.has_gone = False
        self.remote = remote
        self.ledger.forget_awaited()
        self._clear_suspicion(now)
        self.capacity = Capacity()
        self.train.want()
        self.prober.probe_now(now)
        self.mtu.on_link_up(remote, now)

    def on_link_lost(self, now: float) -> None:
        """Nothing can be sent on the WAN any more."""
        self.has_link = False
        self._trigger(Trigger.LINK_LOST, now)

    def _agree(self, terms: Terms) -> None:
        self.terms = terms
        self._limit = terms.max_bandwidth or inf

    def on_terms(self, terms: Terms) -> None:
        """The peer told how much it wants its line used; only whose line it is decides."""
        if not self.is_ours:
            self._agree(terms)

    def on_leave(self) -> None:
        """The peer takes its WAN away; only whose WAN it is decides."""
        self.on_terms(self.terms._replace(weight=0))

    def reconfigure(self, health: HealthSettings, now: float) -> None:
        """Go by other limits, and let the peer know what of them concerns it."""
        self.health = health
        self._limits.forget()
        if self.is_ours:
            self._agree(terms_of(health))
            self.leaving_since = None
        self.prober.hurry(now)

    def leave(self, now: float) -> None:
        """Send nothing new by this path of ours, and tell the peer to do the same.

        What is under way still arrives, and the path still carries packets while it is the only
        one.
        """
        if not self.is_leaving:
            self._agree(self.terms._replace(weight=0))
            self.leaving_since = now
            self.prober.hurry(now)

    def on_arrival(self, now: float) -> None:
        """Something new came by this path; if it was believed dead, that is put to the test."""
        if self.state is PathState.DOWN:
            self.prober.hurry(now)

    def on_probe_reply(self, probe_id: int, now: float) -> None:
        """The peer answered a probe."""
        if probe_id & FIRST_ID:
            self.mtu.on_reply(probe_id, now)
            return
        if not self.prober.on_reply(probe_id):
            return
        self._trigger(Trigger.ANSWERED, now)
        if self.state is PathState.RECOVERING and self.prober.answers_in_row >= PROOF_ANSWERS:
            # What was lost while it was Down is what Down has said; it must not count twice.
            self.ledger.forget_losses()
            self._trigger(Trigger.PROVEN, now)

    def on_ack(
        self, ack: PathAck, clock: DelayClock, now: float, *, came_by_this_path: bool
    ) -> list[Lost]:
        """The peer reported what it received on this path; return what is to be sent again.

        An ack that came by another path says nothing about this path's way back, so its timing is
        not counted as this path's round trip.
        """
        acked = self.ledger.acked_sequence
        padded = self.mtu.missing(ack, acked) if self.mtu.last_sequence > acked else 0
        counts_loss = not self._is_congested
        settled = self.ledger.on_ack(ack, now, counts_loss=counts_loss, excused=padded)
        if settled is None:
            return []
        is_of_train = self.train.has(self.ledger.acked_sequence)
        span = max((self.rtt.smoothed or 0.0) / 2, LEAST_STANDING)
        self.one_way.on_sample(clock.unwrap(ack.least_delay), span, now)
        self.prober.on_progress()
        if self.is_suspect:
            # What was lost while the path was silent says nothing about what it can take.
            settled = Settled(settled.received, settled.received)
            self._clear_suspicion(now)
        self._has_doubted = False
        if came_by_this_path and not is_of_train:
            rtt = round_trip(ack, now)
            if rtt is not None:
                self.rtt.on_sample(rtt, now)
        self.capacity.on_ack(
            ack,
            settled,
            self.one_way,
            acked=self.ledger.acked_sequence,
            next_sequence=self.ledger.next_sequence,
            now=now,
        )
        self._judge(now)
        highest = self.ledger.acked_sequence
        gaps = gaps_of(ack, highest)
        lost = self.in_flight.judge(highest, gaps, self.rtt.smoothed or 0.0, now)
        if lost and any(len(each.burst.packet) > self.mtu.safe for each in lost):
            self.mtu.doubt(now)
        return lost

    def on_train_report(self, report: TrainReport, now: float) -> None:
        """The peer told how far a train of ours had spread when it arrived."""
        found = self.train.on_report(report, now)
        if found is not None:
            self.capacity.on_train(found.octets_per_second, now, is_least=found.is_least)

    @property
    def _is_congested(self) -> bool:
        """True if the line's queue is so long that what it loses, it loses by overflowing."""
        return self.one_way.queue > FULL_QUEUE + self.one_way.jitter

    def on_time(self, now: float) -> bool:
        """Count what is overdue; return True if the path has just become suspect."""
        has_failed = self.prober.on_timeout(now, self._interval())
        if has_failed and self.prober.failures_in_row >= self.health.failure_threshold:
            self._trigger(Trigger.SILENT, now)
        if self.mtu.on_time(now, self.ledger.acked_sequence, prober.patience(self.rtt)):
            self.prober.hurry(now)
        doubt_at = self._doubt_at()
        if doubt_at is None or doubt_at > now:
            return False
        self.prober.hurry(now)
        if self.ledger.waiting_since(2) is None:
            # One lost packet is no dead line: the probe that leaves now is the second question.
            self._has_doubted = True
            return False
        self._suspect(now)
        self.mtu.doubt(now)
        return True

    # --- suspicion

    def _doubt_at(self) -> float | None:
        """When an ack that is still missing says something; None while nothing is awaited."""
        if self.is_suspect or self.state is PathState.DOWN:
            return None
        since = self.ledger.waiting_since(2)
        if since is None and not self._has_doubted:
            since = self.ledger.waiting_since(1)
        if since is None:
            return None
        patience = ack_patience(self.rtt)
        until = min(self.arrivals.arrived_at + SIGN_OF_LIFE, since + 2 * patience)
        return max(since + patience, until)

    def on_abandoned(self, now: float) -> bool:
        """The peer says that nothing gets through; believed until an ack shows the contrary.

        Returns:
            True if that was news.
        """
        if self.is_leaving and self.has_link:
            self.on_link_lost(now)
            return True
        if self.is_suspect or self.state is PathState.DOWN:
            return False
        self._suspect(now)
        self.prober.hurry(now)
        return True

    def _suspect(self, now: float) -> None:
        self.is_suspect = True
        self._suspected_at = now
        self.suspicions += 1

    def _clear_suspicion(self, now: float) -> None:
        if self.is_suspect:
            outage = now - self._suspected_at
            self.capacity.on_return(RETURN_SHARES[outage > SHORT_OUTAGE], now)
            if outage > LONG_OUTAGE:
                self.train.want()
        self.is_suspect = False
        self._has_doubted = False

    def _trigger(self, trigger: Trigger, now: float) -> None:
        state = next_state(self.state, trigger)
        if state is self.state:
            return
        self.changes.append(Change(self.state, state, trigger))
        self.state = state
        self.state_since = now
        self._limits.forget()

    # --- health

    def _judge(self, now: float) -> None:
        """Compare with the limits."""
        loss = self.ledger.loss(now)
        is_exceeding = exceeds(self.health, self.rtt.base, self.rtt.jitter, loss)
        crossing = self._limits.judge(self.state, now, is_exceeding=is_exceeding)
        if crossing is not None:
            self._trigger(crossing, now)

    # --- probing

    def start_probe(self, now: float, *, is_idle: bool) -> list[Frame]:
        """Note that a probe leaves now; return it, and beside it what the operator wants."""
        is_calm = (is_idle or self.is_resting) and not self.prober.failures_in_row
        interval = self._interval(is_idle=is_calm)
        if self.is_leaving:
            interval = min(interval, LEAVING_INTERVAL)
        probe_id = self.prober.start_probe(now, prober.patience(self.rtt), interval)
        frames: list[Frame] = [Probe(probe_id), *([self.terms] if self.is_ours else ())]
        if self.peer_view.is_due(self.state, now, is_idle=is_calm):
            frames.append(self._tell_view(now))
        return frames

    def start_padded_probes(self, now: float) -> list[SizeProbe]:
        """Note that those padded probes leave now that are due; return them."""
        if not self.mtu.is_due(now, is_usable=self.is_usable):
            return []
        return self.mtu.start_round(self.ledger.next_sequence, self.loss(now), now)

    def _tell_view(self, now: float) -> View:
        return self.peer_view.tell(
            self.state,
            rtt=self.rtt.smoothed,
            jitter=self.rtt.jitter,
            loss=self.loss(now),
            capacity=self.rate,
            now=now,
        )

    def is_probe_near(self, now: float) -> bool:
        """Say whether a probe of ours, beside an answer that leaves now, saves one of its own.

        Only the end that is called does so, and only while all is well: each end still finds out by
        itself, and by its own time, when nothing gets through.
        """
        if self.is_ours or self.prober.failures_in_row or not self.is_usable:
            return False
        return self.prober.is_due(now + self._interval(is_idle=True) / 6)

    def _interval(self, *, is_idle: bool = False) -> float:
        usual = prober.interval(self.health, self.state, is_ours=self.is_ours, is_idle=is_idle)
        return prober.resting(usual) if self.is_resting and is_idle else usual

    def deadline(self) -> float | None:
        """When `on_time` or a probe is due; None while there is no link."""
        if not self.has_link:
            return None
        mtu_at = self.mtu.raise_at
        if self.mtu.is_busy:  # rarely, and this is asked after every batch
            acked, patience = self.ledger.acked_sequence, prober.patience(self.rtt)
            mtu_at = self.mtu.deadline(acked, patience, is_usable=self.is_usable)
        return earliest((self.prober.deadline(), self._doubt_at(), mtu_at))
