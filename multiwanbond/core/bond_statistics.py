"""What a bond has counted, as one snapshot."""

from typing import Protocol

from multiwanbond.core.dispatch import Dispatch
from multiwanbond.core.inbound import Inbound
from multiwanbond.core.keys import KeyRing
from multiwanbond.core.paths import PathSet
from multiwanbond.core.settings import PeerSettings
from multiwanbond.core.statistics import PeerStatistics


class CountingBond(Protocol):
    """What is told of a bond beside the counters of its halves."""

    peer: PeerSettings
    keys: KeyRing
    paths: PathSet
    opened_at: float


def statistics_of(
    bond: CountingBond, dispatch: Dispatch, inbound: Inbound, *, handshakes: int, now: float
) -> PeerStatistics:
    """Return a snapshot of a bond, its sending and its receiving half."""
    key = bond.keys.current
    outbound = dispatch.outbound
    return PeerStatistics(
        name=bond.peer.name,
        public_key=bond.peer.public_key,
        is_connected=key is not None and bond.paths.is_usable,
        connected_since=bond.opened_at,
        cipher=key.cipher.name if key else None,
        inner_mtu=bond.paths.inner_mtu.in_force,
        handshakes=handshakes,
        sent_packets=outbound.sent_packets,
        sent_bytes=outbound.sent_bytes,
        received_packets=inbound.received_packets,
        received_bytes=inbound.received_bytes,
        repaired_packets=dispatch.repaired_packets,
        copied_packets=dispatch.copied_packets,
        compressed_packets=outbound.compressor.compressed_packets,
        saved_bytes=outbound.compressor.saved_bytes,
        parity_datagrams=outbound.parity_datagrams,
        recovered_packets=inbound.recovered_packets,
        queued_bytes=dispatch.queued_bytes,
        shed_packets=dispatch.shed_packets,
        unsendable_packets=dispatch.unsendable_packets,
        paths=tuple(path.statistics(now) for path in bond.paths if not path.has_gone),
        reorder=inbound.statistics(),
    )
