"""Quantities survive being written and read, and what is ambiguous is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiwanbond.units import DURATION, PERCENT, RATE, SIZE, NotationError, Quantity, format_size


@pytest.mark.parametrize(
    ("quantity", "text", "value"),
    [
        (DURATION, "200ms", 0.2),
        (DURATION, " 1.5 s ", 1.5),
        (DURATION, ".5s", 0.5),
        (DURATION, "100us", 1e-4),
        (DURATION, "100µs", 1e-4),
        (DURATION, "2min", 120),
        (DURATION, "1H", 3600),
        (RATE, "50Mbit", 6.25e6),
        (RATE, "50mbit/s", 6.25e6),
        (RATE, "10MB/s", 1e7),
        (RATE, "104857600", 104857600),
        (SIZE, "50 GB", 5e10),
        (SIZE, "1.5TB", 1.5e12),
        (SIZE, "500MB", 5e8),
        (PERCENT, "2.0", 2),
        (PERCENT, "2%", 2),
    ],
)
def test_a_quantity_is_read_as_operators_write_it(
    quantity: Quantity, text: str, value: float
) -> None:
    read = quantity.parse(text)

    assert read == pytest.approx(value)


@pytest.mark.parametrize(
    ("quantity", "text"),
    [
        (DURATION, "5"),
        (DURATION, "-5ms"),
        (DURATION, "ms"),
        (DURATION, ""),
        (DURATION, "5 weeks"),
        (DURATION, "1e3s"),
        (DURATION, "٣s"),
        (RATE, "50Mb/s"),
        (RATE, "9" * 400),
        (SIZE, "50"),
        (SIZE, "50Gb"),
        (PERCENT, "nan"),
        (PERCENT, "inf"),
    ],
)
def test_what_is_no_quantity_is_quoted_and_an_example_shown(quantity: Quantity, text: str) -> None:
    with pytest.raises(NotationError) as caught:
        quantity.parse(text)

    assert repr(text) in caught.value.problem
    assert quantity.example in caught.value.remedy


@pytest.mark.parametrize(
    ("quantity", "value", "text"),
    [
        (DURATION, 0.02, "20ms"),
        (DURATION, 0.0005, "0.5ms"),
        (DURATION, 1.5, "1.5s"),
        (DURATION, 120, "2min"),
        (DURATION, 7200, "2h"),
        (DURATION, 0, "0ms"),
        (RATE, 6.25e6, "50Mbit"),
        (RATE, 1.25e8, "1Gbit"),
        (RATE, 100, "800bit"),
        (SIZE, 5e10, "50GB"),
        (SIZE, 2e12, "2TB"),
        (PERCENT, 2.0, "2%"),
    ],
)
def test_a_quantity_is_shown_in_its_natural_unit(
    quantity: Quantity, value: float, text: str
) -> None:
    shown = quantity.show(value)

    assert shown == text


def test_sizes_are_shown_with_decimal_prefixes() -> None:
    shown = [format_size(size) for size in (12, 1_500_000, 2e9)]

    assert shown == ["12B", "1.5MB", "2GB"]


@pytest.mark.parametrize("quantity", [DURATION, RATE, PERCENT], ids=lambda each: each.name)
@given(value=st.floats(min_value=0.001, max_value=1e5))
def test_what_is_shown_reads_back_as_the_same_value(quantity: Quantity, value: float) -> None:
    read = quantity.parse(quantity.show(value))

    assert read == pytest.approx(value, rel=0.01, abs=1e-3)
