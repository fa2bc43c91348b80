"""Deadlines of many things, and the least of all."""

from multiwanbond.core.timers import DeadlineQueue, earliest


def test_no_deadline_means_never() -> None:
    assert earliest([None, None]) is None
    assert earliest([None, 3.0, 2.0]) == 2.0


def test_keys_come_up_in_the_order_of_their_deadlines() -> None:
    queue: DeadlineQueue[str] = DeadlineQueue()
    for key, deadline in {"c": 3.0, "a": 1.0, "b": 2.0}.items():
        queue.set(key, deadline)

    assert queue.earliest() == 1.0
    assert list(queue.pop_due(2.5)) == ["a", "b"]
    assert queue.earliest() == 3.0


def test_a_changed_deadline_replaces_the_old_one() -> None:
    queue: DeadlineQueue[str] = DeadlineQueue()
    queue.set("a", 1.0)
    queue.set("a", 5.0)
    queue.set("b", 2.0)
    queue.set("b", None)

    assert list(queue.pop_due(4.0)) == []
    assert queue.earliest() == 5.0


def test_a_key_that_came_up_can_be_set_again_meanwhile() -> None:
    queue: DeadlineQueue[str] = DeadlineQueue()
    queue.set("a", 1.0)

    for key in queue.pop_due(1.0):
        queue.set(key, 2.0)

    assert queue.earliest() == 2.0
