"""Runs the standard scenarios over emulated lines with the kernel's own TCP, bonded and not.

Each run builds a fresh lab and measures in it, one after the other: every line alone without a
tunnel, MPTCP over all lines where the kernel has it, and the bond with a sparse flow beside it.
What befalls the lines befalls MPTCP and the bond alike, counted from the start of each.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any, Final

from multiwanbond.lab.bench_end import BIN
from multiwanbond.lab.line_return import Returned
from multiwanbond.lab.topology import WanSpec
from multiwanbond.sim.links import LinkSettings, RateTrace
from multiwanbond.sim.scenarios import Scenario
from multiwanbond.sim.scoreboard import InnerSender, Span, Traffic, capacity, warm_up

TRUSTED_RATE: Final = 300e6 / 8
"""Bytes per second of all lines together up to which the emulator was measured to keep its delays
and rates (see `emulator`); a scenario beyond it is scaled down."""
_RAMPED: Final = 0.9
_RAMP_WINDOW: Final = 0.2
"""Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """How every scenario is run."""

    traffic: Traffic = Traffic.TCP
    """What the bulk flows are; the lines alone are measured with the same."""
    congestion: str = "cubic"
    flows: int = 1
    is_upload: bool = False
    seconds: float = 10.0
    runs: int = 3
    is_bond_only: bool = False
    """Neither the lines alone nor MPTCP are measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What the bulk streams of one measurement did together."""

    goodput: float
    """Bytes per second, after the warm-up."""
    ramp: float | None
    """Seconds from the first SYN until 90 % of the final rate; None: nothing arrived."""
    longest_stall: float
    resent: int
    began: float = 0.0
    """When the receiver began to count, by the clock of the emulator too."""
    traces_began: float = 0.0
    """When lines of changing rate had their first one, by that clock."""
    spurious: int | None = None
    """Packets that arrived after they had been declared lost; only QUIC's end knows."""
    delivered: int = 0
    """Bytes, the warm-up included."""
    timeouts: int = 0
    """How often a sender waited for an ack in vain (RTO)."""
    hystart_train: int = 0
    """Slow starts that CUBIC's HyStart ended, by the spread of acks; the kernel's TCP only."""
    hystart_delay: int = 0
    """The same by a longer round trip."""
    ended_early: tuple[str, ...] = ()
    """Why streams ended before their time, one entry each: the figures are then of less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparse:
    """One-way delays in seconds of a sparse flow beside the bulk; None: nothing arrived."""

    idle_p95: float | None
    """Before the bulk began."""
    p50: float | None
    p95: float | None
    p99: float | None
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OneRun:
    """What one run measured."""

    bond: Flow
    sparse: Sparse
    lines: tuple[float, ...]
    """Goodput over each line alone without a tunnel, bytes per second; none if left out."""
    mptcp: Flow | None
    cpu: float
    """Share of all processors that was busy while the bond was measured."""
    cpu_per_gb: float | None = None
    """Seconds of both daemons together per 10^9 bytes that the streams delivered over the bond."""
    returns: tuple[Returned, ...] = ()
    """What became of lines that had been black, in the order of their returns."""
    status: dict[str, Any] = field(default_factory=dict)
    """What both daemons said at the end of their peers and paths, by "client" and "server"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchFigures:
    """All runs of a scenario; figures are medians over the runs."""

    name: str
    scale: float
    """What the lines' rates were multiplied with, 1 mostly."""
    ceiling: float
    """Bytes per second: what the lines could carry after headers, median over the runs."""
    runs: tuple[OneRun, ...]

    def median(self, read: Callable[[OneRun], float | None]) -> float | None:
        """Return the median of what `read` finds in the runs that have it."""
        return median_of(map(read, self.runs))

    @property
    def goodput(self) -> float:
        """Bytes per second over the bond."""
        return statistics.median(run.bond.goodput for run in self.runs)

    @property
    def norm(self) -> float:
        """The bond's goodput as a share of `ceiling`."""
        return self.goodput / self.ceiling

    @property
    def best_line(self) -> float | None:
        """Bytes per second over the best line of each run; None if the lines were left out."""
        return self.median(lambda run: max(run.lines, default=None))

    @property
    def mptcp(self) -> float | None:
        """Bytes per second over MPTCP; None where the kernel has none."""
        return self.median(lambda run: run.mptcp.goodput if run.mptcp else None)

    @property
    def returned(self) -> float | None:
        """Seconds until the last of the returned lines carried its share again.

        Infinite if it did not before the run's end; None where no line came back.
        """
        return self.median(
            lambda run: max(
                (inf if one.seconds is None else one.seconds for one in run.returns), default=None
            )
        )

    @property
    def ended_early(self) -> list[str]:
        """Why streams over the bond ended before their time, each reason once."""
        return sorted({reason for run in self.runs for reason in run.bond.ended_early})


def median_of(values: Iterable[float | None]) -> float | None:
    """Return the median of what was found; None if nothing was."""
    found = [value for value in values if value is not None]
    return statistics.median(found) if found else None


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the value that `share` of `values` do not exceed; None of no values."""
    if not values:
        return None
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def ramp(bins: Sequence[int]) -> float | None:
    """Return the end of the first 0.2 s whose average reached 90 % of that of the later half."""
    later = bins[len(bins) // 2 :]
    if not sum(later):
        return None
    goal = _RAMPED * sum(later) / len(later)
    window = min(round(_RAMP_WINDOW / BIN), len(bins))
    for end in range(window, len(bins) + 1):
        if sum(bins[end - window : end]) / window >= goal:
            return end * BIN
    return None


def goodput_of(bins: Sequence[int], seconds: float) -> float:
    """Return the bytes per second that arrived after the warm-up."""
    first = round(warm_up(seconds) / BIN)
    return sum(bins[first:]) / (BIN * len(bins[first:]))


def early_ends(got: dict[str, Any], sent: dict[str, Any], end: float) -> tuple[str, ...]:
    """Return why streams ended before the receiver was to close them, at `end`.

    Both ends say when each stream ended and why, by one clock; what the sender notices afterwards
    is the receiver's own closing. A stream that both noticed counts once, as the sender saw it.
    """
    by_sender, by_receiver = (
        tuple(reason for at, reason in said.get("ended", ()) if at < end) for said in (sent, got)
    )
    return by_sender + by_receiver[len(by_sender) :]


def ceiling_of(scenario: Scenario, scale: float, plan: BenchPlan, flow: Flow) -> float:
    """Return what the lines could carry after headers in a flow's time after the warm-up."""
    began = flow.began
    span = Span(began + warm_up(plan.seconds), began + plan.seconds)
    total = 0.0
    for wan, spec in enumerate(specs_of(scenario, scale)):
        link = spec.to_server if plan.is_upload else spec.to_client
        assert link is not None
        if isinstance(link.rate, RateTrace):
            link = replace(link, rate=replace(link.rate, start=flow.traces_began))
        black = [one for one in scenario.black_outs if one.wan == wan]
        total += capacity(link, span, black, began)
    return total * plan.traffic.payload_share


def scale_of(scenario: Scenario) -> float:
    """Return what to multiply a scenario's rates with so that the emulator can be trusted."""
    most = max(scenario.rate_down, scenario.rate_up)
    return min(1.0, TRUSTED_RATE / most)


def specs_of(scenario: Scenario, scale: float) -> list[WanSpec]:
    """Return a scenario's lines for the lab; queues shrink with the rates and so last as long."""
    return [
        WanSpec(to_server=_scaled(wan.up, scale), to_client=_scaled(wan.down, scale))
        for wan in scenario.wans
    ]


def _scaled(link: LinkSettings, scale: float) -> LinkSettings:
    if scale == 1.0:
        return link
    rate, policer = link.rate, link.policer
    if isinstance(rate, RateTrace):
        rate = replace(rate, rates=tuple(one * scale for one in rate.rates))
    elif rate is not None:
        rate *= scale
    if policer is not None:
        policer = replace(policer, rate=policer.rate * scale, bucket=int(policer.bucket * scale))
    return replace(link, rate=rate, policer=policer, queue=int(link.queue * scale))


def available_congestion(traffic: Traffic = Traffic.TCP) -> list[str]:
    """Return the names of the congestion controls at hand here: the kernel's, or ours of QUIC."""
    if traffic is Traffic.QUIC:
        return [sender.value for sender in InnerSender]
    return Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()


def why_no_mptcp(traffic: Traffic = Traffic.TCP) -> str | None:
    """Return why MPTCP cannot be compared with here; None if it can."""
    if traffic is not Traffic.TCP:
        return "it carries what TCP carries"
    switch = Path("/proc/sys/net/mptcp/enabled")
    if not switch.exists():
        return "this kernel has no MPTCP"
    return None
