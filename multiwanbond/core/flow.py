"""What is remembered about each inner flow while it lasts."""

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from multiwanbond.core.classes import UNCLASSIFIED
from multiwanbond.core.ip import TCP, UDP
from multiwanbond.core.settings import Priority

if TYPE_CHECKING:
    from multiwanbond.core.compression import Shrinking
    from multiwanbond.core.slow_start import SlowStart

MOST_FLOWS: Final = 65536
"""About 25 MB. Whoever opens more at a time makes the longest unused ones be forgotten, which
costs each of these one packet that is not put in order."""
IDLE_LIMIT: Final = 60.0
"""Seconds without a packet after which a flow is forgotten. Nothing of it can still be under way,
and a sticky routing mode may as well choose anew."""
YOUNG_BYTES: Final = 1_200_000
"""Bytes in which a flow may prove to be bulk; until then it stays on the path that finishes it
soonest. A megabyte spread over unequal lines comes later than over the best (second study)."""
SPARSE_BURST: Final = 4000
"""Bytes that a flow may send at once and still not wait for others: any question, any greeting."""
SPARSE_RATE: Final = 32e3
"""Bytes a second that it may go on with: calls, games, terminals."""
SPARSE_DEBT: Final = 64_000
"""Bytes above its allowance that are remembered, two seconds' worth."""
SMALL: Final = 128
"""Bytes up to which a TCP packet is an ack with all its options, or as urgent as one."""
# Looked at for every packet: an enumeration's member costs several times an attribute.
_AUTO: Final = Priority.AUTO
_LATENCY_FIRST: Final = Priority.LATENCY_FIRST
_THROUGHPUT_FIRST: Final = Priority.THROUGHPUT_FIRST
_TCP_KEY: Final = bytes([TCP])
_UDP_KEY: Final = bytes([UDP])
"""Flow keys begin with the protocol."""
_WITH_PORTS: Final = (13, 37)
"""Bytes of a flow key that has ports."""


class Flow:
    """One direction of a conversation between two inner hosts."""

    __slots__ = (
        "_allowance",
        "_allowed_at",
        "backlog",
        "has_moved",
        "is_content",
        "is_followed",
        "key",
        "last_sequence",
        "last_used",
        "octets",
        "path_id",
        "shrinking",
        "slow_start",
        "traffic_class",
        "waited",
    )

    def __init__(self, key: bytes, now: float) -> None:
        self.key: Final = key
        """See `ip.flow_key`."""
        self.last_sequence = 0
        """Global sequence of its latest packet; 0 before the first."""
        self.last_used = now
        self.path_id: int | None = None
        """The path a sticky routing mode keeps it on; None: not chosen yet."""
        self.has_moved = False
        """True once any packet of it took another path than its first."""
        self.is_content = not self.is_tcp
        """True if its sender stopped asking for more before the lines were full, as BBR does, or
        may have: of others than TCP we see no acks."""
        self.is_followed = False
        """True while its round trips are made equal."""
        self.octets = 0
        """Bytes it has sent, those that wait included."""
        self.backlog = 0
        """Bytes of it that wait in our queue."""
        self.waited = 0.0
        """Seconds that what left last had waited there."""
        self.traffic_class = UNCLASSIFIED
        """How the operator wants it treated."""
        self.shrinking: Shrinking | None = None
        """Whether its packets can be compressed; None before that was tried."""
        self.slow_start: SlowStart | None = None
        """What is known of its sender while that may be in slow start."""
        self._allowance = float(SPARSE_BURST)
        self._allowed_at = now

    @property
    def is_young(self) -> bool:
        """True until it has proved to be bulk, or is known to be."""
        return self.octets <= YOUNG_BYTES and self.traffic_class.priority is not _THROUGHPUT_FIRST

    def is_starting(self, now: float) -> bool:
        """Say whether its sender may be in slow start, or has only just been let out of it."""
        return self.slow_start is not None and not self.slow_start.has_settled(now)

    @property
    def is_tcp(self) -> bool:
        """True for TCP with its ports in sight."""
        return self.key[0:1] == _TCP_KEY and len(self.key) in _WITH_PORTS

    @property
    def is_udp(self) -> bool:
        """True for UDP with its ports in sight."""
        return self.key[0:1] == _UDP_KEY and len(self.key) in _WITH_PORTS

    @property
    def is_ordered(self) -> bool:
        """False where packets need not wait for the one before: nobody sends UDP that sparsely and
        wants it late rather than out of order.
        """
        return self.key[0:1] != _UDP_KEY

    def waits_for_order(self, *, is_urgent: bool) -> bool:
        """Say whether a packet that leaves is to be delivered after those before it.

        Args:
            is_urgent: it passed the queue.
        """
        wanted = self.traffic_class.is_ordered
        return (not is_urgent or self.is_ordered) if wanted is None else wanted

    def is_sparse(self, size: int, now: float) -> bool:
        """Say whether its next packet, of `size` bytes, may pass all queues.

        A flow may as long as it sends little. One that sent much is in debt and may not for a
        while, even if nothing of it waits now: now and then a packet of a download that takes
        another way than the rest is disorder and helps nobody.
        """
        allowance = self._allowance + (now - self._allowed_at) * SPARSE_RATE
        self._allowed_at = now
        allowance = min(allowance, SPARSE_BURST) - size
        self._allowance = max(allowance, -SPARSE_DEBT)
        if self.backlog:
            return False  # it must not overtake its own
        if size <= SMALL and self.key[0:1] == _TCP_KEY:
            return True
        priority = self.traffic_class.priority
        return allowance >= 0 if priority is _AUTO else priority is _LATENCY_FIRST


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

    def forget_classes(self) -> None:
        """Let every flow be classified anew by its next packet."""
        for flow in self._flows.values():
            flow.traffic_class = UNCLASSIFIED

    def expire_idle(self, now: float) -> None:
        """Forget the flows that had no packet for the idle limit; cheap when there are none."""
        flows = self._flows
        limit = now - self._idle_limit
        while flows:
            oldest = next(iter(flows.values()))
            if oldest.last_used > limit:
                return
            del flows[oldest.key]
