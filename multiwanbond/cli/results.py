"""Measured figures on their way out: what `--json` and `--svg` of the measuring verbs write."""

import argparse
import json
from pathlib import Path
from typing import Any, Final

from multiwanbond.errors import PlatformError

STANDARD_OUTPUT: Final = Path("-")


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
