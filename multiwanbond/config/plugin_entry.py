"""An entry of the list `plugins`."""

from dataclasses import dataclass
from typing import Final

from multiwanbond.options import Reload, option

from .document import read_document
from .notations import NAME, Text
from .origin import Origin
from .raw import RawSection


def _read_options(text: str) -> RawSection:
    node = read_document(text.encode(), Origin())
    assert node is not None
    return RawSection.of(node, "")


PLUGIN: Final = Text(name="a plugin's name", example="acl", read=NAME.read)
OPTIONS: Final = Text(
    name="a section",
    example="{listen: 127.0.0.1:9500}",
    read=_read_options,
    write=lambda _raw: "(as in the file)",
)
"""What only the plugin can read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginEntry:
    """A plugin that is to run, and its own settings."""

    name: str = option(
        notation=PLUGIN,
        reload=Reload.LIVE,
        doc='Which plugin; "mwb plugins" lists those that are installed.',
    )
    enabled: bool = option(True, reload=Reload.LIVE, doc="False leaves it out.")
    fail_closed: bool = option(
        False,
        reload=Reload.LIVE,
        doc="What becomes of packets when a filter has failed and was disabled: false lets all "
        "pass, true none, until a reload starts it again.",
    )
    options: RawSection | None = option(
        None,
        notation=OPTIONS,
        reload=Reload.LIVE,
        default_doc="the plugin's defaults",
        doc='The plugin\'s own settings; "mwb plugins NAME" explains them.',
    )
