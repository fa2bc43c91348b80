"""The pure parts of `mwb bench --traffic stream`: judging datagrams, table, JSON."""

import json

import pytest

from multiwanbond.cli import main
from multiwanbond.lab import bench_stream_report
from multiwanbond.lab.bench_stream import (
    StreamFigures,
    StreamPlan,
    StreamRun,
    default_scenarios,
    stream_of,
)


def run_of(lost: set[int], late: set[int]) -> StreamRun:
    """Return what is said of a stream of ten seconds, ten datagrams each, black from 4.05 on."""
    sent = [number / 10 for number in range(100)]
    arrived = [
        (number, 0.15 if number in late else 0.02) for number in range(100) if number not in lost
    ]
    return stream_of(sent, arrived, begin=1.0, end=9.0, black_outs=[4.05])


def test_lost_and_late_datagrams_are_counted_within_the_time() -> None:
    run = run_of(lost={5, 41, 42, 95}, late={43, 7})

    assert (run.sent, run.lost, run.late) == (80, 2, 1)
    assert run.p50 == 0.02


def test_what_follows_half_a_second_after_a_black_out_counts_apart() -> None:
    run = run_of(lost={30, 45, 46}, late={35, 44, 85})

    assert (run.lost, run.lost_after) == (3, 1)
    assert (run.late, run.late_after) == (3, 1)


def test_the_longest_gap_is_between_arrivals_and_reaches_to_the_end() -> None:
    within = run_of(lost={41, 42, 43}, late=set())
    at_the_end = run_of(lost=set(range(80, 100)), late=set())

    assert within.longest_gap == pytest.approx(0.4)
    assert at_the_end.longest_gap == pytest.approx(9.0 - 7.92)


def test_the_first_of_several_arrivals_counts() -> None:
    run = stream_of([0.0, 0.1], [(0, 0.01), (1, 0.01), (0, 0.9)], 0.0, 0.2, [])

    assert run.late == 0


def test_a_stream_of_which_nothing_arrives_is_all_gap() -> None:
    run = stream_of([0.0, 0.1], [], 0.0, 0.2, [])

    assert (run.lost, run.p50, run.longest_gap) == (2, None, 0.2)


def test_table_and_document_show_medians_and_every_run() -> None:
    runs = tuple(run_of(lost=set(range(41, 41 + count)), late=set()) for count in (1, 3, 9))
    figures = StreamFigures(name="example", scale=1.0, runs=runs)

    row = bench_stream_report.row(figures)
    document = bench_stream_report.document([(StreamPlan(), figures)])

    assert row.split() == ["example", "80", "20", "3", "0", "400", "0", "0"]
    (stream,) = json.loads(json.dumps(document))["streams"]
    assert [run["lost"] for run in stream["runs"]] == [1, 3, 9]


def test_a_stream_runs_where_lines_go_black() -> None:
    assert default_scenarios() == ["failover_best", "failover_slow", "black_busiest"]


@pytest.mark.parametrize(
    "option", [("--flows", "2"), ("--congestion", "cubic"), ("--only", "bond"), ("--svg", "x")]
)
def test_a_stream_has_no_options_of_bulk(
    option: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["bench", "--traffic", "stream", *option])

    assert code == 64
    assert f"{option[0]} does not go with --traffic stream" in capsys.readouterr().err
