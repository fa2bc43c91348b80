"""What the measuring verbs share: options for what flows, and the way their figures go out."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from multiwanbond.errors import PlatformError

from .arguments import count

MOST_FLOWS: Final = 100

STANDARD_OUTPUT: Final = Path("-")

Say = Callable[[str], None]
"""Shows a line of text."""


def add_bulk_options(parser: argparse.ArgumentParser) -> None:
    """Describe the options that say which way how many bulk flows go."""
    parser.add_argument("--up", action="store_true", help="from the client; default: to it")
    parser.add_argument(
        "--flows",
        type=count("flows", MOST_FLOWS),
        default=1,
        metavar="N",
        help="bulk flows at once; default 1",
    )


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Describe the options that say where figures are written."""
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures here; -: print them alone"
    )
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write a chart here")


def sayer(args: argparse.Namespace) -> Say:
    """Return what shows a line of the table: nothing if JSON is to be printed alone."""
    return _ignore if args.json == STANDARD_OUTPUT else _say


def _say(text: str) -> None:
    # Flushed, so that a pipe shows the rows as they come.
    print(text, flush=True)


def _ignore(_: str) -> None:
    """Show nothing: JSON speaks only at the end."""


def check_writable(args: argparse.Namespace) -> None:
    """Create the files that `write_results` will fill.

    Raises:
        PlatformError: one cannot be written; better now than when the figures are there.
    """
    for path in (args.json, args.svg):
        if path not in (None, STANDARD_OUTPUT):
            _write(path, "")


def write_results(args: argparse.Namespace, *, document: Any, chart: str) -> None:
    """Write the figures as JSON and as SVG, each where the command line asked for it.

    Raises:
        PlatformError: a file cannot be written.
    """
    if args.json is not None:
        text = json.dumps(document, indent=2)
        if args.json == STANDARD_OUTPUT:
            print(text)
        else:
            _write(args.json, text + "\n")
    if args.svg is not None:
        _write(args.svg, chart)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise PlatformError(
            f"The file '{path}' cannot be written: {exc.strerror}.",
            "Choose another name, or make its directory first.",
        ) from exc
