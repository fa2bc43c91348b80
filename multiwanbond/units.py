"""Quantities as operators write them ("200ms", "50Mbit") and as the code wants them (s, bytes)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Protocol

_NUMBER: Final = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{0,15})?|\.[0-9]{1,15})\s*([A-Za-z%/µ]*)\s*")


class NotationError(ValueError):
    """A text is not what its notation asks for; says what was expected and how to write it."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}. {remedy}.")
        self.problem = problem
        self.remedy = remedy


class Notation(Protocol):
    """How a value is written: what `option()` needs to read, show and document a setting."""

    @property
    def name(self) -> str:
        """What an error message calls it, with its article: "a duration"."""

    @property
    def example(self) -> str:
        """A valid text, for error messages and help."""

    def parse(self, text: str) -> Any:
        """Return the value of `text`; raises NotationError."""

    def show(self, value: Any) -> str:
        """Return `value` as an operator would write it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A notation of numbers with a unit."""

    name: str
    example: str
    factors: Mapping[str, float]
    """Base units per suffix. One in lower case is also found in any other case; the suffix "" is
    there if a bare number is allowed."""
    format: Callable[[float], str]

    def parse(self, text: str) -> float:
        """Return `text` in base units.

        Raises:
            NotationError: it is no such quantity.
        """
        match = _NUMBER.fullmatch(text)
        if match is not None:
            number, suffix = match.groups()
            factor = self.factors.get(suffix) or self.factors.get(suffix.lower())
            if factor is not None:
                return float(number) * factor
        raise NotationError(
            f"expected {self.name}, found {text!r}", f"Write it like {self.example}"
        )

    def show(self, value: float) -> str:
        """Return `value`, in base units, as an operator would write it."""
        return self.format(value)


def _trimmed(value: float) -> str:
    text = f"{value:.3f}"
    return text.rstrip("0").rstrip(".")


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
    for unit, step in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= step:
            return _trimmed(size / step) + unit
    return _trimmed(size) + "B"


def _format_percent(percent: float) -> str:
    return _trimmed(percent) + "%"


def _rate_factors() -> dict[str, float]:
    factors = {"": 1.0}  # the reference's max_bandwidth is a bare number of bytes a second
    for prefix, size in (("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9)):
        factors[f"{prefix.lower()}bit"] = factors[f"{prefix.lower()}bit/s"] = size / 8
        # Only with the capital B, because half the world means bits by "Mb/s", and a limit that
        # is eight times off is not noticed.
        factors[f"{prefix}B/s"] = size
    return factors


DURATION: Final = Quantity(
    name="a duration",
    example="200ms",
    factors=MappingProxyType(
        {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
    ),
    format=format_duration,
)
"""Seconds. A bare number is refused: nobody knows whether "5" meant seconds or milliseconds."""

RATE: Final = Quantity(
    name="a rate",
    example="50Mbit",
    factors=MappingProxyType(_rate_factors()),
    format=format_rate,
)
"""Bytes per second; "Mbit" is bits, "MB/s" and a bare number are bytes."""

SIZE: Final = Quantity(
    name="an amount of data",
    example="50GB",
    # Only with the capital B, as above; and no bare number: nobody counts a month in bytes.
    factors=MappingProxyType({"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}),
    format=format_size,
)
"""Bytes, by decimal prefixes, as providers count them."""

PERCENT: Final = Quantity(
    name="a percentage",
    example="2.0",
    factors=MappingProxyType({"": 1.0, "%": 1.0}),
    format=_format_percent,
)
"""Percent, as the reference writes it: 2.0 is two in a hundred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrAuto:
    """A notation that also has the word "auto", whose value is None."""

    notation: Quantity

    @property
    def name(self) -> str:
        """What an error message calls it."""
        return f"{self.notation.name} or auto"

    @property
    def example(self) -> str:
        """A valid text."""
        return self.notation.example

    def parse(self, text: str) -> float | None:
        """Return the value of `text`; None of "auto".

        Raises:
            NotationError: it is neither.
        """
        if text.strip() == "auto":
            return None
        try:
            return self.notation.parse(text)
        except NotationError as exc:
            problem = f"expected {self.name}, found {text!r}"
            raise NotationError(problem, exc.remedy) from None

    def show(self, value: float | None) -> str:
        """Return `value` as an operator would write it."""
        return "auto" if value is None else self.notation.show(value)


SHARE_OR_AUTO: Final = OrAuto(
    notation=Quantity(
        name="a share",
        example="0.2",
        factors=MappingProxyType({"": 1.0, "%": 0.01}),
        format=_trimmed,
    )
)
"""Share of 1, or "auto"."""
