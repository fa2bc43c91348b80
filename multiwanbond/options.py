"""How one setting is declared: default, unit, range, reload rule and documentation in one place.

`config.load`, `mwb config`, the README's tables and the reload plan are all derived from these
declarations, so that none of them can say something else.
"""

from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field
from enum import Enum
from typing import Any

from multiwanbond.units import Quantity

_KEY = "multiwanbond.option"


class Reload(Enum):
    """What must happen before a changed setting takes effect."""

    LIVE = "live"
    """Applied to the running daemon without losing a packet."""
    RESTART = "restart"
    """Refused by a reload; takes `mwb down` and `mwb up`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """The declaration behind one setting."""

    doc: str
    """One or two sentences for the operator: what it does and what its extremes cost."""
    reload: Reload
    quantity: Quantity | None = None
    """The unit text is read in; None for plain strings, numbers, booleans and enums."""
    low: float | None = None
    """The least allowed value, in base units."""
    high: float | None = None
    """The greatest allowed value, in base units."""
    parse: Callable[[str], Any] | None = None
    """Turns text into the field's type where the annotation does not say how; raises ValueError."""
    is_secret: bool = False
    """True keeps the value out of logs, status and `mwb config`."""


def option(
    default: Any = MISSING,
    *,
    doc: str,
    reload: Reload = Reload.RESTART,
    quantity: Quantity | None = None,
    low: float | None = None,
    high: float | None = None,
    parse: Callable[[str], Any] | None = None,
    is_secret: bool = False,
) -> Any:
    """Declare a dataclass field that is a setting; without `default` the operator must give it."""
    declared = Option(
        doc=doc,
        reload=reload,
        quantity=quantity,
        low=low,
        high=high,
        parse=parse,
        is_secret=is_secret,
    )
    metadata = {_KEY: declared}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def option_of(setting: "Field[Any]") -> Option:
    """Return the declaration behind a dataclass field; a field without one is our bug."""
    declared = setting.metadata[_KEY]
    assert isinstance(declared, Option)
    return declared
