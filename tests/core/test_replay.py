"""A counter is accepted once, whatever the order counters come in."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multiwanbond.core.replay import WINDOW, ReplayWindow


def a_window(*accepted: int) -> ReplayWindow:
    window = ReplayWindow()
    for counter in accepted:
        assert window.accept(counter)
    return window


@pytest.mark.parametrize(
    ("before", "counter", "expected"),
    [
        pytest.param([], 0, True, id="the first ever"),
        pytest.param([], 2**64 - 1, True, id="the greatest there is"),
        pytest.param([0], 0, False, id="seen"),
        pytest.param([0], 1, True, id="the next"),
        pytest.param([5], 4, True, id="overtaken"),
        pytest.param([5, 4], 4, False, id="overtaken and seen"),
        pytest.param([WINDOW - 1], 0, True, id="the last place of the window"),
        pytest.param([0, WINDOW - 1], 0, False, id="seen at the last place of the window"),
        pytest.param([WINDOW], 0, False, id="just too old"),
        pytest.param([2**40], 3, False, id="far too old"),
        pytest.param([3, 3 + WINDOW], 4, True, id="skipped, where a ring was cleared"),
        pytest.param([4, 3 + WINDOW], 4, False, id="seen, just before the ring comes round"),
        pytest.param([4, 5 + WINDOW], 4 + WINDOW, True, id="in the place of an older one"),
        pytest.param([4, 900, 5 + 2 * WINDOW], 900 + WINDOW, True, id="after a jump"),
    ],
)
def test_what_is_accepted(before: list[int], counter: int, expected: bool) -> None:
    window = a_window(*before)

    assert window.is_fresh(counter) is expected
    assert window.accept(counter) is expected
    assert not window.is_fresh(counter)
    assert not window.accept(counter)


def test_asking_changes_nothing() -> None:
    window = a_window(10)

    window.is_fresh(10_000_000)

    assert window.highest == 10
    assert window.is_fresh(9)


def test_a_refused_counter_moves_nothing() -> None:
    window = a_window(WINDOW + 10)

    window.accept(5)

    assert window.highest == WINDOW + 10


@pytest.mark.parametrize("first", [0, 1, 30, WINDOW - 3, WINDOW, 5 * WINDOW - 3, 2**63])
@pytest.mark.parametrize("count", [1, 2, 64, WINDOW, WINDOW + 1])
def test_a_run_is_accepted_as_a_whole(first: int, count: int) -> None:
    window = ReplayWindow()

    assert window.accept_run(first, count)

    assert window.highest == first + count - 1
    assert not window.is_fresh(first)
    assert not window.is_fresh(first + count - 1)
    assert window.is_fresh(first + count)
    if first:
        assert window.is_fresh(first - 1) == (count < WINDOW)


def test_a_run_that_is_not_all_new_is_left_to_be_accepted_one_by_one() -> None:
    window = a_window(10, 12)

    assert not window.accept_run(11, 4)

    assert [window.accept(counter) for counter in range(11, 15)] == [True, False, True, True]


class Naive:
    """What a replay window promises, with a set."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.highest = -1

    def accept(self, counter: int) -> bool:
        if counter in self.seen or counter <= self.highest - WINDOW:
            return False
        self.seen.add(counter)
        self.highest = max(self.highest, counter)
        return True

    def accept_run(self, first: int, count: int) -> bool:
        if first <= self.highest:
            return False
        self.seen.update(range(first, first + count))
        self.highest = first + count - 1
        return True


# Steps from the highest so far: mostly near it, sometimes about a window away or far ahead.
STEPS = (
    st.integers(-40, 40)
    | st.integers(-WINDOW - 3, -WINDOW + 3)
    | st.integers(WINDOW - 3, WINDOW + 3)
    | st.integers(-2 * WINDOW, 2 * WINDOW)
    | st.just(10**15)
)
RUNS = st.just(0) | st.integers(1, 70) | st.integers(WINDOW - 2, WINDOW + 2)


@settings(deadline=None)
@given(st.lists(st.tuples(STEPS, RUNS), max_size=30))
def test_the_window_agrees_with_a_set(moves: list[tuple[int, int]]) -> None:
    window, naive = ReplayWindow(), Naive()

    for step, run in moves:
        counter = max(0, naive.highest + step)
        if run:
            assert window.accept_run(counter, run) == naive.accept_run(counter, run)
        else:
            assert window.accept(counter) == naive.accept(counter)
        assert window.highest == naive.highest

    for counter in range(max(0, naive.highest - WINDOW - 2), naive.highest + 3):
        is_fresh = counter not in naive.seen and counter > naive.highest - WINDOW
        assert window.is_fresh(counter) == is_fresh
