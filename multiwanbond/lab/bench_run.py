"""One run of a scenario in a lab of its own: the lines alone, MPTCP, and the bond."""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from multiwanbond.lab import processes, programs
from multiwanbond.lab.bench import (
    BenchFigures,
    BenchPlan,
    Flow,
    OneRun,
    Sparse,
    ceiling_of,
    early_ends,
    goodput_of,
    percentile,
    ramp,
    scale_of,
    specs_of,
    why_no_mptcp,
)
from multiwanbond.lab.bond import CLIENT_INNER_IPV4, SERVER_INNER_IPV4, Bond, Document
from multiwanbond.lab.line_return import ReturnWatch
from multiwanbond.lab.meters import busy_seconds, cpu_seconds, tcp_counters
from multiwanbond.lab.namespaces import Namespace
from multiwanbond.lab.programs import Program
from multiwanbond.lab.topology import SERVER_IPV4, Topology
from multiwanbond.sim.scenarios import Incident, Scenario, mean_rate
from multiwanbond.sim.scoreboard import Traffic

IDLE: Final = 1.5
"""Seconds that the sparse flow has the bond for itself."""
_PORT: Final = 5201
"""Of the bulk; QUIC's further flows have those that follow."""
_SPARSE_PORT: Final = 5200
_SETTLE: Final = 1.0
"""Seconds for the paths' first probes once the bond is connected."""


def measure(name: str, scenario: Scenario, plan: BenchPlan) -> BenchFigures:
    """Run a scenario as often as the plan says.

    Raises:
        PlatformError: the lab or a test program failed.
    """
    scale = scale_of(scenario)
    runs = tuple(_run_once(scenario, scale, plan, seed) for seed in range(1, plan.runs + 1))
    ceilings = [ceiling_of(scenario, scale, plan, run.bond) for run in runs]
    return BenchFigures(
        name=name,
        scale=scale,
        ceiling=statistics.median(ceilings),
        runs=runs,
    )


def _run_once(scenario: Scenario, scale: float, plan: BenchPlan, seed: int) -> OneRun:
    with Topology(specs_of(scenario, scale), purpose="bench", seed=seed) as lab:
        lines = tuple(
            _bulk(lab, plan, wan.gateway_ipv4, plan.traffic.value, scenario=None).goodput
            for wan in (() if plan.is_bond_only else lab.wans)
        )
        mptcp = None
        if not plan.is_bond_only and why_no_mptcp(plan.traffic) is None:
            _enable_mptcp(lab)
            mptcp = _bulk(lab, plan, SERVER_IPV4, "mptcp", scenario=scenario)
        bond = connected_bond(lab)
        busy = _Busy()
        sending = bond.client if plan.is_upload else bond.server
        watch = ReturnWatch(sending, _rates(lab, plan))
        flow, sparse, spent = _bulk_and_sparse(lab, plan, scenario, bond, watch)
        cpu = busy.share()
        return OneRun(
            bond=flow,
            sparse=sparse,
            lines=lines,
            mptcp=mptcp,
            cpu=cpu,
            cpu_per_gb=spent / flow.delivered * 1e9 if flow.delivered else None,
            returns=watch.finish(),
            status=_status(bond),
        )


def connected_bond(lab: Topology, adjust: Callable[[Document], None] | None = None) -> Bond:
    """Return a bond over all lines of a lab, once it has had the time to know them.

    Args:
        lab: where.
        adjust: changes each daemon's configuration before it starts.

    Raises:
        PlatformError: it does not connect.
    """
    bond = Bond(lab)
    if adjust is not None:
        for daemon in bond.daemons:
            adjust(daemon.document)
            daemon.write_config()
    bond.start()
    bond.wait_connected()
    time.sleep(_SETTLE)
    return bond


def _rates(lab: Topology, plan: BenchPlan) -> dict[int, float]:
    """Return what each WAN carries on average the way the bulk goes, by its number."""
    links = {
        wan.number: wan.spec.to_server if plan.is_upload else wan.spec.to_client for wan in lab.wans
    }
    return {number: mean_rate(link) for number, link in links.items() if link is not None}


def _daemons_cpu(bond: Bond) -> float:
    return sum(cpu_seconds(daemon.process.pid) for daemon in bond.daemons)


def _status(bond: Bond) -> dict[str, Any]:
    ends = {"client": bond.client.status(), "server": bond.server.status()}
    return {name: status["peers"] if status else None for name, status in ends.items()}


def _enable_mptcp(lab: Topology) -> None:
    limits = "mptcp limits set subflows 8 add_addr_accepted 8"
    lab.server.configure([limits])
    lab.client.configure(
        [
            limits,
            *(
                f"mptcp endpoint add {wan.client_ipv4} dev {wan.device} subflow"
                for wan in lab.wans[1:]
            ),
        ]
    )


def _start(
    namespace: Namespace,
    plan: BenchPlan,
    seconds: float,
    *arguments: str,
    module: str = "bench_end",
) -> Program:
    more = (f"--seconds={seconds}", f"--flows={plan.flows}", f"--congestion={plan.congestion}")
    return programs.start(namespace, module, *arguments, *more)


def _bulk(
    lab: Topology,
    plan: BenchPlan,
    host: str,
    protocol: str,
    *,
    scenario: Scenario | None,
    watch: ReturnWatch | None = None,
) -> Flow:
    """Send bulk between the namespaces; the server listens, whoever sends."""
    roles = ("receive", "send") if plan.is_upload else ("send", "receive")
    is_quic = protocol == Traffic.QUIC.value
    module = "quic_end" if is_quic else "bench_end"
    where = (*(() if is_quic else (protocol,)), host, str(_PORT))
    ends: list[Program] = []
    sending = lab.client if plan.is_upload else lab.server
    before = tcp_counters(sending)
    # So that whatever is compared meets the same rates.
    traces_began = lab.begin_traces()
    try:
        ends.append(
            _start(lab.server, plan, plan.seconds, "listen", roles[0], *where, module=module)
        )
        ends[0].wait_ready()
        ends.append(
            _start(lab.client, plan, plan.seconds, "connect", roles[1], *where, module=module)
        )
        if scenario is not None:
            play(lab, scenario, plan.seconds, watch)
        receiver, sender = ends if plan.is_upload else reversed(ends)
        got, sent = receiver.outcome("bins"), sender.outcome("resent")
    finally:
        for end in ends:
            processes.stop(end.process)
    counted = {name: count - before[name] for name, count in tcp_counters(sending).items()}
    # The server listens, so the client, whichever it is, knows when the first SYN went out.
    opened = (sent if plan.is_upload else got)["opening"]
    ramped = ramp(got["bins"])
    return Flow(
        goodput=goodput_of(got["bins"], plan.seconds),
        ramp=None if ramped is None else ramped + got["began"] - opened,
        longest_stall=got["longest_stall"],
        resent=sent["resent"],
        began=got["began"],
        traces_began=traces_began,
        spurious=sent.get("spurious"),
        delivered=sum(got["bins"]),
        timeouts=sent.get("timeouts", counted["TCPTimeouts"]),
        hystart_train=counted["TCPHystartTrainDetect"],
        hystart_delay=counted["TCPHystartDelayDetect"],
        ended_early=early_ends(got, sent, got["began"] + plan.seconds),
    )


def play(
    lab: Topology, scenario: Scenario, seconds: float, watch: ReturnWatch | None = None
) -> None:
    """Let everything that befalls the lines happen, on the wall clock; return them whole.

    Lines that come back from a black-out within the time are given to `watch`.
    """
    began = time.monotonic()
    struck = set()
    events = [(event.start, True, event) for event in scenario.happenings]
    events += [(event.start + event.duration, False, event) for event in scenario.happenings]
    for at, is_start, event in sorted(events, key=lambda one: one[0]):
        if at > seconds:
            break
        time.sleep(max(0.0, began + at - time.monotonic()))
        number = event.wan + 1
        if not is_start:
            lab.restore(number)
            struck.discard(number)
            if watch is not None and event.incident is Incident.BLACK_OUT:
                watch.begin(number)
            continue
        strike = lab.black_out if event.incident is Incident.BLACK_OUT else lab.freeze
        strike(number)
        struck.add(number)
    if struck:
        time.sleep(max(0.0, began + seconds - time.monotonic()))
    for number in struck:
        lab.restore(number)


def _bulk_and_sparse(
    lab: Topology, plan: BenchPlan, scenario: Scenario, bond: Bond, watch: ReturnWatch
) -> tuple[Flow, Sparse, float]:
    """Send both over the bond, the sparse flow the same way as the bulk and for some time alone.

    Returns them, and the CPU seconds of both daemons during the bulk.
    """
    namespaces = (lab.client, lab.server) if plan.is_upload else (lab.server, lab.client)
    host = SERVER_INNER_IPV4 if plan.is_upload else CLIENT_INNER_IPV4
    length = IDLE + plan.seconds
    where = ("udp", host, str(_SPARSE_PORT))
    ends: list[Program] = []
    try:
        ends.append(_start(namespaces[1], plan, length + 1, "listen", "receive", *where))
        ends[0].wait_ready()
        ends.append(_start(namespaces[0], plan, length, "connect", "send", *where))
        time.sleep(IDLE)
        begin, spent = time.monotonic(), _daemons_cpu(bond)
        flow = _bulk(
            lab, plan, SERVER_INNER_IPV4, plan.traffic.value, scenario=scenario, watch=watch
        )
        spent = _daemons_cpu(bond) - spent
        sent, arrived = ends[1].outcome("sent")["sent"], ends[0].outcome("arrived")["arrived"]
    finally:
        watch.finish()
        for end in ends:
            processes.stop(end.process)
    return flow, sparse_of(sent, arrived, begin), spent


def sparse_of(sent: Sequence[float], arrived: Sequence[Sequence[float]], begin: float) -> Sparse:
    """Judge a sparse flow by when each datagram was sent, and each arrival's number and delay."""
    delays = {int(number): delay for number, delay in arrived}
    beside = [number for number, at in enumerate(sent) if at >= begin]
    idle = [delays[number] for number, at in enumerate(sent) if at < begin and number in delays]
    found = [delays[number] for number in beside if number in delays]
    return Sparse(
        idle_p95=percentile(idle, 0.95),
        p50=percentile(found, 0.5),
        p95=percentile(found, 0.95),
        p99=percentile(found, 0.99),
        loss=1 - len(found) / len(beside) if beside else 0.0,
    )


class _Busy:
    """What share of all processors works from now on, whoever for."""

    def __init__(self) -> None:
        self._began, self._busy = time.monotonic(), busy_seconds()

    def share(self) -> float:
        """Return the share since the beginning."""
        processors = os.cpu_count() or 1
        return (busy_seconds() - self._busy) / (time.monotonic() - self._began) / processors
