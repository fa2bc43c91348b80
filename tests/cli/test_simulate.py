"""`mwb simulate` runs scenarios without root, prints a table, and writes files on request."""

import json
from pathlib import Path

import pytest

from multiwanbond.cli import main
from multiwanbond.cli.simulate import MOST_RANDOM, SENDERS, TRAFFIC
from multiwanbond.sim.random_mixes import MOST
from multiwanbond.sim.scoreboard import InnerSender, Traffic

TINY = ["simulate", "--scenario", "geo", "--seconds", "0.5"]


def test_a_scenario_is_a_row_of_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(TINY)

    out = capsys.readouterr().out
    assert code == 0
    assert out.startswith("cubic, 1 flow down, mode adaptive, seed 1\n")
    assert sum(line.startswith("geo ") for line in out.splitlines()) == 1
    assert "norm:" in out


def test_json_on_standard_output_is_alone(capsys: pytest.CaptureFixture[str]) -> None:
    code = main([*TINY, "--json", "-", "--up", "--flows", "2", "--mode", "round_robin"])

    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert code == 0
    assert run["name"] == "geo"
    assert run["direction"] == "up"
    assert run["flows"] == 2
    assert run["mode"] == "round_robin"
    assert run["seconds"] == 0.5
    assert run["norm"] == pytest.approx(run["goodput"] / run["ceiling"])


def test_files_are_written_beside_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures, chart = tmp_path / "figures.json", tmp_path / "chart.svg"

    code = main([*TINY, "--json", str(figures), "--svg", str(chart)])

    assert code == 0
    assert len(json.loads(figures.read_text())["runs"]) == 1
    assert chart.read_text().startswith("<svg")
    assert "geo" in capsys.readouterr().out


def test_a_file_that_cannot_be_written_is_noticed_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([*TINY, "--svg", str(tmp_path / "absent" / "chart.svg")])

    captured = capsys.readouterr()
    assert code == 69
    assert captured.out == ""
    assert "cannot be written" in captured.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--scenario", "mix5"], "Did you mean 'mix4'?"),
        (["--mode", "adaptiv"], "Did you mean 'adaptive'?"),
        (["--sender", "cubik"], "Did you mean 'cubic'?"),
        (["--scenario", "random100"], "there is no scenario 'random100'"),
        (["--flows", "0"], "1 to 100"),
        (["--runs", "0"], "1 to 20"),
        (["--random", "100"], "1 to 99"),
        (["--seconds", "nan"], "at least 0.5"),
        (["--seconds", "inf"], "at least 0.5"),
    ],
)
def test_a_mistake_is_explained(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["simulate", *arguments])

    assert code == 64
    assert expected in capsys.readouterr().err


def test_the_scenarios_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["simulate", "--scenario", "list"])

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert len(lines) == 15
    assert lines[0].startswith("mix4")


def test_every_sender_has_a_table_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    code = main([*TINY, "--sender", "cubic", "--sender", "bbr"])

    out = capsys.readouterr().out
    assert code == 0
    assert [line for line in out.splitlines() if "1 flow" in line] == [
        "cubic, 1 flow down, mode adaptive, seed 1",
        "bbr, 1 flow down, mode adaptive, seed 1",
    ]


def test_every_random_mix_can_be_asked_for() -> None:
    assert MOST_RANDOM == MOST


def test_every_sender_of_the_scoreboard_can_be_asked_for() -> None:
    assert {sender.value for sender in InnerSender} == set(SENDERS)
    assert {traffic.value for traffic in Traffic} == set(TRAFFIC)


def test_the_bulk_flows_may_be_quic(capsys: pytest.CaptureFixture[str]) -> None:
    code = main([*TINY, "--traffic", "quic"])

    out = capsys.readouterr().out
    assert code == 0
    assert out.startswith("quic with cubic, 1 flow down, mode adaptive, seed 1\n")


def test_short_fetches_are_timed_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["simulate", "--fetches", "--scenario", "geo", "--json", "-"])

    (run,) = json.loads(capsys.readouterr().out)["fetches"]
    assert code == 0
    assert run["name"] == "geo"
    assert set(run["fetches"]) == {"10000", "100000", "1000000"}
    assert run["page"]["ratio"] == pytest.approx(run["page"]["bond"] / run["page"]["best_line"])


def test_mixes_drawn_at_random_are_rows_with_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["simulate", "--random", "2", "--seconds", "0.5"])

    out = capsys.readouterr().out
    assert code == 0
    assert [line.split()[0] for line in out.splitlines() if line.startswith("random")] == [
        "random01",
        "random02",
    ]
    assert "\n2 mixes: norm median " in out


def test_mixes_drawn_at_random_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["simulate", "--random", "3", "--scenario", "list"])

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert [line.split()[0] for line in lines] == ["random01", "random02", "random03"]


def test_several_runs_are_one_row_of_medians_and_all_in_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"

    code = main([*TINY, "--runs", "3", "--seed", "5", "--json", str(figures)])

    out = capsys.readouterr().out
    assert code == 0
    assert "medians of seeds 5 to 7" in out
    assert sum(line.startswith("geo ") for line in out.splitlines()) == 1
    assert [run["seed"] for run in json.loads(figures.read_text())["runs"]] == [5, 6, 7]


@pytest.mark.parametrize(
    "option", [["--up"], ["--runs", "3"], ["--flows", "2"], ["--seconds", "2"]]
)
def test_what_has_no_effect_on_fetches_is_refused(
    option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["simulate", "--fetches", *option])

    assert code == 64
    assert f"{option[0]} does not go with --fetches" in capsys.readouterr().err
