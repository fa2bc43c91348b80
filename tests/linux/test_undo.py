import pytest

from multiwanbond.linux.undo import Undo


def test_the_newest_change_is_reversed_first() -> None:
    undo, log = Undo(), list[str]()
    undo.push("device", lambda: log.append("device"))
    undo.push("route", lambda: log.append("route"))

    failures = undo.run()

    assert log == ["route", "device"]
    assert failures == []


def test_a_failing_reversal_is_reported_and_does_not_stop_the_others() -> None:
    undo, log = Undo(), list[str]()

    def fail() -> None:
        raise OSError("device busy")

    undo.push("device mwb0", lambda: log.append("device"))
    undo.push("route 10.0.0.0/8", fail)

    failures = undo.run()

    assert log == ["device"]
    assert failures == ["route 10.0.0.0/8: device busy"]


def test_nothing_is_reversed_twice() -> None:
    undo, log = Undo(), list[str]()
    undo.push("device", lambda: log.append("device"))

    undo.run()
    undo.run()

    assert log == ["device"]


def test_committed_changes_stay() -> None:
    undo, log = Undo(), list[str]()
    undo.push("device", lambda: log.append("device"))

    undo.commit()
    undo.run()

    assert log == []


def test_a_failing_block_reverses_what_it_did() -> None:
    log = list[str]()

    def bring_up() -> None:
        with Undo() as undo:
            undo.push("device", lambda: log.append("device"))
            raise ValueError("no route")

    with pytest.raises(ValueError, match="no route"):
        bring_up()

    assert log == ["device"]


def test_a_failing_block_says_what_could_not_be_reversed() -> None:
    def fail() -> None:
        raise OSError("device busy")

    def bring_up() -> None:
        with Undo() as undo:
            undo.push("device mwb0", fail)
            raise ValueError("no route")

    with pytest.raises(ValueError, match="no route") as caught:
        bring_up()

    assert caught.value.__notes__ == ["could not undo device mwb0: device busy"]


def test_taken_reversals_survive_the_block_and_run_later() -> None:
    log = list[str]()

    with Undo() as undo:
        undo.push("device", lambda: log.append("device"))
        kept = undo.take()

    assert log == []
    assert kept.run() == []
    assert log == ["device"]
