"""Reads settings that somebody else declares, such as a plugin's, with the same complaints."""

from pathlib import Path
from typing import TypeVar

from .convert import Converter
from .origin import Origin
from .problems import Problems
from .raw import RawSection

_T = TypeVar("_T")


def read_section(raw: RawSection, section: type[_T], origin: Origin) -> _T:
    """Return a section of the file as the dataclass that declares its settings.

    Args:
        raw: what the file says.
        section: a dataclass of `option()` fields.
        origin: the file.

    Raises:
        ConfigFileError: everything that is wrong with it.
    """
    problems = Problems()
    directory = origin.path.absolute().parent if origin.path else Path.cwd()
    converter = Converter(section, problems, directory=directory)
    found = converter.section(raw.node, section, raw.key)
    problems.raise_if_any(Origin(origin.path, {**origin.marks, **converter.marks}))
    assert found is not None
    return found
