"""Children, and the signals that end their parent."""

import os
import signal

import pytest

from multiwanbond.lab.processes import Interrupted, interruptible, uninterrupted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_waits_for_the_end_of_what_must_not_be_interrupted(number: signal.Signals) -> None:
    done = []

    def work() -> None:
        with interruptible(), uninterrupted():
            os.kill(os.getpid(), number)
            done.append("all")

    with pytest.raises(Interrupted) as interrupted:
        work()

    assert done == ["all"]
    assert interrupted.value.exit_code == 128 + number
