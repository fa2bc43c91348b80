"""`mwb bench` as a person or a script runs it."""

import json
import signal
import subprocess
import sys
from typing import Any

import pytest

from .remains import remains_of

pytestmark = pytest.mark.netns

BENCH = [sys.executable, "-m", "multiwanbond", "bench", "--scenario", "fibre_and_vdsl"]


@pytest.mark.usefixtures("kernel")
def test_a_bench_measures_lines_and_bond_and_leaves_nothing() -> None:
    with subprocess.Popen(
        [*BENCH, "--seconds", "1", "--runs", "1", "--json", "-"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        said, complaints = process.communicate(timeout=120)

    assert process.returncode == 0, complaints
    (scenario,) = json.loads(said)["scenarios"]
    (run,) = scenario["runs"]
    assert scenario["norm"] > 0
    assert len(run["lines"]) == 2
    assert all(rate > 0 for rate in run["lines"])
    assert run["sparse"]["p50"] is not None
    assert run["cpu_per_gb"] > 0
    assert run["bond"]["ended_early"] == []
    assert remains_of(f"mwb-bench-{process.pid}-") == []


@pytest.mark.usefixtures("kernel")
def test_an_interrupted_bench_leaves_nothing() -> None:
    with subprocess.Popen(
        [*BENCH, "--seconds", "60"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it has begun

        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "Interrupted; everything is removed again." in complaints
    assert remains_of(f"mwb-bench-{process.pid}-") == []


def measured(*options: str) -> dict[str, Any]:
    """What one run of a second finds."""
    said = subprocess.run(
        [*BENCH, *options, "--seconds", "1", "--runs", "1", "--json", "-"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    document: dict[str, Any] = json.loads(said)
    return document


@pytest.mark.usefixtures("kernel")
def test_a_stream_crosses_the_bond() -> None:
    document = measured("--traffic", "stream")

    (stream,) = document["streams"]
    (run,) = stream["runs"]
    assert run["sent"] > 250
    assert run["lost"] < run["sent"] / 2


@pytest.mark.usefixtures("kernel")
def test_an_idle_bond_takes_memory_and_little_time() -> None:
    document = measured("--idle")

    (idle,) = document["idle"]
    for cost in (idle["runs"][0]["client"], idle["runs"][0]["server"]):
        assert cost["memory"] > 1_000_000
        assert cost["cpu_per_minute"] < 60
