"""Reads option values as the configuration would, with the same explanations."""

import argparse
from collections.abc import Callable
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
