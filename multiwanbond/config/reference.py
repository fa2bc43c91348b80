"""The documentation of every setting, made from its declaration."""

from enum import Enum
from typing import Any

from multiwanbond.options import Reload, default_of, is_required

from .convert import show_range
from .model import Configuration
from .walk import Setting, general, nearest, settings_of


def settings() -> tuple[Setting, ...]:
    """Return every setting there is, sections included, in the order of the model."""
    return tuple(settings_of(Configuration))


def find(key: str) -> tuple[Setting, ...]:
    """Return the setting called `key`, followed by those in it; () if there is none.

    Indexes may be given, left out or be []: "wans[1].id", "wans.id" and "wans[].id" are one. A name
    alone finds it wherever it stands.
    """
    wanted = _plain(general(key))
    everything = settings()
    within = tuple(
        each
        for each in everything
        if _plain(each.key) == wanted or _plain(each.key).startswith(f"{wanted}.")
    )
    return within or tuple(each for each in everything if each.name == wanted)


def suggest(key: str) -> str | None:
    """Return the key that was probably meant."""
    known = {_plain(each.key): each.key for each in settings()}
    known |= {each.name: each.key for each in reversed(settings())}
    near = nearest(_plain(general(key)), known)
    return None if near is None else known[near]


def _plain(key: str) -> str:
    return key.replace("[]", "")


def explain(setting: Setting, reload: Reload | None = None) -> str:
    """Return all that is known about one setting, as text for a terminal.

    Args:
        setting: which.
        reload: the rule that holds, where it is not that of its declaration.
    """
    facts = [("type", type_doc(setting)), ("default", default_doc(setting))]
    if setting.option.notation is not None:
        facts.append(("example", setting.option.notation.example))
    if limits := show_range(setting.option):
        facts.append(("range", limits))
    if not setting.is_section:
        facts.append(("change", _RELOAD[reload or setting.option.reload]))
    lines = [setting.key, f"    {setting.option.doc}"]
    lines += [f"    {name + ':':<9}{fact}" for name, fact in facts]
    return "\n".join(lines)


_RELOAD = {
    Reload.LIVE: '"mwb reload" applies it to the running tunnel',
    Reload.RESTART: 'takes effect with the next "mwb up"',
}


def type_doc(setting: Setting) -> str:
    """Return what kind of value the setting takes."""
    option, kind = setting.option, setting.kind
    if kind.is_section:
        return "list of sections" if kind.is_list else "section"
    if option.notation is not None:
        name = option.notation.name.split(" ", 1)[1]  # without the article
        return f"list, each {option.notation.name}" if kind.is_list else name
    if issubclass(kind.type, Enum):
        return " | ".join(str(choice.value) for choice in kind.type)
    return {bool: "true | false", int: "whole number"}[kind.type]


def default_doc(setting: Setting) -> str:
    """Return what holds when the key is absent."""
    option = setting.option
    if is_required(setting.field):
        return "none; must be given"
    if option.default_doc is not None:
        return option.default_doc
    return (
        "see its settings" if setting.is_section else show_value(setting, default_of(setting.field))
    )


def show_value(setting: Setting, value: Any) -> str:
    """Return a value of the setting (an item, for a list) as the operator would write it."""
    if setting.option.notation is not None:
        return setting.option.notation.show(value)
    if isinstance(value, Enum):
        return str(value.value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def listing() -> str:
    """Return one line for each setting: its key and its default."""
    own = [each for each in settings() if not each.is_section]
    width = max(len(each.key) for each in own)
    return "".join(f"{each.key:<{width}}  {default_doc(each)}\n" for each in own)


def markdown() -> str:
    """Return the README's tables: one for the top, then one for each section."""
    tables = []
    everything = settings()
    for section in dict.fromkeys(each.section for each in everything):
        own = [each for each in everything if each.section == section]
        tables.append(_table(section, own))
    return "\n".join(tables)


def _table(section: str, rows: list[Setting]) -> str:
    lines = [f"### `{section}`\n"] if section else []
    lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
    for row in rows:
        cells = (f"`{row.name}`", _value_cell(row), _default_cell(row), row.option.doc)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _value_cell(setting: Setting) -> str:
    limits = show_range(setting.option)
    kind = type_doc(setting).replace(" | ", ", ")
    return f"{kind}, {limits}" if limits else kind


def _default_cell(setting: Setting) -> str:
    is_value = setting.option.default_doc is None and not setting.is_section
    is_value = is_value and not is_required(setting.field)
    return f"`{default_doc(setting)}`" if is_value else default_doc(setting)
