"""`mwb plugins`: lists the plugins that are installed, and explains their settings."""

import argparse
from typing import TYPE_CHECKING

from multiwanbond.config.reference import explain
from multiwanbond.config.walk import nearest, settings_of
from multiwanbond.errors import UsageError
from multiwanbond.options import Reload

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "plugins",
        help="list the plugins that are installed, or explain one",
        description="List the plugins that are installed. With NAME: explain the settings it has "
        "under 'options' in its entry of 'plugins'.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help='such as "prometheus"')


def run(args: argparse.Namespace) -> int:
    """List or explain."""
    from multiwanbond.plugins import registry

    points = registry.installed()
    if args.name is None:
        width = max(map(len, points), default=0)
        for name, point in points.items():
            print(f"{name:<{width}}  {_summary(point)}")
        return 0
    if args.name not in points:
        near = nearest(args.name, points)
        meant = f" Did you mean {near!r}?" if near else f" Installed are: {', '.join(points)}."
        raise UsageError(f"there is no plugin {args.name!r}.{meant}")
    try:
        plugin = registry.load_class(points[args.name])
    except ImportError as exc:
        raise UsageError(f"the plugin {args.name!r} cannot be loaded: {exc}") from exc
    print(f"{args.name}: {_summary(points[args.name])}")
    for setting in settings_of(plugin.options_type):
        print()
        print(explain(setting, Reload.LIVE))
    return 0


def _summary(point: "EntryPoint") -> str:
    """Return what a plugin is, in a line."""
    from multiwanbond.plugins import registry

    try:
        plugin = registry.load_class(point)
    except ImportError as exc:
        return f"(cannot be loaded: {exc})"
    first = (plugin.__doc__ or "").strip().splitlines()[:1]
    package = point.dist.name if point.dist is not None else "?"
    return f"{', '.join(registry.kinds_of(plugin))} of {package}: {''.join(first)}"
