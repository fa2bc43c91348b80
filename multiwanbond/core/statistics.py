"""What the core counts, as frozen snapshots; building one costs nothing on the packet's way."""

from collections.abc import Mapping
from dataclasses import dataclass

from multiwanbond.core.datagram import Address
from multiwanbond.core.path_state import PathState
from multiwanbond.core.pmtu import MtuState
from multiwanbond.errors import DropReason


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerViewStatistics:
    """One path as the peer sees it: its figures for what it sends to us."""

    state: PathState
    rtt: float | None
    """Seconds; None before the first answer."""
    jitter: float | None
    loss: float
    """Share of the peer's recent datagrams that we did not receive, 0 to 1."""
    capacity: float
    """Bytes a second that the line is believed to deliver to us."""
    seen: Address | None = None
    """Where our datagrams come from; None while the peer has not said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathStatistics:
    """One path, both directions, since the bond opened."""

    path_id: int
    state: PathState
    state_since: float
    """The caller's clock when the state was entered."""
    remote: Address | None
    """Where the peer is reached on this path; None while the WAN has no link."""
    rtt: float | None
    """Smoothed round-trip time in seconds; None before the first answer."""
    jitter: float | None
    """Mean deviation of the round-trip time in seconds."""
    loss: float
    """Share of our recent datagrams that the peer did not receive, 0 to 1."""
    capacity: float
    """Bytes a second that the line is believed to deliver to the peer."""
    queue: float
    """Seconds that our packets queue on the line."""
    suspicions: int
    """How often acks stayed out so long that packets went elsewhere."""
    sent_datagrams: int
    sent_bytes: int
    """UDP payload bytes."""
    received_datagrams: int
    received_bytes: int
    mtu: int = 1500
    """Bytes of the largest IP packet that is sent on it."""
    mtu_state: MtuState = MtuState.ASSUMED
    is_fit: bool = True
    """False if it carries no packets, because they are larger than it takes."""
    is_resting: bool = False
    """True while it is kept in reserve, and others carry the packets."""
    black_holes: int = 0
    """How often the MTU turned out to have become smaller."""
    peer_view: PeerViewStatistics | None = None
    """The same as the peer sees it; None while it has not said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReorderStatistics:
    """The fates of received packets."""

    released: int
    """Packets handed on in the order of their flow."""
    held: int
    """Packets waiting right now for an earlier one."""
    late: int
    """Packets that came after they had been given up; handed on all the same."""
    duplicates: int
    """Packets seen before and dropped."""
    given_up: int
    """Missing packets that were no longer waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStatistics:
    """One peer and the bond with it, if there is one."""

    name: str
    public_key: bytes
    is_connected: bool
    """True if keys are agreed and at least one path is usable."""
    connected_since: float | None
    """The caller's clock when the bond opened; None without a bond."""
    cipher: str | None
    inner_mtu: int | None
    handshakes: int
    """Completed handshakes, rekeys included."""
    sent_packets: int
    """Inner packets (segments of runs counted singly)."""
    sent_bytes: int
    """Their bytes."""
    received_packets: int
    received_bytes: int
    repaired_packets: int
    """Packets sent again because they were lost, or their path fell silent."""
    copied_packets: int
    """Packets that left by another path as well, since one of them might have been late."""
    compressed_packets: int
    """Packets that left smaller than they came."""
    saved_bytes: int
    """By how much, all together."""
    parity_datagrams: int
    """Parity sent, from which the peer makes up for packets that are lost."""
    recovered_packets: int
    """Packets that did not arrive, or not soon, and were made up for by parity of the peer's."""
    queued_bytes: int
    """Inner bytes that wait for a path with room."""
    shed_packets: int
    """Packets taken out of that queue, so that their senders slow down."""
    unsendable_packets: int
    """Packets dropped because no path or no key was there to carry them."""
    paths: tuple[PathStatistics, ...]
    reorder: ReorderStatistics | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MulticastStatistics:
    """Packets to multicast groups."""

    is_enabled: bool = False
    wanted_here: int = 0
    """Groups that hosts on our side want."""
    wanted_there: int = 0
    """Groups that peers want from us."""
    sent_packets: int = 0
    """Copies sent to peers: one packet for two clients is two."""
    received_packets: int = 0
    relayed_packets: int = 0
    """Copies of a peer's packets that went to other peers."""
    unwanted_packets: int = 0
    """Packets to groups that no peer wants, or that never leave their link."""
    looped_packets: int = 0
    """Copies that had been here before, and went no further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointStatistics:
    """Everything an endpoint counts."""

    peers: tuple[PeerStatistics, ...]
    dropped: Mapping[DropReason, int]
    """Received datagrams thrown away, by reason."""
    unroutable_packets: int
    """Inner packets for a destination that belongs to no peer."""
    multicast: MulticastStatistics = MulticastStatistics()
