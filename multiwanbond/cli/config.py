"""`mwb config`: explains the settings, and shows those in force."""

import argparse

from multiwanbond.config import reference
from multiwanbond.config.show import show
from multiwanbond.errors import UsageError

from .config_file import add_config_options, load_file


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the verb and its own verbs."""
    parser = subparsers.add_parser(
        "config",
        help="explain the settings, or show those in force",
        description="Explain the settings, or show those in force.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    explain = actions.add_parser(
        "explain",
        help="say what a setting does",
        description="Say what a setting, or each one in a section, does. Without KEY: all of them.",
    )
    explain.add_argument("key", nargs="?", metavar="KEY", help='such as "wans.max_latency"')
    explain.set_defaults(act=_explain)
    tables = actions.add_parser(
        "reference", help="list every setting", description="List every setting with its default."
    )
    tables.add_argument("--markdown", action="store_true", help="as the tables of the README")
    tables.set_defaults(act=_reference)
    shown = actions.add_parser(
        "show",
        help="print the settings in force",
        description="Print the configuration with every default, as YAML, without its secrets.",
    )
    add_config_options(shown)
    shown.set_defaults(act=_show)


def run(args: argparse.Namespace) -> int:
    """Do what was asked for."""
    args.act(args)
    return 0


def _explain(args: argparse.Namespace) -> None:
    settings = reference.settings() if args.key is None else reference.find(args.key)
    if not settings:
        near = reference.suggest(args.key)
        meant = f" Did you mean {near!r}?" if near else ""
        raise UsageError(
            f'there is no setting {args.key!r}.{meant} "mwb config reference" lists them all.'
        )
    print("\n\n".join(reference.explain(setting) for setting in settings))


def _reference(args: argparse.Namespace) -> None:
    print(reference.markdown() if args.markdown else reference.listing(), end="")


def _show(args: argparse.Namespace) -> None:
    print(show(load_file(args)), end="")
