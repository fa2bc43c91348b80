"""Statistics as the status document: what `mwb status`, the web page and metrics are fed by."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Final

from multiwanbond.control.status import (
    PathDocument,
    PeerDocument,
    PeerViewDocument,
    PluginDocument,
    ReorderDocument,
    SocketDocument,
    TrafficDocument,
)
from multiwanbond.core.statistics import (
    EndpointStatistics,
    PathStatistics,
    PeerStatistics,
    PeerViewStatistics,
    ReorderStatistics,
)
from multiwanbond.plugins.host import PluginStatus

from .dataplane import Udp
from .report import WanLabel, fingerprint

SAMPLE_INTERVAL: Final = 1.0
"""Seconds between two looks at the byte counters: short enough to follow a speed test, long enough
for the idle daemon to stay idle."""


class RateMeter:
    """Rates from byte counters that are looked at once in a while."""

    def __init__(self) -> None:
        self._counters: dict[Hashable, tuple[int, int]] = {}
        self._rates: dict[Hashable, tuple[float, float]] = {}
        self._sampled_at: float | None = None

    def sample(self, statistics: EndpointStatistics, now: float) -> None:
        """Note the counters; the rates are those since the last call."""
        span = now - self._sampled_at if self._sampled_at is not None else 0.0
        counters = dict(_counters(statistics))
        self._rates = {}
        for key, (sent, received) in counters.items():
            before = self._counters.get(key)
            # A counter that went back belongs to a new bond: what it says is since that began.
            if before is None or span <= 0 or sent < before[0] or received < before[1]:
                continue
            self._rates[key] = ((sent - before[0]) / span, (received - before[1]) / span)
        self._counters = counters
        self._sampled_at = now

    def rate(self, key: Hashable) -> tuple[float, float]:
        """Return bytes per second up and down for a peer (its key) or a path of it (key, id)."""
        return self._rates.get(key, (0.0, 0.0))


def _counters(
    statistics: EndpointStatistics,
) -> Iterable[tuple[Hashable, tuple[int, int]]]:
    for peer in statistics.peers:
        yield peer.public_key, (peer.sent_bytes, peer.received_bytes)
        for path in peer.paths:
            yield (peer.public_key, path.path_id), (path.sent_bytes, path.received_bytes)


def describe_peer(
    peer: PeerStatistics, *, label: Callable[[int], WanLabel], rates: RateMeter, now: float
) -> PeerDocument:
    """Return what is known of one peer; `label` names our WANs by path id."""
    since = peer.connected_since
    return {
        "name": peer.name,
        "key": fingerprint(peer.public_key),
        "is_connected": peer.is_connected,
        "connected_s": None if since is None else round(now - since, 1),
        "cipher": peer.cipher,
        "inner_mtu": peer.inner_mtu,
        "handshakes": peer.handshakes,
        "sent_packets": peer.sent_packets,
        "received_packets": peer.received_packets,
        "repaired_packets": peer.repaired_packets,
        "copied_packets": peer.copied_packets,
        "compressed_packets": peer.compressed_packets,
        "saved_bytes": peer.saved_bytes,
        "parity_datagrams": peer.parity_datagrams,
        "recovered_packets": peer.recovered_packets,
        "queued_bytes": peer.queued_bytes,
        "shed_packets": peer.shed_packets,
        "unsendable_packets": peer.unsendable_packets,
        "paths": [
            _describe_path(path, peer, label=label(path.path_id), rates=rates, now=now)
            for path in sorted(peer.paths, key=lambda path: path.path_id)
        ],
        "reorder": None if peer.reorder is None else _describe_reorder(peer.reorder),
        **_describe_traffic(peer, rates.rate(peer.public_key)),
    }


def describe_plugin(plugin: PluginStatus) -> PluginDocument:
    """Return what is known of one plugin."""
    return {
        "name": plugin.label,
        "kinds": list(plugin.kinds),
        "state": "running" if plugin.failure is None else "disabled",
        "reason": plugin.failure,
        "dropped_alerts": plugin.dropped_alerts,
    }


def _describe_path(
    path: PathStatistics, peer: PeerStatistics, *, label: WanLabel, rates: RateMeter, now: float
) -> PathDocument:
    return {
        "id": path.path_id,
        "wan": label.name,
        "interface": label.interface,
        "state": path.state.value,
        "state_since_s": round(now - path.state_since, 1),
        "remote": None if path.remote is None else str(path.remote),
        "rtt_ms": _milliseconds(path.rtt),
        "jitter_ms": _milliseconds(path.jitter),
        "loss_pct": round(path.loss * 100, 2),
        "capacity_mbit": round(path.capacity * 8 / 1e6, 3),
        "queue_ms": round(path.queue * 1000, 2),
        "mtu": path.mtu,
        "mtu_state": path.mtu_state.value,
        "carries_packets": path.is_fit,
        "in_reserve": path.is_resting,
        "black_holes": path.black_holes,
        "sent_datagrams": path.sent_datagrams,
        "received_datagrams": path.received_datagrams,
        "peer_view": None if path.peer_view is None else _describe_view(path.peer_view),
        **_describe_traffic(path, rates.rate((peer.public_key, path.path_id))),
    }


def _describe_view(view: PeerViewStatistics) -> PeerViewDocument:
    return {
        "state": view.state.value,
        "rtt_ms": _milliseconds(view.rtt),
        "jitter_ms": _milliseconds(view.jitter),
        "loss_pct": round(view.loss * 100, 2),
        "capacity_mbit": round(view.capacity * 8 / 1e6, 3),
        "seen": None if view.seen is None else str(view.seen),
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)


def _describe_traffic(
    counted: PeerStatistics | PathStatistics, rate: tuple[float, float]
) -> TrafficDocument:
    return {
        "sent_bytes": counted.sent_bytes,
        "received_bytes": counted.received_bytes,
        "rate_up_mbit": round(rate[0] * 8 / 1e6, 3),
        "rate_down_mbit": round(rate[1] * 8 / 1e6, 3),
    }


def _describe_reorder(reorder: ReorderStatistics) -> ReorderDocument:
    return {
        "released": reorder.released,
        "held": reorder.held,
        "late": reorder.late,
        "duplicates": reorder.duplicates,
        "given_up": reorder.given_up,
    }


def describe_sockets(sockets: Mapping[int, Udp]) -> list[SocketDocument]:
    """Return the counters of every open socket."""
    documents: list[SocketDocument] = []
    for wan_id, socket in sockets.items():
        counted = socket.statistics()
        documents.append(
            {
                "wan_id": wan_id,
                "local": str(socket.local),
                "is_gso": counted.is_gso_enabled,
                "reads": counted.reads,
                "received_datagrams": counted.datagrams_received,
                "writes": counted.writes,
                "sent_datagrams": counted.datagrams_sent,
                "dropped": dict(counted.dropped),
            }
        )
    return documents
