"""How much a tunnel carries where only processors limit it: unshaped links, all on this machine.

Every way to get from the client to the server stands in a lab of its own and takes every load in
turn; then the next way, and so for every run. A machine that slows down thus slows all of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from multiwanbond.lab import processes, programs
from multiwanbond.lab.bench import median_of, percentile
from multiwanbond.lab.bench_run import connected_bond
from multiwanbond.lab.bond import SERVER_INNER_IPV4, Bond, Document
from multiwanbond.lab.meters import busy_seconds, resident_memory
from multiwanbond.lab.programs import Program
from multiwanbond.lab.rivals import RIVALS, Rival
from multiwanbond.lab.topology import SERVER_IPV4, Topology, WanSpec

PORT: Final = 5203
PING_INTERVAL: Final = 0.02
_PING_PATIENCE: Final = 1.0
_WARM_UP: Final = 0.25
"""Share of a transfer that is not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """TCP that takes whatever it gets, from the client to the server."""

    flows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Datagrams:
    """UDP at a steady rate, the same way."""

    size: int
    """Bytes of payload each."""
    rate: float
    """Datagrams a second."""
    in_runs: bool = False
    """True if the sender hands many over by one call (UDP_SEGMENT)."""


Load = Streams | Datagrams

LOADS: Final[Mapping[str, Load]] = {
    "one TCP flow": Streams(flows=1),
    "eight TCP flows": Streams(flows=8),
    "bulk UDP in runs": Datagrams(size=1372, rate=100_000.0, in_runs=True),
    "bulk UDP": Datagrams(size=1372, rate=40_000.0),
    "200-byte UDP": Datagrams(size=200, rate=45_000.0),
}
"""What every way carries, by name. UDP is offered a little more than is wanted of a bond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataplanePlan:
    """How much is measured."""

    seconds: float = 10.0
    """Of each load."""
    runs: int = 3
    is_bond_only: bool = False
    """Neither plain links nor other tunnels are measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What a way made of one load."""

    rate: float
    """Bytes of payload a second that arrived."""
    packets: float | None
    """Datagrams a second; None for TCP, of which only the kernel knows."""
    loss: float | None
    """Share of the datagrams; None for TCP."""
    cpu_per_gb: float
    """Seconds of all processors, whoever for, per 10^9 bytes of payload."""
    ping_p95: float | None
    """Seconds of round trip beside one TCP flow; None beside others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WayRun:
    """One run of one way."""

    loads: dict[str, Carried]
    memory: int | None
    """Bytes that the larger of both daemons occupies at the end; None of others than ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WayFigures:
    """All runs of a way; figures are medians."""

    name: str
    runs: list[WayRun] = field(default_factory=list)

    def median(self, load: str, read: Callable[[Carried], float | None]) -> float | None:
        """Return the median of what `read` finds in a load's runs that have it."""
        return median_of(read(run.loads[load]) for run in self.runs)

    @property
    def memory(self) -> float | None:
        """Bytes."""
        return median_of(run.memory for run in self.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way from the client to the server."""

    paths: int
    build: Callable[[Topology], tuple[str, Bond | None]]
    """Makes it stand; returns the server's address by it, and the bond if it is one."""


def ways(plan: DataplanePlan) -> dict[str, Way]:
    """Return what is measured, by name."""
    bonds = {
        "bond, 2 paths": Way(paths=2, build=_build_bond),
        "bond, 1 path": Way(paths=1, build=_build_bond),
        "no offloads": Way(paths=2, build=partial(_build_bond, offload="off")),
        "AES-256-GCM": Way(paths=2, build=partial(_build_bond, cipher="aes_256_gcm")),
        "ChaCha20": Way(paths=2, build=partial(_build_bond, cipher="chacha20_poly1305")),
    }
    if plan.is_bond_only:
        return bonds
    found = {"veth alone": Way(paths=1, build=lambda _lab: (SERVER_IPV4, None)), **bonds}
    for name, rival in RIVALS.items():
        if rival.why_not() is None:
            found[name] = Way(paths=1, build=partial(_build_rival, rival))
    return found


def _build_rival(rival: Rival, lab: Topology) -> tuple[str, None]:
    return rival.start(lab), None


def _build_bond(
    lab: Topology, *, offload: str = "auto", cipher: str = "auto"
) -> tuple[str, Bond | None]:
    def adjust(document: Document) -> None:
        document["tunnel"]["offload"] = offload
        document["security"]["cipher"] = cipher
        for wan in document.get("wans", []):
            wan["gso"] = offload

    return SERVER_INNER_IPV4, connected_bond(lab, adjust)


def measure(plan: DataplanePlan, on_run: Callable[[int], None]) -> list[WayFigures]:
    """Measure every way as often as the plan says.

    Args:
        plan: how.
        on_run: told how many runs are done.

    Raises:
        PlatformError: the lab or a test program failed.
    """
    todo = ways(plan)
    figures = {name: WayFigures(name=name) for name in todo}
    for number in range(plan.runs):
        for name, way in todo.items():
            figures[name].runs.append(_run_once(way, plan.seconds))
        on_run(number + 1)
    return list(figures.values())


def _run_once(way: Way, seconds: float) -> WayRun:
    with Topology([WanSpec()] * way.paths, purpose="bench") as lab:
        host, bond = way.build(lab)
        loads = {name: carry(lab, host, load, seconds) for name, load in LOADS.items()}
        pids = [daemon.process.pid for daemon in bond.daemons] if bond else []
        return WayRun(loads=loads, memory=max(map(resident_memory, pids), default=None))


def carry(lab: Topology, host: str, load: Load, seconds: float) -> Carried:
    """Return what arrives at `host` of a load from the client of a lab."""
    if isinstance(load, Streams):
        return _carry_streams(lab, host, load, seconds)
    return _carry_datagrams(lab, host, load, seconds)


def _carry_streams(lab: Topology, host: str, load: Streams, seconds: float) -> Carried:
    how = ("tcp", host, str(PORT), f"--seconds={seconds}", f"--flows={load.flows}")
    count = int(seconds / PING_INTERVAL)
    ping = (f"--count={count}", f"--interval={PING_INTERVAL}", f"--patience={_PING_PATIENCE}")
    started: list[Program] = []
    try:
        receiver = programs.start(lab.server, "bench_end", "listen", "receive", *how)
        started.append(receiver)
        receiver.wait_ready()
        before = busy_seconds()
        started.append(programs.start(lab.client, "bench_end", "connect", "send", *how))
        if load.flows == 1:
            started.append(programs.start(lab.client, "fetch_end", "ping", host, *ping))
        bins = receiver.outcome("bins")["bins"]
        busy = busy_seconds() - before
        pings = started[2].outcome("times")["times"][0] if load.flows == 1 else []
    finally:
        for program in started:
            processes.stop(program.process)
    counted = bins[round(_WARM_UP * len(bins)) :]
    return Carried(
        rate=sum(counted) / (seconds * len(counted) / len(bins)),
        packets=None,
        loss=None,
        cpu_per_gb=busy / max(sum(bins), 1) * 1e9,
        ping_p95=percentile([each for each in pings if each is not None], 0.95),
    )


def _carry_datagrams(lab: Topology, host: str, load: Datagrams, seconds: float) -> Carried:
    where = (host, str(PORT), f"--size={load.size}")
    how = (f"--rate={load.rate}", f"--seconds={seconds}", *(["--in-runs"] * load.in_runs))
    started: list[Program] = []
    try:
        receiver = programs.start(lab.server, "load_end", "receive", *where)
        started.append(receiver)
        receiver.wait_ready()
        before = busy_seconds()
        sender = programs.start(lab.client, "load_end", "send", *where, *how)
        started.append(sender)
        sent = sender.outcome("sent")["sent"]
        busy = busy_seconds() - before
        got = receiver.outcome("arrived")
    finally:
        for program in started:
            processes.stop(program.process)
    packets = got["arrived"] / max(got["seconds"], seconds / 2)
    return Carried(
        rate=packets * load.size,
        packets=packets,
        loss=1 - got["arrived"] / max(sent, 1),
        cpu_per_gb=busy / max(got["arrived"] * load.size, 1) * 1e9,
        ping_p95=None,
    )
