"""Where we keep what must be found again after a crash."""

import os
from pathlib import Path

from multiwanbond.config.model import RUN_DIRECTORY


def run_directory() -> Path:
    """Return the directory for the network namespace we are in.

    A tunnel's name means something in its namespace only: the daemon of a container, or of the
    demo, must neither be kept out by the host's `mwb0` nor clean up after it.
    """
    try:
        own, first = (os.stat(f"/proc/{process}/ns/net").st_ino for process in ("self", "1"))
    except OSError:  # not root: nothing of ours needs the directory then
        return RUN_DIRECTORY
    return RUN_DIRECTORY if own == first else RUN_DIRECTORY / f"netns-{own}"
