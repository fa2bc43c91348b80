"""Quantities as operators write them ("200ms", "50Mbit") and as the code wants them (s, bytes)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([A-Za-z%/µ]*)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """One kind of quantity: its suffixes, its base unit, and how to write a value back."""

    name: str
    """What an error message calls it, with its article: "a duration"."""
    example: str
    """A valid value, for error messages and help."""
    factors: Mapping[str, float]
    """Base units per suffix, lower case; the suffix "" is there if a bare number is allowed."""
    show: Callable[[float], str]
    """A value in base units as an operator would write it."""

    def parse(self, text: str) -> float:
        """Return `text` in base units.

        Raises:
            ValueError: with a sentence that says what was expected.
        """
        match = _NUMBER.fullmatch(text)
        factor = self.factors.get(match[2].lower()) if match else None
        if match is None or factor is None:
            msg = f"expected {self.name} such as {self.example!r}, found {text!r}"
            raise ValueError(msg)
        return float(match[1]) * factor


def _trimmed(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def format_duration(seconds: float) -> str:
    """Return `seconds` in the largest unit that leaves no leading zero: "200ms", "1.5s", "2min"."""
    for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if seconds >= size:
            return _trimmed(seconds / size) + unit
    return _trimmed(seconds * 1000) + "ms"


def format_rate(bytes_per_second: float) -> str:
    """Return a rate in bits per second with a decimal prefix: "50Mbit"."""
    bits = bytes_per_second * 8
    for unit, size in (("Gbit", 1e9), ("Mbit", 1e6), ("kbit", 1e3)):
        if bits >= size:
            return _trimmed(bits / size) + unit
    return _trimmed(bits) + "bit"


def format_size(size: float) -> str:
    """Return a number of bytes with a decimal prefix: "1.5MB"."""
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= step:
            return _trimmed(size / step) + unit
    return _trimmed(size) + "B"


def _format_percent(percent: float) -> str:
    return _trimmed(percent) + "%"


DURATION = Quantity(
    name="a duration",
    example="200ms",
    factors=MappingProxyType(
        {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
    ),
    show=format_duration,
)
"""Seconds. A bare number is refused: nobody knows whether "5" meant seconds or milliseconds."""

RATE = Quantity(
    name="a rate",
    example="50Mbit",
    factors=MappingProxyType(
        {
            "": 1.0,  # the reference's max_bandwidth is a bare number of bytes a second
            **{
                f"{prefix}bit{per}": size / 8
                for prefix, size in (("", 1.0), ("k", 1e3), ("m", 1e6), ("g", 1e9))
                for per in ("", "/s")
            },
            **{
                f"{prefix}b/s": size
                for prefix, size in (("", 1.0), ("k", 1e3), ("m", 1e6), ("g", 1e9))
            },
        }
    ),
    show=format_rate,
)
"""Bytes per second; "Mbit" is bits, "MB/s" and a bare number are bytes."""

PERCENT = Quantity(
    name="a percentage",
    example="2.0",
    factors=MappingProxyType({"": 1.0, "%": 1.0}),
    show=_format_percent,
)
"""Percent, as the reference writes it: 2.0 is two in a hundred."""
