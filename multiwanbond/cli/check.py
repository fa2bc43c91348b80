"""`mwb check`: says what is wrong with the configuration, or what it means."""

import argparse
from collections.abc import Iterator

from multiwanbond.config.model import Configuration
from multiwanbond.config.runnable import require_runnable
from multiwanbond.config.summary import remarks, summarise
from multiwanbond.errors import ConfigFileError, MultiWanBondError

from .config_file import add_config_options, check_plugins, file_of, load_file


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "check",
        help="say what is wrong with the configuration, or what it means",
        description="Read the configuration and the key files it names, change nothing, and report "
        "every mistake, or say in plain words what the configuration means. Exit code 0: a tunnel "
        "can run with it; 78: not.",
    )
    add_config_options(parser)


def run(args: argparse.Namespace) -> int:
    """Check the file."""
    file = file_of(args)
    configuration = load_file(args)
    check_plugins(configuration)
    try:
        configuration = require_runnable(configuration)
    except ConfigFileError:
        print(f"{file} can be read, but no tunnel can run with it yet:")
        raise
    print(f"{file} is good.")
    for line in summarise(configuration):
        print(f"  {line}")
    for remark in (*remarks(configuration), *_overlaps(configuration)):
        print(f"Note: {remark}")
    return 0


def _overlaps(configuration: Configuration) -> Iterator[str]:
    """Yield what of the file is in the way of networks that this machine is in."""
    # Here and not above: whoever has mistakes in the file need not wait for it.
    from multiwanbond.linux.netlink import Netlink
    from multiwanbond.linux.overlaps import Surroundings

    tunnel = configuration.tunnel
    try:
        surroundings = Surroundings(Netlink(), tunnel=tunnel.name)
    except (MultiWanBondError, OSError) as exc:
        yield f"The networks of this machine cannot be looked at: {exc}"
        return
    for overlap in surroundings.in_the_way_of_all(tunnel.address, configuration.routes):
        effect = "With it no tunnel stands here. " if overlap.is_harmful else ""
        yield f"{overlap.problem} {effect}{overlap.remedy}"
