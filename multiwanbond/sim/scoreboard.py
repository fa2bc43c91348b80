"""Runs the standard scenarios through real endpoints and measures what a user would notice.

Each scenario runs twice: over the bond, and over its best line alone without a tunnel (with the
tunnel's header counted, so that 1.00 is what a perfect bond of one line would give).
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from multiwanbond.core.datagram import Address
from multiwanbond.core.settings import RoutingMode

from . import quic
from .bbr import Bbr
from .bonded import INNER_MTU, Bonded, Client
from .congestion import Controller, Cubic
from .inner import PlainHost, plain_line
from .links import LinkSettings, RateTrace
from .network import WanLinks
from .scenarios import Happening, Scenario, play
from .tcp import Transfer
from .traffic import Stream
from .world import World

OUTER_MTU: Final = 1500
TUNNEL_HEADER: Final = OUTER_MTU - INNER_MTU
_TCP_HEADERS: Final = 52
"""IPv4 and TCP, timestamps on."""
_QUIC_PACKET: Final = quic.PAYLOAD + 28
"""Bytes of a full inner packet of QUIC, the IPv4 and UDP headers included."""

# Chosen by us.
SECONDS: Final = 4.0
"""Simulated by default; each costs up to a second of CPU, and 1 s shows a ramp."""
AFTER_INCIDENT: Final = 2.0
"""A returned line must carry traffic by then, so no shorter run shows that it does."""
_WARM_UP: Final = 1.0
_WARM_UP_SHARE: Final = 0.25
_IDLE: Final = 1.0
"""The sparse flow has the bond for itself that long."""
_SPARSE_SIZE: Final = 160
_SPARSE_INTERVAL: Final = 0.02
_GRACE: Final = 1.0
"""Sparse packets younger than this at the end may be on their way, and are not judged."""
_RAMP_WINDOW: Final = 0.2
_RAMP_STEP: Final = 0.05
_RAMPED: Final = 0.9


Bulk = Transfer | quic.QuicTransfer


class InnerSender(Enum):
    """The congestion control of the bulk flows inside the bond."""

    CUBIC = "cubic"
    BBR = "bbr"

    @property
    def controller(self) -> Callable[[], Controller]:
        """What makes a controller of this kind for TCP."""
        match self:
            case InnerSender.CUBIC:
                return Cubic
            case InnerSender.BBR:
                return Bbr

    @property
    def quic_controller(self) -> Callable[[], Controller]:
        """What makes a controller of this kind for QUIC."""
        return quic.PacedCubic if self is InnerSender.CUBIC else self.controller


class Traffic(Enum):
    """What the bulk flows inside the bond are."""

    TCP = "tcp"
    QUIC = "quic"

    @property
    def packet(self) -> int:
        """Bytes of a full inner packet."""
        return INNER_MTU if self is Traffic.TCP else _QUIC_PACKET

    @property
    def payload_share(self) -> float:
        """Share of a line's bytes that is left for the streams after all headers."""
        payload = INNER_MTU - _TCP_HEADERS if self is Traffic.TCP else quic.CHUNK
        return payload / (self.packet + TUNNEL_HEADER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How every scenario is to be run."""

    sender: InnerSender = InnerSender.CUBIC
    traffic: Traffic = Traffic.TCP
    mode: RoutingMode = RoutingMode.ADAPTIVE
    flows: int = 1
    """Bulk flows at once."""
    is_upload: bool = False
    """True: from the client to the server."""
    seconds: float | None = None
    """Simulated; None: `default_seconds` of each scenario."""
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseFigures:
    """How a packet of 160 bytes every 20 ms fared; one-way delays, None where nothing arrived."""

    idle_p95: float | None
    """Before the bulk flows began."""
    p50: float | None
    p95: float | None
    p99: float | None
    loss: float
    """Share of its packets that did not arrive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one scenario gave; rates in bytes of the streams per second."""

    name: str
    seconds: float
    """Simulated, from the first SYN."""
    goodput: float
    """All flows together, after the warm-up."""
    ceiling: float
    """What the lines could carry meanwhile after all headers."""
    best_line: int
    """Position of the best single line, from 1."""
    best_line_goodput: float
    ramp: float | None
    """Seconds from the first SYN to 90 % of the final rate; None: never."""
    resent: int
    """Packets' worth of the streams that their senders sent again."""
    timeouts: int
    """Retransmission timeouts, or QUIC's probe timeouts."""
    longest_stall: float
    """Longest time that one of the streams did not grow, after the warm-up."""
    sparse: SparseFigures

    @property
    def norm(self) -> float:
        """Goodput as a share of the ceiling."""
        return self.goodput / self.ceiling

    @property
    def ratio(self) -> float | None:
        """Goodput over that of the best single line; None if that carried nothing."""
        return self.goodput / self.best_line_goodput if self.best_line_goodput else None


def default_seconds(scenario: Scenario) -> float:
    """Return how long a run must be to show the scenario's first incident and its end."""
    ends = [happening.start + happening.duration for happening in scenario.happenings]
    return max(SECONDS, min(ends) + AFTER_INCIDENT) if ends else SECONDS


def measure(name: str, scenario: Scenario, plan: Plan) -> Figures:
    """Run one scenario over the bond and over its best line alone."""
    seconds = default_seconds(scenario) if plan.seconds is None else plan.seconds
    bonded = Bonded(plan.seed, wans=scenario.wans, mode=plan.mode)
    bonded.connect()
    world, client = bonded.world, bonded.client
    stream = client.stream(
        _IDLE + seconds,
        size=_SPARSE_SIZE,
        interval=_SPARSE_INTERVAL,
        is_upload=plan.is_upload,
    )
    world.run_for(_IDLE)
    start = world.now
    play(scenario, client.uplinks, world)
    transfers = [_start(client, plan) for _ in range(plan.flows)]
    world.run_for(seconds)
    measured = Span(start + warm_up(seconds), world.now)
    best_line, best_line_goodput = _best_line(scenario, plan, seconds)
    return Figures(
        name=name,
        seconds=seconds,
        goodput=_goodput(transfers, measured),
        ceiling=_ceiling(scenario, plan, start, measured),
        best_line=best_line,
        best_line_goodput=best_line_goodput,
        ramp=_ramp(transfers, start, _steady(scenario, start, seconds)),
        resent=sum(transfer.resent for transfer in transfers),
        timeouts=sum(transfer.timeouts for transfer in transfers),
        longest_stall=max(t.longest_stall(measured.start, measured.end) for t in transfers),
        sparse=_sparse(stream, start, world.now - min(_GRACE, seconds / 4)),
    )


def _start(client: Client, plan: Plan) -> Bulk:
    """Start a bulk flow over the bond."""
    if plan.traffic is Traffic.QUIC:
        return client.quic_transfer(
            is_upload=plan.is_upload, controller=plan.sender.quic_controller
        )
    return client.transfer(is_upload=plan.is_upload, controller=plan.sender.controller)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the world's time."""

    start: float
    end: float

    @property
    def length(self) -> float:
        """Seconds."""
        return self.end - self.start

    def overlap(self, start: float, end: float) -> float:
        """Return how many seconds of it lie between two instants."""
        return max(0.0, min(end, self.end) - max(start, self.start))


def warm_up(seconds: float) -> float:
    """Return how much of a run's beginning its goodput leaves out."""
    return min(_WARM_UP, _WARM_UP_SHARE * seconds)


# --- what the lines could carry ------------------------------------------------------------------


def capacity(link: LinkSettings, span: Span, outages: Sequence[Happening], start: float) -> float:
    """Return the mean rate a link offers in `span`, in bytes of IP packets per second.

    Args:
        link: with a rate.
        span: of the world's time.
        outages: those of its incidents in which it carries nothing and keeps nothing.
        start: what the incidents' times are counted from.
    """
    rate = link.rate
    if isinstance(rate, RateTrace):
        rate = _mean_of_trace(rate, span)
    assert rate is not None
    if link.policer is not None:
        rate = min(rate, link.policer.rate)
    down = sum(
        span.overlap(start + happening.start, start + happening.start + happening.duration)
        for happening in outages
    )
    return rate * (1 - down / span.length)


def _mean_of_trace(trace: RateTrace, span: Span) -> float:
    carried = 0.0
    for index in range(trace.index(span.start), trace.index(span.end) + 1):
        rate, end = trace.at(index)
        carried += rate * span.overlap(end - trace.step, end)
    return carried / span.length


def _line_capacity(scenario: Scenario, wan: int, plan: Plan, start: float, span: Span) -> float:
    links = scenario.wans[wan]
    black = [one for one in scenario.black_outs if one.wan == wan]
    return capacity(links.up if plan.is_upload else links.down, span, black, start)


def _ceiling(scenario: Scenario, plan: Plan, start: float, span: Span) -> float:
    total = sum(
        _line_capacity(scenario, wan, plan, start, span) for wan in range(len(scenario.wans))
    )
    return total * plan.traffic.payload_share


# --- the best line alone -------------------------------------------------------------------------


def _best_line(scenario: Scenario, plan: Plan, seconds: float) -> tuple[int, float]:
    """Return the position from 1 and the goodput of the line that does best without a bond."""
    start = World(plan.seed).now
    span = Span(start + warm_up(seconds), start + seconds)
    ceilings = {
        wan: _line_capacity(scenario, wan, plan, start, span) * plan.traffic.payload_share
        for wan in range(len(scenario.wans))
    }
    best, best_goodput = 0, -1.0
    for wan in sorted(ceilings, key=lambda wan: -ceilings[wan]):
        # A line whose ceiling another line has reached already need not be tried. What its queue
        # held at the warm-up's end may lift it above its ceiling a little; that would be chance.
        if ceilings[wan] <= best_goodput:
            break
        goodput = _alone(scenario, wan, plan, span)
        if goodput > best_goodput:
            best, best_goodput = wan, goodput
    return best + 1, best_goodput


class PlainUplink:
    """A line without a tunnel, which incidents strike as they strike an `Uplink`."""

    def __init__(self, hosts: tuple[PlainHost, PlainHost]) -> None:
        self._hosts = hosts

    def black_out(self) -> None:
        """Swallow everything from now on."""
        self._change(is_black=True)

    def freeze(self) -> None:
        """Hold everything until `restore`."""
        self._change(is_frozen=True)

    def restore(self) -> None:
        """Carry packets again."""
        self._change(is_black=False, is_frozen=False)

    def _change(self, **changes: bool) -> None:
        for host in self._hosts:
            assert host.wire is not None
            host.wire.change(**changes)


def _alone(scenario: Scenario, wan: int, plan: Plan, span: Span) -> float:
    """Return the goodput of the same flows over one line, incidents included."""
    world = World(plan.seed)
    start = world.now
    packet = plan.traffic.packet
    links = WanLinks(*(without_tunnel_header(link, packet) for link in scenario.wans[wan]))
    hosts = plain_line(world, links.down, links.up)
    own = tuple(
        replace(happening, wan=0) for happening in scenario.happenings if happening.wan == wan
    )
    play(replace(scenario, happenings=own), [PlainUplink(hosts)], world)
    sender, receiver = hosts[::-1] if plan.is_upload else hosts
    transfers = [_start_alone(sender, receiver, number, plan) for number in range(plan.flows)]
    world.run_for(span.end - start)
    return _goodput(transfers, span)


def _start_alone(sender: PlainHost, receiver: PlainHost, number: int, plan: Plan) -> Bulk:
    """Start a bulk flow between two hosts without a tunnel."""
    source = Address("192.0.2.1", 20_000 + number)
    destination = Address("192.0.2.2", 30_000 + number)
    transfer: Bulk
    if plan.traffic is Traffic.QUIC:
        transfer = quic.QuicTransfer(
            sender,
            receiver,
            source=source,
            destination=destination,
            is_upload=plan.is_upload,
            controller=plan.sender.quic_controller,
        )
    else:
        transfer = Transfer(
            sender,
            receiver,
            source=source,
            destination=destination,
            mtu=INNER_MTU,
            is_upload=plan.is_upload,
            controller=plan.sender.controller,
        )
    transfer.start()
    return transfer


def without_tunnel_header(link: LinkSettings, packet: int = INNER_MTU) -> LinkSettings:
    """Return the link as it is for inner packets of that size if the tunnel's header takes its
    share.
    """
    share = packet / (packet + TUNNEL_HEADER)
    rate, policer = link.rate, link.policer
    if isinstance(rate, RateTrace):
        rate = replace(rate, rates=tuple(share * each for each in rate.rates))
    elif rate is not None:
        rate *= share
    if policer is not None:
        bucket = round(share * policer.bucket)
        policer = replace(policer, rate=share * policer.rate, bucket=bucket)
    return replace(link, rate=rate, policer=policer, queue=round(share * link.queue))


# --- what came of it -----------------------------------------------------------------------------


def _goodput(transfers: Sequence[Bulk], span: Span) -> float:
    return sum(transfer.goodput(span.start, span.end) for transfer in transfers)


def _steady(scenario: Scenario, start: float, seconds: float) -> Span:
    """Return the second half of what is left of the run before anything befalls it."""
    calm = min([seconds, *(happening.start for happening in scenario.happenings)])
    return Span(start + calm / 2, start + calm)


def _ramp(transfers: Sequence[Bulk], start: float, steady: Span) -> float | None:
    final = _goodput(transfers, steady)
    if not final:
        return None
    growth = [
        ([at for at, _ in t.progress], [length for _, length in t.progress]) for t in transfers
    ]

    def length_at(when: float) -> int:
        places = ((bisect_right(times, when), lengths) for times, lengths in growth)
        return sum(lengths[place - 1] for place, lengths in places if place)

    for step in range(round(_RAMP_WINDOW / _RAMP_STEP), int((steady.end - start) / _RAMP_STEP)):
        end = start + step * _RAMP_STEP
        if length_at(end) - length_at(end - _RAMP_WINDOW) >= _RAMPED * final * _RAMP_WINDOW:
            return step * _RAMP_STEP
    return None


def _sparse(stream: Stream, start: float, end: float) -> SparseFigures:
    """Return how the sparse flow fared between two instants, and before."""
    idle = sorted(got - sent for sent, got in stream.arrivals if sent < start)
    delays = sorted(got - sent for sent, got in stream.arrivals if start <= sent < end)
    sent = stream.sent_between(start, end)
    return SparseFigures(
        idle_p95=percentile(idle, 0.95),
        p50=percentile(delays, 0.5),
        p95=percentile(delays, 0.95),
        p99=percentile(delays, 0.99),
        loss=1 - len(delays) / sent if sent else 0.0,
    )


def percentile(ascending: Sequence[float], share: float) -> float | None:
    """Return what `share` of the values keep to; None if there are none."""
    if not ascending:
        return None
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))]
