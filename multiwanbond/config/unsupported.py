"""What the reference's README promises and this version does not do.

An operator who brings a file from there should not read "unknown key", and must not believe that
such a key does something.
"""

from typing import Final

VERDICT: Final = "known from the reference, not supported by this version"

KEYS: Final = {
    "session.multicast_enabled": "Remove it; multicast is not carried yet",
}
"""Key, with [] for any item of a list, and what to do."""
