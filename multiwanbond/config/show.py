"""Writes a configuration back as YAML, defaults included and secrets left out."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from multiwanbond.options import default_of

from .document import NOTHING
from .model import Configuration
from .raw import RawSection
from .reference import show_value
from .walk import Setting, settings_of

_BARE: Final = re.compile(r"[A-Za-z0-9/][A-Za-z0-9/._-]*")
"""What YAML takes for a plain text without quotes, whatever follows."""


def show(configuration: Configuration) -> str:
    """Return the file that would load as `configuration`, but for the secrets in it."""
    return "\n".join(_section(configuration, "", 0)) + "\n"


def _section(section: Any, key: str, indent: int) -> Iterator[str]:
    """Yield the lines of one section, without the settings that are None where absent says so."""
    margin = "  " * indent
    for setting in _own_settings(type(section), key):
        name, value = setting.name, getattr(section, setting.name)
        if value is None and default_of(setting.field) is None:
            continue
        if setting.kind.type is RawSection:
            # Which of it is secret only its plugin knows.
            yield f"{margin}# {name}: (as in the file)"
        elif setting.option.is_secret:
            yield f"{margin}# {name}: (hidden)"
        elif setting.is_section and setting.kind.is_list:
            yield from _list_of_sections(value, setting, indent)
        elif setting.is_section:
            yield f"{margin}{name}:"
            yield from _section(value, setting.key, indent + 1)
        elif setting.kind.is_list:
            items = ", ".join(_quoted(show_value(setting, item)) for item in value)
            yield f"{margin}{name}: [{items}]"
        else:
            yield f"{margin}{name}: {_quoted(show_value(setting, value))}"


def _own_settings(section: type, key: str) -> Iterator[Setting]:
    return (each for each in settings_of(section, key) if each.section == key)


def _list_of_sections(items: tuple[Any, ...], setting: Setting, indent: int) -> Iterator[str]:
    margin = "  " * indent
    yield f"{margin}{setting.name}:" if items else f"{margin}{setting.name}: []"
    for item in items:
        # The dash stands alone, because a comment may come first.
        yield f"{margin}  -"
        yield from _section(item, f"{setting.key}[]", indent + 2)


def _quoted(text: str) -> str:
    is_bare = _BARE.fullmatch(text) and text not in NOTHING
    return text if is_bare else json.dumps(text, ensure_ascii=False)
