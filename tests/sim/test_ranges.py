"""Ranges behave as the set of integers they stand for."""

from hypothesis import given
from hypothesis import strategies as st

from multiwanbond.sim.ranges import Ranges

SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), max_size=30)


@given(spans=SPANS, bound=st.integers(0, 70))
def test_ranges_are_a_set(spans: list[tuple[int, int]], bound: int) -> None:
    ranges, model = Ranges(), set[int]()

    for low, length in spans:
        new = set(range(low, low + length))
        fresh = {n for start, end in ranges.add(low, low + length) for n in range(start, end)}
        assert fresh == new - model
        model |= new
    ranges.drop_below(bound)
    model = {n for n in model if n >= bound}

    assert ranges.size() == len(model)
    for n in range(80):
        covering = ranges.covering(n)
        assert (covering is not None) == (n in model)
        if covering is not None:
            assert set(range(*covering)) <= model
            assert covering[1] not in model
