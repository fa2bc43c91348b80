"""The command `mwb`: one file per verb, imported only when that verb is used."""

from .command import main

__all__ = ["main"]
