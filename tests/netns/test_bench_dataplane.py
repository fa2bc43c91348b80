"""`mwb bench --dataplane` carries every load through a bond and through its rivals."""

import pytest

from multiwanbond.lab import bench_dataplane
from multiwanbond.lab.bench_dataplane import LOADS, Carried, DataplanePlan, Streams, Way, ways
from multiwanbond.lab.rivals import RIVALS

pytestmark = pytest.mark.netns

PLAN = DataplanePlan(seconds=0.5, runs=1)


def carried_by(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Carried]:
    """One run of one way."""

    def only(plan: DataplanePlan) -> dict[str, Way]:
        return {name: ways(plan)[name]}

    monkeypatch.setattr(bench_dataplane, "ways", only)
    (figures,) = bench_dataplane.measure(PLAN, lambda _count: None)
    (run,) = figures.runs
    assert (run.memory is not None) == (name == "bond, 2 paths")
    return run.loads


NAMES = [
    "bond, 2 paths",
    *(name for name, rival in RIVALS.items() if rival.why_not() is None),
]


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("name", NAMES)
def test_every_load_arrives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = carried_by(name, monkeypatch)

    assert loads.keys() == LOADS.keys()
    for kind, load in LOADS.items():
        assert loads[kind].rate > 100_000
        assert loads[kind].cpu_per_gb > 0
        assert (loads[kind].loss is None) == isinstance(load, Streams)
    assert loads["one TCP flow"].ping_p95 is not None
