"""`mwb check`: says what is wrong with the configuration, or what it means."""

import argparse

from multiwanbond.config.runnable import require_runnable
from multiwanbond.config.summary import remarks, summarise
from multiwanbond.errors import ConfigFileError

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
    for remark in remarks(configuration):
        print(f"Note: {remark}")
    return 0
