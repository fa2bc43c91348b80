"""The pure parts of `mwb bench`: statistics, scaling, table, JSON and bars."""

import json
import os
import socket
import struct
import time
from dataclasses import replace
from typing import cast

import pytest

from multiwanbond.cli import main
from multiwanbond.cli.bench import TRAFFIC
from multiwanbond.cli.bench_instead import STREAM
from multiwanbond.lab import bench_report
from multiwanbond.lab.bench import (
    TRUSTED_RATE,
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
)
from multiwanbond.lab.bench_end import Ended, receive, send
from multiwanbond.lab.bench_run import sparse_of
from multiwanbond.lab.line_return import LineReturn, Returned
from multiwanbond.lab.meters import cpu_seconds, read_tcp_counters
from multiwanbond.sim.links import LinkSettings, Policer
from multiwanbond.sim.network import WanLinks
from multiwanbond.sim.scenarios import SCENARIOS, Scenario
from multiwanbond.sim.scoreboard import Traffic

MBIT = 1e6 / 8
NO_FLOW = Flow(goodput=0.0, ramp=None, longest_stall=0.0, resent=0)


def one_run(goodput: float, *, mptcp: float | None = None, cpu: float = 0.5) -> OneRun:
    """Return a run with this goodput in Mbit/s, over lines that carry 90 and 10."""
    return OneRun(
        bond=Flow(goodput=goodput * MBIT, ramp=0.4, longest_stall=0.05, resent=7),
        sparse=Sparse(idle_p95=0.01, p50=0.012, p95=0.02, p99=0.03, loss=0.001),
        lines=(90 * MBIT, 10 * MBIT),
        mptcp=None
        if mptcp is None
        else Flow(goodput=mptcp * MBIT, ramp=None, longest_stall=0.1, resent=0),
        cpu=cpu,
        cpu_per_gb=15.5,
    )


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a connection of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        return near, server.accept()[0]


def figures(*runs: OneRun, scale: float = 1.0) -> BenchFigures:
    """Return the figures of a scenario whose lines carry 100 Mbit/s after headers."""
    return BenchFigures(name="example", scale=scale, ceiling=100 * MBIT, runs=runs)


def test_figures_are_medians_over_the_runs() -> None:
    measured = figures(one_run(50), one_run(95), one_run(80, mptcp=70))

    assert measured.norm == pytest.approx(0.8)
    assert measured.best_line == pytest.approx(90 * MBIT)
    assert measured.mptcp == pytest.approx(70 * MBIT)


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(value) for value in range(100, 0, -1)]

    assert percentile(values, 0.5) == 51
    assert percentile(values, 0.95) == 96
    assert percentile([], 0.5) is None


def test_the_ramp_ends_where_the_later_rate_is_reached() -> None:
    slow_start = [0] * 10 + [100] * 30

    assert ramp(slow_start) == pytest.approx(0.7)
    assert ramp([100] * 40) == pytest.approx(0.2)
    assert ramp([0] * 40) is None


def test_goodput_leaves_the_warm_up_out() -> None:
    bins = [0] * 20 + [100] * 60

    assert goodput_of(bins, 4.0) == pytest.approx(2000)


def test_the_ceiling_is_lower_by_what_a_black_out_takes() -> None:
    plan = BenchPlan(seconds=9.0)
    whole = replace(SCENARIOS["failover_best"], happenings=())

    struck = ceiling_of(SCENARIOS["failover_best"], 1.0, plan, NO_FLOW)

    lost = 100 * MBIT * 3 / 8 * plan.traffic.payload_share
    assert struck == pytest.approx(ceiling_of(whole, 1.0, plan, NO_FLOW) - lost)


def test_the_ceiling_of_changing_lines_is_that_of_the_time_of_the_run() -> None:
    plan = BenchPlan(seconds=4.0)

    def ceiling(began: float, traces_began: float) -> float:
        flow = replace(NO_FLOW, began=began, traces_began=traces_began)
        return ceiling_of(SCENARIOS["two_lte"], 1.0, plan, flow)

    assert ceiling(0.2, 0.0) == pytest.approx(ceiling(1234.7, 1234.5))
    assert ceiling(0.2, 0.0) != pytest.approx(ceiling(5.2, 0.0), rel=0.01)


def test_a_sparse_flow_is_judged_by_when_its_datagrams_were_sent() -> None:
    sent = [0.0, 1.0, 2.0, 3.0]
    arrived = [(0, 0.010), (1, 0.020), (3, 0.040)]

    sparse = sparse_of(sent, arrived, begin=1.5)

    assert sparse.idle_p95 == 0.020
    assert sparse.p50 == 0.040
    assert sparse.loss == 0.5


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_standard_scenarios_need_no_scaling(name: str) -> None:
    specs = specs_of(SCENARIOS[name], scale_of(SCENARIOS[name]))

    assert [(spec.to_server, spec.to_client) for spec in specs] == list(SCENARIOS[name].wans)


def test_lines_too_fast_for_the_emulator_are_scaled_in_proportion() -> None:
    fast = LinkSettings(rate=TRUSTED_RATE, delay=0.01, queue=80_000)
    policed = LinkSettings(
        rate=3 * TRUSTED_RATE, delay=0.01, policer=Policer(rate=TRUSTED_RATE, bucket=60_000)
    )
    scenario = Scenario(purpose="too fast", wans=(WanLinks(fast, fast), WanLinks(policed, policed)))

    first, second = specs_of(scenario, scale_of(scenario))

    assert first.to_client is not None
    assert first.to_client.rate == pytest.approx(TRUSTED_RATE / 2)
    assert first.to_client.queue == 40_000
    assert second.to_client is not None
    assert second.to_client.policer == Policer(rate=TRUSTED_RATE / 2, bucket=30_000)


def test_a_row_marks_busy_processors_and_scaled_rates() -> None:
    quiet = bench_report.row(figures(one_run(80)))
    busy = bench_report.row(figures(one_run(80, cpu=0.97), scale=0.5))

    assert quiet.split()[:5] == ["example", "80.0", "0.80", "90.0", "-"]
    assert quiet.endswith(" 50")
    assert busy.endswith(" 97*  rates x 0.50")


def test_a_row_says_that_a_connection_ended_early() -> None:
    run = one_run(80)
    reset = replace(run, bond=replace(run.bond, ended_early=("Connection reset by peer",)))

    row = bench_report.row(figures(run, reset))
    (scenario,) = bench_report.document([(BenchPlan(), figures(run, reset))])["scenarios"]

    assert row.endswith("  ENDED EARLY: Connection reset by peer")
    assert scenario["ended_early"] == ["Connection reset by peer"]
    assert "EARLY" not in bench_report.row(figures(run))


def test_a_row_shows_the_daemons_work_and_the_timeouts() -> None:
    run = one_run(80)

    row = bench_report.row(figures(replace(run, bond=replace(run.bond, timeouts=3))))

    assert row.split()[-4:] == ["3", "50", "15.5", "50"]


def test_a_line_is_back_where_a_quarter_of_its_rate_is_sent_by_it() -> None:
    line = LineReturn(rate=1000.0, began=10.0)
    for eighth in range(8):
        line.handle_sample(max(0, 40 * (eighth - 3)), 10 + eighth / 8)

    assert line.seconds == 0.375


def test_a_line_that_only_probes_use_is_not_back() -> None:
    line = LineReturn(rate=1000.0, began=10.0)
    for tenth in range(30):
        line.handle_sample(20 * tenth, 10 + tenth / 10)

    assert line.seconds is None


def test_a_counter_that_begins_anew_is_no_return() -> None:
    line = LineReturn(rate=1000.0, began=10.0)

    line.handle_sample(9000, 10.0)
    line.handle_sample(0, 10.15)
    line.handle_sample(60, 10.3)

    assert line.seconds is None


def test_a_row_shows_the_slowest_return_of_a_run() -> None:
    run = one_run(80)
    quick, slow, never = (Returned(wan=1, seconds=seconds) for seconds in (0.2, 1.25, None))

    twice = figures(replace(run, returns=(slow, quick)))
    lost = figures(replace(run, returns=(quick, never)))
    (scenario,) = bench_report.document([(BenchPlan(), lost)])["scenarios"]

    assert bench_report.row(twice).endswith("  back after 1.2 s")
    assert bench_report.row(lost).endswith("  not back")
    assert scenario["returned"] is None
    assert scenario["runs"][0]["returns"][0] == {"wan": 1, "seconds": 0.2}


def test_a_stream_ends_early_only_before_the_receiver_closes() -> None:
    sent = {"ended": [(4.0, "Connection reset by peer"), (10.1, "Broken pipe")]}
    got = {"ended": [(4.1, "The sender closed")]}

    assert early_ends(got, sent, end=10.0) == ("Connection reset by peer",)
    assert early_ends(got, {}, end=10.0) == ("The sender closed",)


@pytest.mark.parametrize(
    ("is_reset", "reason"), [(False, "The sender closed"), (True, "Connection reset by peer")]
)
def test_a_receiver_says_that_its_stream_ended(is_reset: bool, reason: str) -> None:
    near, far = tcp_pair()
    with near:
        if is_reset:
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()

        got = receive([near], 5.0)

    ((_, said),) = cast(Ended, got["ended"])
    assert said == reason


def test_a_sender_says_when_its_stream_was_reset() -> None:
    near, far = tcp_pair()
    with near:
        far.close()

        sent = send([near], 5.0)

    ((_, said),) = cast(Ended, sent["ended"])
    assert said in ("Connection reset by peer", "Broken pipe")


def test_a_process_that_works_takes_cpu_seconds() -> None:
    before = cpu_seconds(os.getpid())
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass

    assert 0.03 <= cpu_seconds(os.getpid()) - before < 5


def test_the_counters_of_tcp_are_read_by_name() -> None:
    text = "TcpExt: SyncookiesSent TCPTimeouts\nTcpExt: 0 7\nIpExt: InNoRoutes\nIpExt: 0\n"

    assert read_tcp_counters(text) == {"SyncookiesSent": 0, "TCPTimeouts": 7}


def test_the_document_is_json_with_every_run() -> None:
    document = bench_report.document([(BenchPlan(), figures(one_run(50), one_run(60)))])

    (scenario,) = json.loads(json.dumps(document))["scenarios"]
    assert scenario["norm"] == pytest.approx(0.55)
    assert len(scenario["runs"]) == 2


def test_what_the_bulk_is_stands_in_title_and_document() -> None:
    plan = BenchPlan(traffic=Traffic.QUIC, congestion="bbr")

    (scenario,) = bench_report.document([(plan, figures(one_run(50)))])["scenarios"]
    title = bench_report.title(plan)

    assert json.loads(json.dumps(scenario))["traffic"] == "quic"
    assert "quic with bbr, 1 flow down" in title
    assert "MPTCP is left out: it carries what TCP carries" in title


def test_every_traffic_of_the_simulator_can_be_asked_for() -> None:
    # A stream is no bulk, so the simulator's scoreboard has no norm for it.
    assert {traffic.value for traffic in Traffic} | {STREAM} == set(TRAFFIC)


def test_quic_has_no_congestion_control_of_the_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["bench", "--traffic", "quic", "--congestion", "reno"])

    assert code == 64
    assert "which knows cubic, bbr" in capsys.readouterr().err


def test_a_bar_of_the_chart_has_marks_to_compare_with() -> None:
    ((label, share, marks),) = bench_report.bars([(BenchPlan(), figures(one_run(50, mptcp=70)))])

    assert label == "example cubic"
    assert share == pytest.approx(0.5)
    assert marks == {"best line alone": pytest.approx(0.9), "MPTCP": pytest.approx(0.7)}


def test_a_run_of_the_bond_only_has_no_best_line() -> None:
    measured = figures(replace(one_run(80), lines=()))

    row = bench_report.row(measured)

    assert measured.best_line is None
    assert row.split()[:5] == ["example", "80.0", "0.80", "-", "-"]
    ((_, _, marks),) = bench_report.bars([(BenchPlan(is_bond_only=True), measured)])
    assert marks == {}


def test_a_wrong_scenario_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["bench", "--scenario", "mix5"])

    assert code == 64
    assert "Did you mean 'mix4'?" in capsys.readouterr().err
