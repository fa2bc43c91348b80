"""Turns the tree of a file into the model's dataclasses, by the declarations alone."""

import re
from dataclasses import Field
from enum import Enum
from pathlib import Path
from typing import Any, Final, TypeVar

from multiwanbond.options import Option, default_of, is_required, options_of
from multiwanbond.units import NotationError

from .document import Listing, Mapping, Node, Scalar
from .origin import Mark
from .problems import Problems
from .raw import RawSection
from .walk import Kind, join, kinds_of, nearest, settings_of

_T = TypeVar("_T")

_BOOLEANS: Final = {
    "true": True, "yes": True, "on": True, "false": False, "no": False, "off": False,
}  # fmt: skip
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}")
_LONGEST: Final = 1000
"""Characters of a value: more than any has, few enough to be quoted."""
_SHOWN: Final = 80
"""Characters of an unknown key that are quoted."""


class _Absent(Enum):
    ABSENT = "absent"


_ABSENT: Final = _Absent.ABSENT
"""What a setting that is not there, or cannot be read, converts to; None is a value."""


class Converter:
    """Converts one file; what is wrong goes to `problems`, what is right into the result.

    A value that cannot be read counts as absent, so that the rest can still be looked at.
    """

    def __init__(self, root: type, problems: Problems, *, directory: Path) -> None:
        self._root = root
        self._problems = problems
        self._directory = directory
        self.marks: dict[str, Mark] = {}
        """The place of every value met, by key."""

    def section(self, node: Node, section: type[_T], key: str) -> _T | None:
        """Return the dataclass; None if it is none, or something without a default is missing."""
        if not isinstance(node, Mapping):
            self._complain_about_section(node, section, key)
            return None
        entries = self._entries(node, section, key)
        values: dict[str, Any] = {}
        is_complete = True
        for field, option in options_of(section):
            value = self._value(entries.get(field.name), field, option, section, key)
            if value is not _ABSENT:
                values[field.name] = value
            elif is_required(field):
                is_complete = False
        return section(**values) if is_complete else None

    def _value(
        self, node: Node | None, field: "Field[Any]", option: Option, section: type, parent: str
    ) -> Any:
        key = join(parent, field.name)
        kind = kinds_of(section)[field.name]
        if node is None:
            if is_required(field):
                self._problems.add(parent, f"{field.name} is missing", f"Add it: {option.doc}")
            return _ABSENT
        if isinstance(node, Scalar):
            if node.is_nothing and (kind.is_section or kind.is_list):
                return _ABSENT  # `wans:` above lines that are all commented out
            if node.is_empty_text and not is_required(field) and not default_of(field):
                return _ABSENT  # the reference's way to say that there is no remote endpoint
        if kind.type is RawSection:
            return RawSection.of(node, key)
        if kind.is_list:
            return self._list(node, kind, option, key)
        if kind.is_section:
            converted = self.section(node, kind.type, key)
            return _ABSENT if converted is None else converted
        return self._scalar(node, kind, option, key)

    def _entries(self, node: Mapping, section: type, key: str) -> dict[str, Node]:
        """Return the nodes of the known keys, after complaining about all others."""
        found: dict[str, Node] = {}
        first: dict[str, Mark] = {}
        for name_node, value in node.pairs:
            name = self._name(name_node, key)
            if name is None:
                continue
            if name in first:
                duplicate = join(key, _printable(name))
                self._complain_about_duplicate(duplicate, name_node.mark, first[name])
                continue
            first[name] = name_node.mark
            if name in kinds_of(section):
                self.marks[join(key, name)] = value.mark
                found[name] = value
            else:
                self._complain_about_key(name, key, section, name_node.mark)
        return found

    def _name(self, node: Node, parent: str) -> str | None:
        if isinstance(node, Scalar):
            return node.text
        self._problems.add(
            parent,
            f"{node.describe()} cannot be a key",
            "Look for a misplaced bracket, brace or '?'",
            mark=node.mark,
        )
        return None

    def _complain_about_section(self, node: Node, section: type, key: str) -> None:
        example = next(iter(kinds_of(section)))
        self._problems.add(
            key,
            f"expected settings, found {node.describe()}",
            f"Write them as 'key: value', such as '{example}: ...'",
            mark=node.mark,
        )

    def _complain_about_duplicate(self, key: str, mark: Mark, first: Mark) -> None:
        self._problems.add(
            key,
            f"is given twice, first on line {first.line}",
            "Remove one of the two",
            mark=mark,
        )

    def _complain_about_key(self, name: str, parent: str, section: type, mark: Mark) -> None:
        if name == "<<":
            problem = "'<<' (merging) is not supported"
            self._problems.add(parent, problem, "Write the settings out", mark=mark)
        else:
            remedy = self._suggest_key(name, section)
            self._problems.add(join(parent, _printable(name)), "unknown key", remedy, mark=mark)

    def _suggest_key(self, name: str, section: type) -> str:
        known = list(kinds_of(section))
        near = nearest(name, known)
        if near is not None:
            return f"Did you mean {near!r}?"
        elsewhere = [setting.key for setting in settings_of(self._root) if setting.name == name]
        if elsewhere:
            return f"Did you mean {' or '.join(elsewhere)}?"
        return f"Known here: {', '.join(known)}"

    def _list(self, node: Node, kind: Kind, option: Option, key: str) -> Any:
        if not isinstance(node, Listing):
            notation = option.notation
            remedy = f"Write it like [{notation.example}]" if notation else "Put '- ' before it"
            self._problems.add(key, f"expected a list, found {node.describe()}", remedy)
            return _ABSENT
        items = []
        for index, item in enumerate(node.items):
            item_key = f"{key}[{index}]"
            self.marks[item_key] = item.mark
            value = (
                self.section(item, kind.type, item_key)
                if kind.is_section
                else self._scalar(item, kind, option, item_key)
            )
            items.append(value)
        # All or nothing: in a shorter list the items would not be where their keys say.
        is_complete = None not in items and _ABSENT not in items
        return tuple(items) if is_complete else _ABSENT

    def _scalar(self, node: Node, kind: Kind, option: Option, key: str) -> Any:
        if not isinstance(node, Scalar) or node.is_nothing:
            problem = f"expected a value, found {node.describe()}"
            self._problems.add(key, problem, "Write one, or remove the line")
            return _ABSENT
        if len(node.text) > _LONGEST:
            problem = f"is too long, with {len(node.text)} characters"
            self._problems.add(key, problem, "Look for a missing quote")
            return _ABSENT
        try:
            value = read(node.text, kind.type, option)
        except NotationError as exc:
            self._problems.add(key, exc.problem, exc.remedy)
            return _ABSENT
        return self._directory / value if isinstance(value, Path) else value


def read(text: str, kind: type, option: Option) -> Any:
    """Return the value of one setting, or of an item of a list.

    Raises:
        NotationError: `text` is not what the declaration asks for, or out of its range.
    """
    if option.notation is not None:
        value = option.notation.parse(text)
    elif issubclass(kind, Enum):
        value = _read_choice(text, kind)
    elif kind is bool:
        value = _read_boolean(text)
    else:
        assert kind is int, f"a setting of type {kind} needs a notation"
        value = _read_whole(text)
    _check_range(text, value, option)
    return value


def _read_choice(text: str, choices: type[Enum]) -> Enum:
    try:
        return choices(text)
    except ValueError:
        known = [str(choice.value) for choice in choices]
        near = nearest(text, known)
        meant = f"Did you mean {near!r}? " if near else ""
        raise NotationError(
            f"{text!r} is none of the choices", f"{meant}Choose one of {', '.join(known)}"
        ) from None


def _read_boolean(text: str) -> bool:
    value = _BOOLEANS.get(text.lower())
    if value is None:
        raise NotationError(f"expected true or false, found {text!r}", "Write true or false")
    return value


def _read_whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise NotationError(f"expected a whole number, found {text!r}", "Write digits only")
    return int(text)


def _check_range(text: str, value: Any, option: Option) -> None:
    if not isinstance(value, int | float):
        return
    is_low = option.low is not None and value < option.low
    is_high = option.high is not None and value > option.high
    if is_low or is_high:
        raise NotationError(f"{text!r} is out of range", f"Choose {show_range(option)}")


def show_range(option: Option) -> str:
    """Return the allowed range in words; "" where any number is allowed."""
    low, high = (
        None if bound is None else _show_bound(bound, option) for bound in (option.low, option.high)
    )
    if low and high:
        return f"{low} to {high}"
    if low:
        return f"at least {low}"
    return f"at most {high}" if high else ""


def _show_bound(bound: float, option: Option) -> str:
    return option.notation.show(bound) if option.notation else str(bound)


def _printable(name: str) -> str:
    """Return a key from the file, which may hold anything, as one can read it before a colon."""
    is_plain = 0 < len(name) <= _SHOWN and name.isprintable()
    return name if is_plain else repr(name[:_SHOWN])
