"""What is written to the journal has its priority, and what is written elsewhere its time."""

import os
import re
import subprocess
import sys

import pytest

SAY = """
import logging
from multiwanbond.daemon.report import say, start_logging
start_logging()
say(logging.WARNING, "WAN LTE is Down.", wan="LTE")
"""
CRASH = f"{SAY}\nraise RuntimeError('a fault')\n"


def said(*command: str, is_elsewhere: bool = False) -> tuple[list[str], int]:
    """Return the lines that a process writes on a pipe that the environment calls the journal."""
    reader, writer = os.pipe()
    found = os.fstat(writer)
    stream = f"{found.st_dev}:{found.st_ino + is_elsewhere}"
    done = subprocess.run(
        [sys.executable, *command],
        stderr=writer,
        stdout=subprocess.PIPE,
        env={**os.environ, "JOURNAL_STREAM": stream},
        timeout=60,
        check=False,
    )
    os.close(writer)
    with open(reader) as lines:
        return lines.read().splitlines(), done.returncode


def test_in_the_journal_a_line_begins_with_its_priority_and_has_no_time() -> None:
    lines, _ = said("-c", SAY)

    assert lines == ["<4>WAN LTE is Down. | wan=LTE"]


def test_elsewhere_a_line_has_the_time_even_if_a_service_started_us() -> None:
    (line,), _ = said("-c", SAY, is_elsewhere=True)

    assert re.fullmatch(r"\d{4}-\d\d-\d\d [\d:.]{12} WARNING WAN LTE is Down. \| wan=LTE", line)


def test_every_line_of_a_crash_is_critical_in_the_journal() -> None:
    lines, code = said("-c", CRASH)

    assert code == 1
    assert lines[1] == "<2>The daemon ends by a fault of ours."
    assert lines[-1] == "<2>RuntimeError: a fault"
    assert all(line.startswith("<2>") for line in lines[1:])


@pytest.mark.parametrize(("is_elsewhere", "begins"), [(False, "<3>mwb: "), (True, "mwb: ")])
def test_what_keeps_the_daemon_from_starting_is_an_error(is_elsewhere: bool, begins: str) -> None:
    lines, code = said(
        "-m", "multiwanbond", "run", "-c", "/nonexistent.yaml", is_elsewhere=is_elsewhere
    )

    assert code == 78
    assert lines[0].startswith(f"{begins}/nonexistent.yaml: does not exist.")
