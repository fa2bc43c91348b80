"""Which of the operator's traffic classes a flow belongs to; found once, by its first packet."""

from collections.abc import Sequence
from typing import Final

from multiwanbond.core.burst import Bytes
from multiwanbond.core.ip import hosts_of, ports_of
from multiwanbond.core.settings import TrafficClass

REST: Final = TrafficClass(name="rest")
"""Of a flow that no class matches: everything is as without classes."""
UNCLASSIFIED: Final = TrafficClass(name="unclassified")
"""Of a flow none of whose packets has been looked at."""


class Classifier:
    """The operator's classes, the first of which that matches counts."""

    __slots__ = ("_rules",)

    def __init__(self, classes: Sequence[TrafficClass]) -> None:
        self._rules = [_Rule(each) for each in classes]

    def classify(self, key: bytes, packet: Bytes) -> TrafficClass:
        """Return the class of a flow.

        Args:
            key: what `ip.flow_key` says of its packets.
            packet: the first of them that is seen.
        """
        for rule in self._rules:
            if rule.matches(key, packet):
                return rule.traffic_class
        return REST


class _Rule:
    """A class with what it matches by as numbers, quick to compare."""

    __slots__ = ("_dscp", "_ports", "_prefixes", "_protocols", "traffic_class")

    def __init__(self, traffic_class: TrafficClass) -> None:
        self.traffic_class: Final = traffic_class
        self._protocols = frozenset(traffic_class.protocols)
        self._dscp = frozenset(traffic_class.dscp)
        self._ports = traffic_class.ports
        self._prefixes = [
            (prefix.max_prefixlen // 8, int(prefix.network_address), int(prefix.netmask))
            for prefix in traffic_class.prefixes
        ]

    def matches(self, key: bytes, packet: Bytes) -> bool:
        """Say whether all that the operator wrote is true of a flow; of a list, one entry."""
        return (
            (not self._protocols or (key[:1] != b"" and key[0] in self._protocols))
            and (not self._dscp or _dscp(packet) in self._dscp)
            and (not self._ports or self._has_port(key))
            and (not self._prefixes or self._has_host(key))
        )

    def _has_port(self, key: bytes) -> bool:
        ports = ports_of(key) or ()
        return any(low <= port <= high for port in ports for low, high in self._ports)

    def _has_host(self, key: bytes) -> bool:
        hosts = hosts_of(key) or ()
        return any(
            len(host) == size and int.from_bytes(host, "big") & mask == network
            for size, network, mask in self._prefixes
            for host in hosts
        )


def _dscp(packet: Bytes) -> int:
    """Return the differentiated services code point (RFC 2474); -1 of what is no IP packet."""
    if len(packet) < 2:
        return -1
    match packet[0] >> 4:
        case 4:
            return packet[1] >> 2
        case 6:
            return (packet[0] & 0x0F) << 2 | packet[1] >> 6
    return -1
