"""What differs between two configurations, and which of it a running tunnel can follow.

Derived from the declarations alone: a new setting is compared as soon as it is declared.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from multiwanbond.options import Reload, options_of

from .model import Configuration
from .problems import Problems
from .reference import show_value
from .walk import Setting, join, kinds_of

_RESTART: Final = (
    'Take it back, or restart the tunnel: "mwb down", then "mwb up" (or systemctl restart)'
)
_HIDDEN: Final = "(hidden)"
_AUTO: Final = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One setting, or one entry of a list of sections, that is not what it was."""

    key: str
    """With its index, such as "wans[1].weight": that of the new file, or where it was removed."""
    general_key: str
    """The same with [] for every index; of an entry, that of its list."""
    reload: Reload
    old: str | None
    """As the operator would write it; None where it was not there."""
    new: str | None

    def __str__(self) -> str:
        if self.old is None:
            return f"{self.key}: added ({self.new})"
        if self.new is None:
            return f"{self.key}: removed ({self.old})"
        return f"{self.key}: {self.old} -> {self.new}"


def changes(old: Configuration, new: Configuration) -> tuple[Change, ...]:
    """Return all that differs, in the order of the model; () if nothing does."""
    return tuple(_in_section(old, new, "", ""))


def require_reloadable(old: Configuration, new: Configuration) -> tuple[Change, ...]:
    """Return all that differs; a running tunnel can follow each of it.

    Raises:
        ConfigFileError: everything that takes a restart.
    """
    found = changes(old, new)
    problems = Problems()
    for change in found:
        if change.reload is Reload.RESTART:
            problem = f"cannot be changed in a running tunnel ({change.old} -> {change.new})"
            problems.add(change.key, problem, _RESTART)
    problems.raise_if_any(new.origin)
    return found


def _in_section(old: Any, new: Any, key: str, general_key: str) -> Iterator[Change]:
    """Yield what differs between two dataclasses of one type."""
    section: type = type(new)
    kinds = kinds_of(section)
    for field, option in options_of(section):
        was, is_now = getattr(old, field.name), getattr(new, field.name)
        own_key = join(key, field.name)
        setting = Setting(join(general_key, field.name), field, option, kinds[field.name])
        if setting.is_section and setting.kind.is_list:
            yield from _in_list(was, is_now, own_key, setting)
        elif setting.is_section:
            yield from _in_section(was, is_now, own_key, setting.key)
        elif was != is_now:
            yield Change(
                key=own_key,
                general_key=setting.key,
                reload=option.reload,
                old=_shown(setting, was),
                new=_shown(setting, is_now),
            )


def _in_list(
    old: tuple[Any, ...], new: tuple[Any, ...], key: str, setting: Setting
) -> Iterator[Change]:
    """Yield the entries that came and went, and what differs in those that stayed."""
    before = {_identity(setting, place, entry): place for place, entry in enumerate(old)}
    if setting.option.is_ranked:
        yield from _in_ranks(old, new, key, setting)
    for place, entry in enumerate(new):
        was = before.pop(_identity(setting, place, entry), None)
        if was is None:
            yield _entry(f"{key}[{place}]", setting, None, entry)
        else:
            yield from _in_section(old[was], entry, f"{key}[{place}]", f"{setting.key}[]")
    for place in before.values():
        yield _entry(f"{key}[{place}]", setting, old[place], None)


def _identity(setting: Setting, place: int, entry: Any) -> Any:
    name = setting.option.identity
    return place if name is None else getattr(entry, name)


def _entry(key: str, setting: Setting, old: Any, new: Any) -> Change:
    return Change(
        key=key,
        general_key=setting.key,
        reload=setting.option.reload,
        old=None if old is None else _described(setting, old),
        new=None if new is None else _described(setting, new),
    )


def _in_ranks(
    old: tuple[Any, ...], new: tuple[Any, ...], key: str, setting: Setting
) -> Iterator[Change]:
    """Yield whether the entries that stayed are in another order."""
    before = {_identity(setting, place, entry): entry for place, entry in enumerate(old)}
    after = {_identity(setting, place, entry): entry for place, entry in enumerate(new)}
    was = [name for name in before if name in after]
    is_now = [name for name in after if name in before]
    if was != is_now:
        yield Change(
            key=key,
            general_key=setting.key,
            reload=setting.option.reload,
            old="; ".join(_described(setting, before[name]) for name in was),
            new="; ".join(_described(setting, after[name]) for name in is_now),
        )


def _described(setting: Setting, entry: Any) -> str:
    """Return by what an entry is known."""
    section: type = type(entry)
    kinds = kinds_of(section)
    told = []
    for field, option in options_of(section):
        value = getattr(entry, field.name)
        if value and field.name in (setting.option.identity, "name"):
            shown = _shown(Setting(field.name, field, option, kinds[field.name]), value)
            told.append(f"{field.name} {shown}")
    return ", ".join(told) or "an entry"


def _shown(setting: Setting, value: Any) -> str:
    """Return a value as the operator would write it, unless it is a secret."""
    if value is None:
        notation = setting.option.notation
        return _AUTO if notation and notation.name.endswith(f" or {_AUTO}") else "not set"
    if setting.option.is_secret:
        return _HIDDEN
    if setting.kind.is_list:
        return f"[{', '.join(show_value(setting, item) for item in value)}]"
    return show_value(setting, value) or "not set"
