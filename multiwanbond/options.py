"""How one setting is declared: default, notation, range, reload rule and documentation together.

`config.load`, `mwb config`, the README's tables and the reload plan are all derived from these
declarations, so that none of them can say something else.
"""

from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, dataclass, field, fields
from enum import Enum
from typing import Any, Final

from multiwanbond.units import Notation

_KEY: Final = "multiwanbond.option"


class Reload(Enum):
    """What must happen before a changed setting takes effect."""

    LIVE = "live"
    """Applied to the running daemon without losing a packet."""
    RESTART = "restart"
    """Refused by a reload; takes `mwb down` and `mwb up`, or a restart of the service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """The declaration behind one setting."""

    doc: str
    """One or two sentences for the operator: what it does and what its extremes cost."""
    reload: Reload
    notation: Notation | None = None
    """How the value (each item of a list) is written; None for strings, numbers, booleans, enums
    and sections, whose annotation says it."""
    low: float | None = None
    """The least allowed value, in base units."""
    high: float | None = None
    """The greatest allowed value, in base units."""
    default_doc: str | None = None
    """What holds when the key is absent, where the default value itself does not tell."""
    identity: str | None = None
    """For a list of sections: the setting that tells its entries apart. None: their place does."""
    is_ranked: bool = False
    """True if the order of entries with an identity means something."""
    is_secret: bool = False
    """True keeps the value out of error messages, logs, status and `mwb config show`."""


def option(
    default: Any = MISSING,
    *,
    doc: str,
    reload: Reload = Reload.RESTART,
    notation: Notation | None = None,
    low: float | None = None,
    high: float | None = None,
    default_doc: str | None = None,
    identity: str | None = None,
    is_ranked: bool = False,
    is_secret: bool = False,
) -> Any:
    """Declare a dataclass field that is a setting.

    Args:
        default: its value when the key is absent, or a class or function that makes it; without a
            default the operator must give one.
    """
    declared = Option(
        doc=doc,
        reload=reload,
        notation=notation,
        low=low,
        high=high,
        default_doc=default_doc,
        identity=identity,
        is_ranked=is_ranked,
        is_secret=is_secret,
    )
    metadata = {_KEY: declared}
    make: Callable[[], Any] | None = default if callable(default) else None
    if make is not None:
        return field(default_factory=make, repr=not is_secret, metadata=metadata)
    return field(default=default, repr=not is_secret, metadata=metadata)


def option_of(setting: "Field[Any]") -> Option:
    """Return the declaration behind a dataclass field; a field without one is our bug."""
    declared = setting.metadata[_KEY]
    assert isinstance(declared, Option)
    return declared


def options_of(section: type) -> Iterator[tuple["Field[Any]", Option]]:
    """Yield the settings of a dataclass, leaving out fields that are none."""
    for setting in fields(section):
        if _KEY in setting.metadata:
            yield setting, option_of(setting)


def is_required(setting: "Field[Any]") -> bool:
    """Say whether the operator must give the setting."""
    return setting.default is MISSING and setting.default_factory is MISSING


def default_of(setting: "Field[Any]") -> Any:
    """Return the value that holds when the operator says nothing; the setting has a default."""
    if setting.default_factory is not MISSING:
        return setting.default_factory()
    assert setting.default is not MISSING
    return setting.default
