"""What systemd's journal wants of a line: a priority in front, and no time, which it has itself."""

import logging
import os
from collections.abc import Mapping
from typing import Final

# From sd-daemon(3), the numbers of syslog(3).
_PRIORITIES: Final = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}
_STDERR: Final = 2


def is_read_by_journal(
    environment: Mapping[str, str] = os.environ, descriptor: int = _STDERR
) -> bool:
    """Tell whether what we write there goes to the journal (systemd.exec(5), JOURNAL_STREAM).

    The variable alone says nothing: whoever we were started by may have sent our output elsewhere.
    """
    try:
        found = os.fstat(descriptor)
    except OSError:  # closed
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def prioritised(text: str, level: int) -> str:
    """Return a text with its priority before each line, as the journal takes each for an entry."""
    priority = _PRIORITIES.get(level, 6)
    return "\n".join(f"<{priority}>{line}" for line in text.split("\n"))
