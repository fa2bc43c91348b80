"""A stream of small datagrams over the bond while lines go black: what a call or a game gets."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from multiwanbond.lab import processes, programs
from multiwanbond.lab.bench import median_of, percentile, scale_of, specs_of
from multiwanbond.lab.bench_run import connected_bond, play
from multiwanbond.lab.bond import CLIENT_INNER_IPV4, SERVER_INNER_IPV4
from multiwanbond.lab.programs import Program
from multiwanbond.lab.topology import Topology
from multiwanbond.sim.scenarios import SCENARIOS, Scenario

SIZE: Final = 200
"""Bytes of a datagram's payload."""
INTERVAL: Final = 0.002
LATE: Final = 0.1
"""Seconds above the median delay from which a datagram is late: no jitter buffer waits longer."""
NOTICED: Final = 0.5
"""Seconds from a black-out's begin after which nothing should be lost or late any more."""
_WARM_UP: Final = 1.0
"""Seconds that the stream flows before it counts; the programs have started by then."""
_PORT: Final = 5200


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPlan:
    """How every scenario is run."""

    is_upload: bool = False
    seconds: float = 10.0
    runs: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRun:
    """What became of one run's datagrams."""

    sent: int
    p50: float | None
    """Median one-way delay in seconds; None: nothing arrived."""
    lost: int
    late: int
    """Arrived more than 0.1 s later than the median."""
    longest_gap: float
    """Seconds without any arrival."""
    lost_after: int
    """Of the lost ones those sent more than 0.5 s after a black-out's begin, its end included."""
    late_after: int
    """The same of the late ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFigures:
    """All runs of a scenario."""

    name: str
    scale: float
    """What the lines' rates were multiplied with, 1 mostly."""
    runs: tuple[StreamRun, ...]

    def median(self, read: Callable[[StreamRun], float | None]) -> float | None:
        """Return the median of what `read` finds in the runs that have it."""
        return median_of(map(read, self.runs))


def default_scenarios() -> list[str]:
    """Return the names of the standard scenarios in which a line goes black."""
    return [name for name, scenario in SCENARIOS.items() if scenario.black_outs]


def measure(name: str, scenario: Scenario, plan: StreamPlan) -> StreamFigures:
    """Run a scenario as often as the plan says, each time in a lab of its own.

    Raises:
        PlatformError: the lab or a test program failed.
    """
    scale = scale_of(scenario)
    runs = []
    for seed in range(1, plan.runs + 1):
        with Topology(specs_of(scenario, scale), purpose="bench", seed=seed) as lab:
            connected_bond(lab)
            runs.append(_run_once(lab, scenario, plan))
    return StreamFigures(name=name, scale=scale, runs=tuple(runs))


def _run_once(lab: Topology, scenario: Scenario, plan: StreamPlan) -> StreamRun:
    source, sink = (lab.client, lab.server) if plan.is_upload else (lab.server, lab.client)
    host = SERVER_INNER_IPV4 if plan.is_upload else CLIENT_INNER_IPV4
    length = _WARM_UP + plan.seconds
    where = ("udp", host, str(_PORT))
    how = (f"--size={SIZE}", f"--interval={INTERVAL}")
    ends: list[Program] = []
    try:
        ends.append(
            programs.start(
                sink, "bench_end", "listen", "receive", *where, f"--seconds={length + 1}"
            )
        )
        ends[0].wait_ready()
        ends.append(
            programs.start(
                source, "bench_end", "connect", "send", *where, *how, f"--seconds={length}"
            )
        )
        time.sleep(_WARM_UP)
        begin = time.monotonic()
        play(lab, scenario, plan.seconds)
        sent, arrived = ends[1].outcome("sent")["sent"], ends[0].outcome("arrived")["arrived"]
    finally:
        for end in ends:
            processes.stop(end.process)
    black_outs = [begin + one.start for one in scenario.black_outs]
    return stream_of(sent, arrived, begin, begin + plan.seconds, black_outs)


def stream_of(
    sent: Sequence[float],
    arrived: Sequence[Sequence[float]],
    begin: float,
    end: float,
    black_outs: Sequence[float],
) -> StreamRun:
    """Judge a stream by what was sent from `begin` to `end`.

    Args:
        sent: when each datagram was sent.
        arrived: number and delay of each arrival; of several of one number the first counts.
        black_outs: when lines went black.
    """
    delays: dict[int, float] = {}
    for number, delay in arrived:
        delays.setdefault(int(number), delay)
    counted = {number: at for number, at in enumerate(sent) if begin <= at < end}
    median = percentile([delays[number] for number in counted if number in delays], 0.5)
    lost = [at for number, at in counted.items() if number not in delays]
    late = [
        at
        for number, at in counted.items()
        if median is not None and delays.get(number, 0.0) > median + LATE
    ]
    return StreamRun(
        sent=len(counted),
        p50=median,
        lost=len(lost),
        late=len(late),
        longest_gap=_longest_gap(
            [at + delays[number] for number, at in counted.items() if number in delays], begin, end
        ),
        lost_after=sum(_is_after(at, black_outs) for at in lost),
        late_after=sum(_is_after(at, black_outs) for at in late),
    )


def _longest_gap(arrivals: Sequence[float], begin: float, end: float) -> float:
    times = [begin, *sorted(arrivals)]
    # What was sent just before the end arrives after it.
    times.append(max(end, times[-1]))
    return max(later - earlier for earlier, later in pairwise(times))


def _is_after(at: float, black_outs: Sequence[float]) -> bool:
    """Tell whether the newest black-out should have been noticed at `at`."""
    before = [start for start in black_outs if start <= at]
    return bool(before) and at - max(before) > NOTICED
