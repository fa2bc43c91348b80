"""What is remembered about each inner flow while it lasts."""

from collections import OrderedDict
from typing import Final

MOST_FLOWS: Final = 65536
"""About 25 MB. Whoever opens more at a time makes the longest unused ones be forgotten, which
costs each of these one packet that is not put in order."""
IDLE_LIMIT: Final = 60.0
"""Seconds without a packet after which a flow is forgotten. Nothing of it can still be under way,
and a sticky routing mode may as well choose anew."""


class Flow:
    """One direction of a conversation between two inner hosts."""

    __slots__ = ("key", "last_sequence", "last_used", "path_id", "reconsider_at")

    def __init__(self, key: bytes, now: float) -> None:
        self.key: Final = key
        """See `ip.flow_key`."""
        self.last_sequence = 0
        """Global sequence of its latest packet; 0 before the first."""
        self.last_used = now
        self.path_id: int | None = None
        """The path a sticky routing mode keeps it on; None: not chosen yet."""
        self.reconsider_at = now
        """When the routing mode may look again whether that path is still the right one."""


class FlowTable:
    """Finds the state of a flow; the longest unused ones leave when it is full."""

    __slots__ = ("_capacity", "_flows", "_idle_limit")

    def __init__(self, *, capacity: int = MOST_FLOWS, idle_limit: float = IDLE_LIMIT) -> None:
        self._flows: OrderedDict[bytes, Flow] = OrderedDict()  # in order of last use
        self._capacity = capacity
        self._idle_limit = idle_limit

    def __len__(self) -> int:
        return len(self._flows)

    def lookup(self, key: bytes, now: float) -> Flow:
        """Return the flow of `key`, a new one if it is not known, and note that it is in use."""
        flows = self._flows
        flow = flows.get(key)
        if flow is not None:
            flow.last_used = now
            flows.move_to_end(key)
            return flow
        if len(flows) >= self._capacity:
            flows.popitem(last=False)
        flow = flows[key] = Flow(key, now)
        return flow

    def expire_idle(self, now: float) -> None:
        """Forget the flows that had no packet for the idle limit; cheap when there are none."""
        flows = self._flows
        limit = now - self._idle_limit
        while flows:
            oldest = next(iter(flows.values()))
            if oldest.last_used > limit:
                return
            del flows[oldest.key]
