"""Where we keep what must be found again after a crash."""

import os
from pathlib import Path

from multiwanbond.config.model import RUN_DIRECTORY


def run_directory() -> Path:
    """Return the directory for the network namespace we are in.

    A tunnel's name means something in its namespace only: the daemon of a container, or of the
    demo, must neither be kept out by the host's `mwb0` nor clean up after it.
    """
    # No plain name for the first namespace: which one that is, /proc/1 does not tell everywhere.
    return RUN_DIRECTORY / f"netns-{os.stat('/proc/self/ns/net').st_ino}"
