"""`mwb demo` as a person or a script runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from multiwanbond.cli import main

from .remains import remains_of

pytestmark = pytest.mark.netns

DEMO = [sys.executable, "-m", "multiwanbond", "demo"]
TIME_TO_LEAVE = 20.0


@contextmanager
def demo(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Yield a demo that runs."""
    with subprocess.Popen(
        [*DEMO, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


@pytest.mark.usefixtures("kernel")
def test_the_demo_survives_its_cut_and_says_so_in_json() -> None:
    with demo("--seconds", "12", "--json") as process:
        said, complaints = process.communicate(timeout=90)

    outcome = json.loads(said)
    assert process.returncode == 0, complaints
    assert outcome["is_success"]
    assert outcome["transfer"]["is_intact"]
    assert outcome["transfer"]["bytes"] > 20_000_000
    assert outcome["cut"]["received_bytes"] > 1_000_000
    assert outcome["cut"]["carried_again_after_s"] < 3
    assert remains_of(f"mwb-demo-{process.pid}-") == []


@pytest.mark.usefixtures("kernel")
def test_without_a_terminal_the_demo_tells_its_story_in_lines() -> None:
    with demo("--seconds", "8") as process:
        said, complaints = process.communicate(timeout=90)

    assert process.returncode == 0, complaints
    assert "\x1b" not in said
    for part in (
        "Fibre cut",
        "Fibre restored",
        "Longest stall",
        "SHA-256",
        "carried traffic again",
    ):
        assert part in said


@pytest.mark.usefixtures("kernel")
def test_on_a_terminal_the_demo_draws_a_table_until_ctrl_c() -> None:
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "25"}

    with subprocess.Popen([*DEMO, "--seconds", "30"], stdout=theirs, env=environment) as process:
        os.close(theirs)
        drawn = b""
        while b"DSL" not in drawn:
            drawn += os.read(ours, 65_536)
        process.send_signal(signal.SIGINT)
        with suppress(OSError):  # EIO: the other end is closed
            while data := os.read(ours, 65_536):
                drawn += data
        code = process.wait(TIME_TO_LEAVE)
    os.close(ours)

    assert code == 130
    assert b"use of the line" in drawn
    assert drawn.rstrip().endswith(b"\x1b[?25h")  # the cursor is visible again
    assert remains_of(f"mwb-demo-{process.pid}-") == []


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after", [0.7, 4.0])
def test_an_interrupted_demo_leaves_nothing_behind(number: signal.Signals, after: float) -> None:
    with demo("--seconds", "30", "--no-live") as process:
        time.sleep(after)
        process.send_signal(number)
        process.communicate(timeout=TIME_TO_LEAVE)

    assert process.returncode == 128 + number
    assert remains_of(f"mwb-demo-{process.pid}-") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can stop being root")
def test_the_demo_asks_for_root(capsys: pytest.CaptureFixture[str]) -> None:
    before = set(Path("/run").glob("mwb-*"))

    os.seteuid(65_534)
    try:
        code = main(["demo"])
    finally:
        os.seteuid(0)

    assert code == 77
    assert "run: sudo mwb demo" in capsys.readouterr().err
    assert set(Path("/run").glob("mwb-*")) == before
