"""What has left by each path since a routing mode last looked."""

from .base import SchedulablePath


class SentMeter:
    """Remembers each path's count of bytes."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def take(self, path: SchedulablePath) -> int:
        """Return the bytes that have left by `path` since the last call; 0 at the first one."""
        count = path.sent_bytes
        before = self._counts.get(path.path_id, count)
        self._counts[path.path_id] = count
        # A path that was made anew begins at zero.
        return max(count - before, 0)
