"""The scoreboard counts what it says, on lines whose outcome is known beforehand."""

from dataclasses import replace

import pytest

from multiwanbond.sim import scoreboard_report
from multiwanbond.sim.links import LinkSettings, Policer, RateTrace
from multiwanbond.sim.network import WanLinks
from multiwanbond.sim.scenarios import SCENARIOS, Happening, Incident, Scenario
from multiwanbond.sim.scoreboard import (
    SECONDS,
    Figures,
    Plan,
    Span,
    capacity,
    default_seconds,
    measure,
    without_tunnel_header,
)

MBIT = 1e6 / 8
SEED = 41
SLOW = LinkSettings(rate=4 * MBIT, delay=0.010, queue=30_000)
SLOWER = LinkSettings(rate=1 * MBIT, delay=0.020, queue=15_000)
UNEQUAL = Scenario(
    purpose="fast to simulate",
    wans=(WanLinks(up=SLOWER, down=SLOWER), WanLinks(up=SLOW, down=SLOW)),
)
STRUCK = replace(
    UNEQUAL,
    happenings=(Happening(wan=1, incident=Incident.BLACK_OUT, start=2.0, duration=1.0),),
)


def run(scenario: Scenario, plan: Plan) -> Figures:
    print(f"seed {plan.seed}")
    return measure("unequal", scenario, plan)


def test_a_bond_over_one_line_gets_what_the_line_gets_alone() -> None:
    # Nothing is lost here: what the engine does about losses is not the scoreboard's to judge.
    deep = replace(SLOW, queue=1_000_000)
    alone = replace(UNEQUAL, wans=(WanLinks(up=deep, down=deep),))

    figures = run(alone, Plan(seconds=6.0, seed=SEED))

    assert figures.best_line == 1
    assert figures.ratio == pytest.approx(1.0, abs=0.05)
    # More than 1: what waited at the end of the warm-up counts as carried after it.
    assert 0.9 < figures.norm < 1.06


@pytest.mark.parametrize("is_upload", [False, True], ids=["down", "up"])
def test_the_best_line_is_the_one_that_carries_most(is_upload: bool) -> None:
    figures = run(UNEQUAL, Plan(seconds=4.0, seed=SEED, is_upload=is_upload))

    assert figures.best_line == 2
    assert figures.best_line_goodput == pytest.approx(4 * MBIT * 1388 / 1500, rel=0.1)
    assert figures.ceiling == pytest.approx(5 * MBIT * 1388 / 1500)
    assert figures.ramp is not None


def test_flows_are_counted_together() -> None:
    figures = run(UNEQUAL, Plan(seconds=4.0, seed=SEED, flows=3))

    assert figures.best_line_goodput > 0.85 * 4 * MBIT * 1388 / 1500
    assert figures.goodput <= 1.05 * figures.ceiling


def test_a_sparse_flow_is_timed_with_and_without_company() -> None:
    sparse = run(UNEQUAL, Plan(seconds=4.0, seed=SEED)).sparse

    assert sparse.idle_p95 is not None
    assert sparse.p50 is not None
    assert sparse.p95 is not None
    assert sparse.p99 is not None
    assert 0.010 < sparse.idle_p95 < 0.030
    assert sparse.p50 <= sparse.p95 <= sparse.p99
    assert sparse.loss == 0


def test_an_incident_strikes_the_bond_and_the_line_alone() -> None:
    calm = run(UNEQUAL, Plan(seconds=4.0, seed=SEED))

    struck = run(STRUCK, Plan(seconds=4.0, seed=SEED))

    assert struck.goodput < calm.goodput
    assert struck.best_line_goodput < 0.85 * calm.best_line_goodput
    assert struck.ceiling < calm.ceiling
    assert struck.longest_stall > calm.longest_stall


def test_the_same_seed_gives_the_same_figures() -> None:
    first, second = (run(UNEQUAL, Plan(seconds=1.0, seed=SEED)) for _ in range(2))

    assert first == second


def test_a_black_out_is_no_capacity() -> None:
    outage = STRUCK.happenings[0]

    assert capacity(SLOW, Span(1000.0, 1004.0), [outage], 1000.0) == 3 * MBIT
    assert capacity(SLOW, Span(1003.0, 1004.0), [outage], 1000.0) == 4 * MBIT


def test_the_capacity_of_a_changing_line_is_the_mean_of_its_span() -> None:
    link = replace(SLOW, rate=RateTrace(rates=(1000.0, 3000.0), step=2.0))

    assert capacity(link, Span(1000.0, 1002.0), [], 1000.0) == pytest.approx(1000.0)
    assert capacity(link, Span(1001.0, 1003.0), [], 1000.0) == pytest.approx(2000.0)


def test_a_policed_line_carries_what_the_policer_lets_through() -> None:
    link = replace(SLOW, policer=Policer(rate=1 * MBIT, bucket=15_000))

    plain = without_tunnel_header(link)

    assert capacity(link, Span(1000.0, 1001.0), [], 1000.0) == 1 * MBIT
    assert plain.policer == Policer(rate=0.96 * MBIT, bucket=14_400)
    assert plain.rate == 0.96 * 4 * MBIT


def test_a_run_lasts_until_a_struck_line_has_returned() -> None:
    assert default_seconds(SCENARIOS["mix4"]) == SECONDS
    assert default_seconds(SCENARIOS["failover_best"]) == 9.0
    assert default_seconds(SCENARIOS["freeze"]) < 5.0


def test_rows_of_the_table_fit_a_terminal_and_its_header() -> None:
    figures = run(UNEQUAL, Plan(seconds=1.0, seed=SEED))
    worst = replace(figures, name="three_unequal", ramp=None, resent=99_999, longest_stall=25.0)

    rows = [scoreboard_report.row(figures), scoreboard_report.row(worst)]

    widths = {len(line) for line in [*rows, scoreboard_report.HEADER.splitlines()[1]]}
    assert len(widths) == 1
    assert widths.pop() <= 80
    assert max(map(len, scoreboard_report.LEGEND)) <= 100


def test_the_chart_has_a_bar_per_run() -> None:
    plan = Plan(seconds=1.0, seed=SEED)
    figures = run(UNEQUAL, plan)

    bars = scoreboard_report.bars([(plan, figures)] * 3)

    assert [(label, share) for label, share, _ in bars] == 3 * [("unequal cubic", figures.norm)]
    assert bars[0][2]["best line alone"] * figures.ceiling == pytest.approx(
        figures.best_line_goodput
    )


def test_medians_are_taken_figure_by_figure() -> None:
    first = run(UNEQUAL, Plan(seconds=1.0, seed=SEED))
    second = replace(first, goodput=2 * first.goodput, ramp=None, resent=7)
    third = replace(first, goodput=3 * first.goodput, ramp=None, resent=9)

    middle = scoreboard_report.medians([third, first, second])

    assert middle.goodput == 2 * first.goodput
    assert middle.ramp is None
    assert middle.resent == 7
    assert middle.sparse == first.sparse
    assert scoreboard_report.medians([first]) == first


def test_a_summary_names_what_must_not_be() -> None:
    figures = run(UNEQUAL, Plan(seconds=1.0, seed=SEED))
    good = replace(figures, name="good", goodput=figures.ceiling, best_line_goodput=1.0)
    bad = replace(good, name="bad", goodput=0.5 * good.ceiling, best_line_goodput=good.ceiling)

    summary = scoreboard_report.summary([good, bad, good])

    expected = "3 mixes: norm median 1.00, worst 0.50 (bad); below the best line: 1 (bad)"
    assert summary == expected
