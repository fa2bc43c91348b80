"""Every setting of the model by its dotted key, and what its annotation says about its value."""

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import Field, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from multiwanbond.options import Option, is_required, options_of

from .raw import RawSection


class Kind(NamedTuple):
    """What a setting's value is made of."""

    type: type
    """The section's dataclass, or the type of the value; of an item where `is_list`."""
    is_list: bool

    @property
    def is_section(self) -> bool:
        """True if the value, or each item, is a mapping with settings of its own."""
        return is_dataclass(self.type) and self.type is not RawSection


class Setting(NamedTuple):
    """One setting of the model."""

    key: str
    """Dotted, with [] for any item of a list: "wans[].interface"."""
    field: "Field[Any]"
    option: Option
    kind: Kind

    @property
    def is_section(self) -> bool:
        """True for what has settings of its own, lists of such included."""
        return self.kind.is_section

    @property
    def section(self) -> str:
        """The key of the section it stands in; "" at the top."""
        return self.key.rpartition(".")[0]

    @property
    def name(self) -> str:
        """Its own name in its section."""
        return self.field.name


@cache
def kinds_of(section: type) -> dict[str, Kind]:
    """Return what each setting of a dataclass is made of, in reading order."""
    hints = get_type_hints(section)
    return {field.name: _kind(hints[field.name]) for field, _ in _in_reading_order(section)}


def _in_reading_order(section: type) -> list[tuple["Field[Any]", Option]]:
    """Return what must be given first, then the section's own settings, then inherited ones."""
    own = section.__annotations__

    def place(setting: tuple["Field[Any]", Option]) -> tuple[bool, bool]:
        return not is_required(setting[0]), setting[0].name not in own

    return sorted(options_of(section), key=place)


def _kind(hint: Any) -> Kind:
    if isinstance(hint, UnionType):
        # Which of the alternatives a text means is the business of the setting's notation.
        hint = next(each for each in get_args(hint) if each is not NoneType)
    if get_origin(hint) is tuple:
        return Kind(_kind(get_args(hint)[0]).type, True)
    return Kind(hint, False)


def settings_of(section: type, parent: str = "") -> Iterator[Setting]:
    """Yield every setting of `section` and of the sections in it, in reading order."""
    kinds = kinds_of(section)
    for field, option in _in_reading_order(section):
        kind = kinds[field.name]
        key = join(parent, field.name)
        yield Setting(key, field, option, kind)
        if kind.is_section:
            yield from settings_of(kind.type, f"{key}[]" if kind.is_list else key)


def join(parent: str, name: str) -> str:
    """Return the key of `name` in the section `parent`."""
    return f"{parent}.{name}" if parent else name


def general(key: str) -> str:
    """Return the key with [] for every index: "wans[1].id" becomes "wans[].id"."""
    return re.sub(r"\[[0-9]+\]", "[]", key)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return what `word` was probably meant to be."""
    # The matcher takes quadratic time: no typing error is longer than this.
    return next(iter(difflib.get_close_matches(word[:64].lower(), known, n=1)), None)
