"""Multicast packets: to which peers each goes, and how one that comes round again is known.

A packet to a group goes to every peer that wants the group, and never to one it came from. A server
passes what a client sends on to the other clients that want it, as a router would: with one hop
less.

Loops. Two bonds between the same networks, or a bond whose ends share a network, bring a packet
back. Every copy that went round has a lower hop limit, or arrives by another way than the first;
so the first sight of a packet is remembered for a while (who brought it, and its hop limit), and
such a copy goes no further. The same packet sent twice by its source has the same hop limit and
comes the same way: it is carried twice.
"""

from collections.abc import Collection, Iterable, Mapping
from hashlib import blake2s
from typing import Final

from multiwanbond.core.bond import Bond
from multiwanbond.core.burst import Burst, Bytes
from multiwanbond.core.groups import MOST_WISHES, is_carried
from multiwanbond.core.ip import UDP, destination, lower_hop_limit, split_run
from multiwanbond.core.peer import Peer
from multiwanbond.core.statistics import MulticastStatistics

REMEMBERED_FOR: Final = 2.0
"""Seconds for which a packet is known again: a few round trips of the slowest bond."""
MOST_REMEMBERED: Final = 16384
"""Packets known again at most, some 3 MB; what is forgotten too soon, hop limits stop."""
_DIGEST: Final = 12

Batches = dict[Peer, list[Burst]]
"""What is to be sent to whom."""


class Multicast:
    """The multicast side of an endpoint: what we want, what peers want, and what was seen."""

    def __init__(self) -> None:
        self.is_enabled = False
        self.wanted: frozenset[bytes] = frozenset()
        """The groups that peers want from us."""
        self._ours: frozenset[bytes] = frozenset()
        self._sightings = Sightings()
        self._theirs: dict[Peer, frozenset[bytes]] = {}
        self._versions: dict[Peer, tuple[Bond, int] | None] = {}
        self._relays: Batches = {}
        self._sent = 0
        self._received = 0
        self._relayed = 0
        self._unwanted = 0
        self._looped = 0

    # --- packets

    def handle_bursts(self, bursts: Iterable[Burst], batches: Batches, now: float) -> None:
        """Add packets from our TUN device to the batches of the peers that want their groups."""
        for run in bursts:
            for burst in split_run(run):
                wanting = self._wanting(destination(burst.packet)) if self.is_enabled else []
                if not wanting:
                    self._unwanted += 1
                elif self._sightings.is_copy(burst.packet, None, now):
                    self._looped += 1
                else:
                    self._sent += len(wanting)
                    for peer in wanting:
                        batches.setdefault(peer, []).append(burst)

    def on_delivered(self, peer: Peer, bursts: list[Burst], now: float) -> list[Burst]:
        """Return what of `peer`'s packets to write to the TUN device; other peers may get copies,
        which `take_relays` returns.
        """
        if not any(_is_multicast(burst.packet) for burst in bursts):
            return bursts
        kept = []
        for run in bursts:
            if not _is_multicast(run.packet):
                kept.append(run)
                continue
            kept += [burst for burst in split_run(run) if self._take(peer, burst, now)]
        return kept

    def _take(self, peer: Peer, burst: Burst, now: float) -> bool:
        group = destination(burst.packet)
        if not is_carried(group):
            self._unwanted += 1
            return False
        if self._sightings.is_copy(burst.packet, peer, now):
            self._looped += 1
            return False
        self._received += 1
        others = [other for other in self._wanting(group) if other is not peer]
        passed_on = lower_hop_limit(burst) if others else None
        if passed_on is not None:
            self._relayed += len(others)
            for other in others:
                self._relays.setdefault(other, []).append(passed_on)
        return True

    def take_relays(self) -> Mapping[Peer, list[Burst]]:
        """Return the copies for other peers, once."""
        relays, self._relays = self._relays, {}
        return relays

    def _wanting(self, group: bytes) -> list[Peer]:
        if group not in self.wanted:
            return []
        return [peer for peer, groups in self._theirs.items() if group in groups]

    # --- wishes

    def want(self, groups: Iterable[bytes], peers: Iterable[Peer], now: float) -> None:
        """Tell the peers that hosts on our side want these groups, and no others."""
        self._ours = frozenset(sorted(filter(is_carried, groups))[:MOST_WISHES])
        self._announce(peers, now)

    def follow(self, peer: Peer, peers: Collection[Peer], now: float) -> bool:
        """See whether `peer` has come, gone or wants other groups, and ask the others for them.

        Returns:
            True if so.
        """
        if self._versions.get(peer) == _version_of(peer):
            return False
        self._versions = {each: _version_of(each) for each in peers}
        self._theirs = {
            each: frozenset(each.bond.wishes.theirs) for each in peers if each.bond is not None
        }
        self.wanted = frozenset().union(*self._theirs.values())
        self._announce(peers, now)
        return True

    def _announce(self, peers: Iterable[Peer], now: float) -> None:
        for peer in peers:
            if peer.bond is not None and self.is_enabled:
                peer.bond.wishes.announce(self._asked_of(peer), now)

    def _asked_of(self, peer: Peer) -> frozenset[bytes]:
        """Return what we want of a peer: what hosts here want, and what other peers do."""
        others = (groups for other, groups in self._theirs.items() if other is not peer)
        return self._ours.union(*others)

    def statistics(self) -> MulticastStatistics:
        """Return a snapshot."""
        return MulticastStatistics(
            is_enabled=self.is_enabled,
            wanted_here=len(self._ours),
            wanted_there=len(self.wanted),
            sent_packets=self._sent,
            received_packets=self._received,
            relayed_packets=self._relayed,
            unwanted_packets=self._unwanted,
            looped_packets=self._looped,
        )


def _version_of(peer: Peer) -> tuple[Bond, int] | None:
    return None if peer.bond is None else (peer.bond, peer.bond.wishes.version)


def _is_multicast(packet: Bytes) -> bool:
    if packet[0] >> 4 == 4:
        return packet[16] >> 4 == 14
    return packet[24] == 0xFF


class Sightings:
    """The packets seen lately: by whom they were brought first, and with which hop limit."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: dict[bytes, tuple[Peer | None, int, float]] = {}  # oldest first

    def is_copy(self, packet: Bytes, origin: Peer | None, now: float) -> bool:
        """Say whether a packet has been here before and went round; remember it if not.

        Args:
            packet: one whole packet.
            origin: the peer that brought it; None: it came from our side.
            now: the caller's clock.
        """
        self._expire(now)
        digest, hops = identity(packet), packet[8 if packet[0] >> 4 == 4 else 7]
        known = self._seen.pop(digest, None)
        if known is not None and (known[0] is not origin or known[1] > hops):
            self._seen[digest] = (known[0], known[1], now + REMEMBERED_FOR)
            return True
        self._seen[digest] = (origin, hops, now + REMEMBERED_FOR)
        return False

    def _expire(self, now: float) -> None:
        seen = self._seen
        while seen:
            oldest = next(iter(seen))
            if seen[oldest][2] > now and len(seen) < MOST_REMEMBERED:
                return
            del seen[oldest]


def identity(packet: Bytes) -> bytes:
    """Return what stays of a packet on its way: not the hop limit, nor what depends on it or is
    filled in later (checksums), nor what routers may write (traffic class).
    """
    packet = bytes(packet)
    if packet[0] >> 4 == 4:
        start, protocol = (packet[0] & 15) * 4, packet[9]
        head = packet[4:8] + packet[12:start]
    else:
        start, protocol = 40, packet[6]
        head = packet[8:start]
    checksum = start + 6 if protocol == UDP else len(packet)
    parts = (head, bytes([protocol]), packet[start:checksum], packet[checksum + 2 :])
    return blake2s(b"".join(parts), digest_size=_DIGEST).digest()
