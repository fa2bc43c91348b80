"""What a bond and its paths have counted, as one snapshot."""

from typing import Protocol

from multiwanbond.core.dispatch import Dispatch
from multiwanbond.core.inbound import Inbound
from multiwanbond.core.keys import KeyRing
from multiwanbond.core.path import Path
from multiwanbond.core.path_state import PathState
from multiwanbond.core.paths import PathSet
from multiwanbond.core.settings import PeerSettings
from multiwanbond.core.statistics import PathStatistics, PeerStatistics


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
        paths=tuple(_of_path(path, now) for path in bond.paths if not path.has_gone),
        reorder=inbound.statistics(),
    )


def _of_path(path: Path, now: float) -> PathStatistics:
    has_rtt = path.rtt.smoothed is not None
    has_view = path.state is not PathState.DOWN
    return PathStatistics(
        path_id=path.path_id,
        state=path.state,
        state_since=path.state_since,
        remote=path.remote if path.has_link else None,
        rtt=path.rtt.smoothed,
        jitter=path.rtt.jitter if has_rtt else None,
        loss=path.loss(now),
        capacity=path.rate,
        queue=path.one_way.queue,
        suspicions=path.suspicions,
        mtu=path.mtu.size,
        mtu_state=path.mtu.state,
        is_fit=path.is_fit,
        is_resting=path.is_resting,
        black_holes=path.mtu.black_holes,
        sent_datagrams=path.ledger.sent_datagrams,
        sent_bytes=path.ledger.sent_bytes,
        received_datagrams=path.arrivals.datagrams,
        received_bytes=path.arrivals.octets,
        peer_view=path.peer_view.statistics(now) if has_view else None,
    )
