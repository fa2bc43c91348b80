"""The settings the core acts on; `config.model` adds those that only the adapters need."""

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from multiwanbond.options import Reload, option
from multiwanbond.units import DURATION, PERCENT, RATE, SHARE_OR_AUTO

Prefix = IPv4Network | IPv6Network


DEFAULT_WEIGHT: Final = 10
"""The reference's."""
MOST_SHARDS: Final = 32
"""Packets, and their parity, that one block of forward error correction has at most. More make
decoding dearer by the square, and wait longer to be complete."""


class RoutingMode(Enum):
    """How packets are shared among usable paths; one file each in `core/scheduling`."""

    ADAPTIVE = "adaptive"
    ROUND_ROBIN = "round_robin"
    WEIGHTED = "weighted"
    LEAST_USED = "least_used"
    LEAST_LATENCY = "least_latency"
    PER_FLOW = "per_flow"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSettings:
    """When a path counts as healthy. Defaults are the reference's."""

    max_latency: float = option(
        0.1,
        notation=DURATION,
        low=0.001,
        high=60,
        reload=Reload.LIVE,
        doc="Round-trip time above which the WAN is Degraded: downloads still use it, what must "
        "be quick does not.",
    )
    max_jitter: float = option(
        0.02,
        notation=DURATION,
        low=0.001,
        high=60,
        reload=Reload.LIVE,
        doc="Variation of the round-trip time above which the WAN is Degraded.",
    )
    max_packet_loss: float = option(
        2.0,
        notation=PERCENT,
        low=0,
        high=100,
        reload=Reload.LIVE,
        doc="Share of lost datagrams above which the WAN is Degraded.",
    )
    health_check_interval: float = option(
        0.2,
        notation=DURATION,
        low=0.02,
        high=30,
        reload=Reload.LIVE,
        doc="Time between two probes of the WAN. Failures are noticed in about "
        "health_check_interval x failure_threshold; an idle bond probes 3.5 times more rarely.",
    )
    failure_threshold: int = option(
        3,
        low=1,
        high=100,
        reload=Reload.LIVE,
        doc="Consecutive unanswered probes after which the WAN is Down.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WanSettings(HealthSettings):
    """One uplink as the core sees it: a number and its limits."""

    id: int = option(
        low=1,
        high=255,
        reload=Reload.LIVE,
        doc="Number of the WAN, unique in the file; it names the path on the wire.",
    )
    weight: int = option(
        DEFAULT_WEIGHT,
        low=1,
        high=1000,
        reload=Reload.LIVE,
        doc="How much of the traffic the WAN gets compared with others, in the routing modes "
        "weighted and per_flow: twice the weight, twice the share of an equal line. The other end "
        "is told, so that downloads keep to it, too, if its mode is one of these.",
    )
    max_bandwidth: float | None = option(
        None,
        notation=RATE,
        low=1e3,
        high=125e9,
        reload=Reload.LIVE,
        default_doc="what the line carries",
        doc="Most bytes a second that the WAN is used for, each way; the other end is told. Leave "
        "it out: what a line carries is measured all the time. It is for lines that others pay "
        "for or share.",
    )
    only_when_needed: bool = option(
        False,
        reload=Reload.LIVE,
        doc="True keeps the WAN in reserve: it carries packets only while no other WAN works, and "
        "is probed every 20 s until then (1.6 MB a day). For lines that are paid for by the "
        "byte. The other end is told.",
    )
    enabled: bool = option(True, reload=Reload.LIVE, doc="False leaves the WAN out of the bond.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReorderSettings:
    """How long, and for how many packets, order is waited for."""

    reorder_buffer: int = option(
        16384,
        low=1,
        high=65535,
        reload=Reload.LIVE,
        doc="Packets held at most while an earlier one of their flow is missing. Unequal lines "
        "need many: 1000 last 50 ms at 240 Mbit/s.",
    )
    reorder_timeout: float = option(
        0.5,
        notation=DURATION,
        low=0,
        high=10,
        reload=Reload.LIVE,
        doc="Longest time a packet is held for an earlier one. It is usually far shorter: a packet "
        "known to be lost is not waited for.",
    )


class DuplicateMode(Enum):
    """By how many paths, and which, duplicated packets leave."""

    FIRST = "first"
    FASTEST = "fastest"
    BEST = "best"


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicationSettings:
    """What the operator wants to be duplicated; `config.model.Session` declares it."""

    packets: bool = False
    mode: DuplicateMode = DuplicateMode.FASTEST


class Compression(Enum):
    """How packets are made smaller."""

    NONE = "none"
    ZSTD = "zstd"


class Priority(Enum):
    """What a class of traffic suffers from most."""

    AUTO = "auto"
    LATENCY_FIRST = "latency_first"
    THROUGHPUT_FIRST = "throughput_first"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficClass:
    """Traffic that is to be treated in its own way; `config.model.Class` declares it.

    Of what it matches by, all that is not empty must be true; of a list, one entry.
    """

    name: str
    protocols: tuple[int, ...] = ()
    """Of IP."""
    prefixes: tuple[Prefix, ...] = ()
    """With the source or the destination in it."""
    ports: tuple[tuple[int, int], ...] = ()
    """First and last, with the source's or the destination's among them."""
    dscp: tuple[int, ...] = ()
    wans: frozenset[int] = frozenset()
    """Path ids it may use as long as one of them is usable; empty: all."""
    duplicate: bool | None = None
    """None: as `DuplicationSettings` say, and unasked where its path is unsteady."""
    is_ordered: bool | None = None
    """None: as its protocol wants it."""
    is_protected: bool = True
    """Gets parity, if anything does."""
    compression: Compression | None = None
    """None: as `EndpointSettings` say."""
    priority: Priority = Priority.AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class FecSettings:
    """Parity beside the packets, from which the other end makes up for lost ones."""

    enabled: bool = option(
        False,
        doc="True sends parity, which makes up for losses without waiting for a packet to be sent "
        "again: for calls and games over lossy lines. Downloads gain nothing by it and lose what "
        "it takes. Each end decides for what it sends; the other needs no setting.",
    )
    redundancy: float | None = option(
        0.2,
        notation=SHARE_OR_AUTO,
        low=0,
        high=8,
        reload=Reload.LIVE,
        doc="Parity sent in the long run for each packet: 0.2 is one in five. auto goes by what "
        "the lines lose: nothing while they lose less than one in a thousand, and then as much as "
        "leaves one in a thousand missing, up to parity_shards.",
    )
    data_shards: int = option(
        4,
        low=1,
        high=MOST_SHARDS,
        reload=Reload.LIVE,
        doc="Packets that get parity together. More make the same redundancy more effective, but "
        "a lost packet waits for the last of them, 60 ms at most.",
    )
    parity_shards: int = option(
        2,
        low=1,
        high=MOST_SHARDS,
        reload=Reload.LIVE,
        doc="Parity for so many packets at most: as many of them may be lost and are made up for.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSettings:
    """A far end we talk to, known by its static public key."""

    name: str
    public_key: bytes
    """32 bytes, X25519."""
    preshared_key: bytes
    """32 bytes mixed into the handshake; zeros when there is none."""
    allowed_ips: tuple[Prefix, ...]
    """Inner destinations routed to this peer, and inner sources accepted from it."""
    is_initiator: bool
    """True where we open the handshake (the client's view of its server)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CipherCosts:
    """What each transport cipher costs on this machine, as measured by the caller at start-up."""

    aes_gcm_ns: int
    """Nanoseconds to seal 1400 bytes with AES-256-GCM."""
    chacha20_ns: int
    """Nanoseconds to seal 1400 bytes with ChaCha20-Poly1305."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """Everything an `Endpoint` is told at its start and by `reconfigure`."""

    private_key: bytes
    """32 bytes, X25519."""
    peers: tuple[PeerSettings, ...]
    wans: tuple[WanSettings, ...]
    """Empty on a server: its paths come with the clients' datagrams."""
    health: HealthSettings
    """Limits for paths that no entry of `wans` describes (a server's)."""
    reorder: ReorderSettings
    routing_mode: RoutingMode
    inner_mtu: int
    """Largest inner packet we can carry; the smaller of both ends' holds."""
    cipher_costs: CipherCosts
    fec: FecSettings = FecSettings()
    duplication: DuplicationSettings = DuplicationSettings()
    classes: tuple[TrafficClass, ...] = ()
    """The first that matches a flow counts."""
    multicast_enabled: bool = False
    """Packets to multicast groups are carried to the peers that want them."""
    compression: Compression = Compression.NONE
    """Of what no class says otherwise of."""

    def wan(self, wan_id: int) -> WanSettings | None:
        """Return the WAN of that number; None if there is none, or it is to be left out."""
        return next((wan for wan in self.wans if wan.id == wan_id and wan.enabled), None)
