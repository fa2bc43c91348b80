"""Reads option values as the configuration would, with the same explanations."""

import argparse
import difflib
from collections.abc import Callable, Iterable
from typing import Any

from multiwanbond.units import Notation, NotationError


def written_as(notation: Notation) -> Callable[[str], Any]:
    """Return a function for argparse's `type=`; on its own it would hide what was expected."""

    def read(text: str) -> Any:
        try:
            return notation.parse(text)
        except NotationError as exc:
            msg = f"{exc.problem}. {exc.remedy}"
            raise argparse.ArgumentTypeError(msg) from exc

    return read


def one_of(what: str, known: Callable[[], Iterable[str]]) -> Callable[[str], str]:
    """Return a function for argparse's `type=` that knows what was probably meant."""

    def read(text: str) -> str:
        names = list(known())
        if text in names:
            return text
        near = difflib.get_close_matches(text[:64], names, n=1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        msg = f"there is no {what} {text!r} here.{meant} Known: {', '.join(names)}"
        raise argparse.ArgumentTypeError(msg)

    return read


def count(what: str, most: int) -> Callable[[str], int]:
    """Return a function for argparse's `type=` that takes 1 to `most`."""

    def read(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= most:
            msg = f"expected a number of {what}, 1 to {most}, found {text!r}"
            raise argparse.ArgumentTypeError(msg)
        return int(text)

    return read


def seconds(least: float) -> Callable[[str], float]:
    """Return a function for argparse's `type=` that takes `least` or more, fractions too."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not least <= value < float("inf"):
            msg = f"expected a number of seconds, at least {least:g}, found {text!r}"
            raise argparse.ArgumentTypeError(msg)
        return value

    return read
