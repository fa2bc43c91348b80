"""Which plugins are installed, and which of them a configuration wants."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from multiwanbond.config.foreign import read_section
from multiwanbond.config.model import Configuration
from multiwanbond.config.plugin_entry import PluginEntry
from multiwanbond.config.problems import Problems
from multiwanbond.config.raw import RawSection
from multiwanbond.config.walk import nearest
from multiwanbond.errors import ConfigError, ConfigFileError
from multiwanbond.options import is_required, options_of

from .api import ENTRY_POINTS, AlertManager, MetricsCollector, PacketFilter, Plugin

KINDS: Final[dict[str, type[Plugin]]] = {
    "packet filter": PacketFilter,
    "metrics collector": MetricsCollector,
    "alert manager": AlertManager,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A plugin that is to run; equal to another that would do the same."""

    label: str
    """Its name; with a number, if the configuration has it more than once."""
    plugin: type[Plugin]
    options: Any
    fail_closed: bool


def installed() -> dict[str, EntryPoint]:
    """Return the entry points of all plugins there are, by name."""
    return {point.name: point for point in sorted(entry_points(group=ENTRY_POINTS))}


def kinds_of(plugin: type[Plugin]) -> list[str]:
    """Return what kinds a plugin is of, in words."""
    return [name for name, kind in KINDS.items() if issubclass(plugin, kind)]


def load_class(point: EntryPoint) -> type[Plugin]:
    """Return the class behind an entry point.

    Raises:
        ImportError: it cannot be imported, whatever the reason; or it is no plugin.
    """
    try:
        found = point.load()
    except Exception as exc:
        raise ImportError(f"{type(exc).__name__}: {exc}") from exc
    if not (isinstance(found, type) and issubclass(found, Plugin) and kinds_of(found)):
        raise ImportError(f"{point.value} is no {', '.join(KINDS)}")
    return found


def wanted(configuration: Configuration) -> tuple[Wanted, ...]:
    """Return the plugins that a configuration wants to run, with their settings read.

    Raises:
        ConfigFileError: one is not there, cannot be imported, or its settings are wrong.
    """
    entries = [(number, entry) for number, entry in enumerate(configuration.plugins)]
    chosen = [(number, entry) for number, entry in entries if entry.enabled]
    if not chosen:
        return ()
    known = installed()
    errors: list[ConfigError] = []
    found = []
    labels = _labels(entry.name for _, entry in chosen)
    for label, (number, entry) in zip(labels, chosen, strict=True):
        try:
            found.append(_load(label, number, entry, known, configuration))
        except ConfigFileError as exc:
            errors += exc.errors
    if errors:
        raise ConfigFileError(errors)
    return tuple(found)


def _labels(names: Iterable[str]) -> list[str]:
    labels: list[str] = []
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        labels.append(name if counts[name] == 1 else f"{name} {counts[name]}")
    return labels


def _load(
    label: str,
    number: int,
    entry: PluginEntry,
    known: dict[str, EntryPoint],
    configuration: Configuration,
) -> Wanted:
    key = f"plugins[{number}]"
    problems = Problems()
    point = known.get(entry.name)
    if point is None:
        near = nearest(entry.name, known)
        remedy = f"Did you mean {near!r}?" if near else f"Installed are: {', '.join(known)}"
        problems.add(f"{key}.name", f"there is no plugin {entry.name!r}", remedy)
        problems.raise_if_any(configuration.origin)
        raise AssertionError
    try:
        plugin = load_class(point)
    except ImportError as exc:
        remedy = "Install it anew, or set 'enabled: false'"
        problems.add(f"{key}.name", f"{entry.name!r} cannot be loaded: {exc}", remedy)
        problems.raise_if_any(configuration.origin)
        raise AssertionError from exc
    options = _options(plugin, entry.options, key, configuration)
    return Wanted(label=label, plugin=plugin, options=options, fail_closed=entry.fail_closed)


def _options(
    plugin: type[Plugin], raw: RawSection | None, key: str, configuration: Configuration
) -> Any:
    if raw is not None:
        return read_section(raw, plugin.options_type, configuration.origin)
    problems = Problems()
    for field, option in options_of(plugin.options_type):
        if is_required(field):
            problems.add(f"{key}.options", f"{field.name} is missing", f"Add it: {option.doc}")
    problems.raise_if_any(configuration.origin)
    return plugin.options_type()
