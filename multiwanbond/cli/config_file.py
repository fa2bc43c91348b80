"""The options that name a configuration file, and the file they name."""

import argparse
from pathlib import Path

from multiwanbond.config.load import DEFAULT_FILES, find_file, load
from multiwanbond.config.model import Configuration, Mode


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Let `parser` take -c and --mode."""
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        metavar="FILE",
        help=f"configuration file; default {DEFAULT_FILES[0]}, or .yml or .json beside it",
    )
    parser.add_argument(
        "--mode", type=Mode, choices=list(Mode), metavar="{client,server}", help="override the file"
    )


def load_file(args: argparse.Namespace) -> Configuration:
    """Return what the file says, without the key files it names.

    Raises:
        ConfigFileError: everything that is wrong with it.
    """
    return load(file_of(args), mode=args.mode)


def load_runnable(args: argparse.Namespace) -> Configuration:
    """Return a configuration that a daemon can run with.

    Raises:
        ConfigFileError: everything that is wrong with it, or missing.
    """
    # Here and not above: it loads cryptography, and `mwb status` has no use for that.
    from multiwanbond.config.runnable import require_runnable

    configuration = load_file(args)
    check_plugins(configuration)
    return require_runnable(configuration)


def check_plugins(configuration: Configuration) -> None:
    """Return if all plugins that are wanted are there, and their settings are right.

    Raises:
        ConfigFileError: everything that is wrong with them.
    """
    if configuration.plugins:
        from multiwanbond.plugins import registry

        registry.wanted(configuration)


def file_of(args: argparse.Namespace) -> Path:
    """Return the file that is meant."""
    named: Path | None = args.config
    return named if named is not None else find_file()


def config_arguments(args: argparse.Namespace) -> list[str]:
    """Return the options that make another process use the same file in the same way."""
    mode = [] if args.mode is None else ["--mode", args.mode.value]
    return ["-c", str(file_of(args).absolute()), *mode]
