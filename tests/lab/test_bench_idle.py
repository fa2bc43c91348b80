"""The pure parts of `mwb bench --idle`: meters, table, JSON."""

import json
import os

import pytest

from multiwanbond.cli import main
from multiwanbond.lab import bench_idle_report
from multiwanbond.lab.bench_idle import Cost, IdleFigures, IdlePlan, IdleRun
from multiwanbond.lab.meters import resident_memory


def figures(*client_cpu: float) -> IdleFigures:
    """Return runs whose clients took so many CPU seconds per minute."""
    server = Cost(cpu_per_minute=0.25, memory=30_000_000)
    return IdleFigures(
        name="example",
        wans=2,
        runs=tuple(
            IdleRun(client=Cost(cpu_per_minute=cpu, memory=42_000_000), server=server)
            for cpu in client_cpu
        ),
    )


def test_a_row_shows_medians_of_both_daemons() -> None:
    row = bench_idle_report.row(figures(0.5, 9.0, 0.75))

    assert row.split() == ["example", "2", "0.75", "0.25", "42.0", "30.0"]


def test_the_document_is_json_with_every_run() -> None:
    (idle,) = json.loads(
        json.dumps(bench_idle_report.document([(IdlePlan(), figures(0.5, 0.75))]))
    )["idle"]

    assert [run["client"]["cpu_per_minute"] for run in idle["runs"]] == [0.5, 0.75]
    assert idle["seconds"] == 10.0


def test_a_process_occupies_memory() -> None:
    assert 1_000_000 < resident_memory(os.getpid()) < 10_000_000_000


@pytest.mark.parametrize("options", [("--traffic", "quic"), ("--up",), ("--flows", "2")])
def test_an_idle_bond_has_no_options_of_traffic(
    options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["bench", "--idle", *options])

    assert code == 64
    assert f"{options[0]} does not go with --idle" in capsys.readouterr().err
