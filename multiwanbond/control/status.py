"""The shape of the status document: what `mwb status --json` prints and all displays are fed by.

Plain dictionaries, since they travel as JSON. Units are in the names: `_s`, `_ms`, `_pct`, `_mbit`.
"""

from enum import Enum
from typing import Any, TypedDict


class ReloadOutcome(Enum):
    """How a reload can end."""

    APPLIED = "applied"
    """Everything that differs is in force."""
    UNCHANGED = "unchanged"
    """Nothing differs."""
    REFUSED = "refused"
    """The file is good, but a running tunnel cannot follow it; nothing has changed."""
    BROKEN = "broken"
    """The file is not good; nothing has changed."""


JsonObject = dict[str, Any]
"""A JSON object; typed more closely by the documents below wherever its content is known."""


class ReloadDocument(TypedDict):
    """What became of a reload."""

    outcome: str
    """A `ReloadOutcome`."""
    file: str
    lines: list[str]
    """What has changed, or what is wrong, one sentence each."""


class TunnelDocument(TypedDict):
    """The TUN device."""

    name: str
    mtu: int
    addresses: list[str]
    offload: str
    """What the kernel leaves unsplit for us: "none", "TCP" or "TCP and UDP"."""


class TrafficDocument(TypedDict):
    """What went through, since the bond opened."""

    sent_bytes: int
    received_bytes: int
    rate_up_mbit: float
    """Megabits a second sent, averaged over about the last second."""
    rate_down_mbit: float


class PeerViewDocument(TypedDict):
    """One path as the peer sees it: its figures for what it sends to us."""

    state: str
    rtt_ms: float | None
    jitter_ms: float | None
    loss_pct: float
    capacity_mbit: float
    """What the line is believed to carry to us."""
    seen: str | None
    """Where our datagrams come from; on a server, and while the peer has not said, None."""


class PathDocument(TrafficDocument):
    """One WAN of ours to one address of the peer."""

    id: int
    wan: str
    """Name of our WAN; on a server, which knows only the path's number, "path 3"."""
    interface: str | None
    state: str
    """One of Down, Starting, Up, Degraded, Recovering."""
    state_since_s: float
    """How long it has been in this state."""
    remote: str | None
    rtt_ms: float | None
    jitter_ms: float | None
    loss_pct: float
    capacity_mbit: float
    """What the line is believed to carry to the peer."""
    queue_ms: float
    mtu: int
    """Bytes of the largest IP packet that is sent on it."""
    mtu_state: str
    """One of assumed, searching, found."""
    carries_packets: bool
    """False while they are larger than its MTU allows, and go elsewhere."""
    in_reserve: bool
    """True while it waits until no other WAN works (`only_when_needed`)."""
    black_holes: int
    """How often the MTU turned out to have become smaller."""
    sent_datagrams: int
    received_datagrams: int
    peer_view: PeerViewDocument | None
    """None while the peer has not said, and on a path that is Down."""


class ReorderDocument(TypedDict):
    """The fates of received packets."""

    released: int
    held: int
    late: int
    duplicates: int
    given_up: int


class PeerDocument(TrafficDocument):
    """One peer and the bond with it."""

    name: str
    key: str
    """Fingerprint of the public key."""
    is_connected: bool
    connected_s: float | None
    """Age of the bond; None without one."""
    cipher: str | None
    inner_mtu: int | None
    handshakes: int
    sent_packets: int
    received_packets: int
    repaired_packets: int
    copied_packets: int
    compressed_packets: int
    saved_bytes: int
    parity_datagrams: int
    recovered_packets: int
    queued_bytes: int
    shed_packets: int
    unsendable_packets: int
    paths: list[PathDocument]
    reorder: ReorderDocument | None


class WanDocument(TypedDict):
    """One uplink of a client, whether or not it carries anything."""

    id: int
    name: str
    interface: str | None
    local: str | None
    """The address it sends from."""
    remote: str | None
    """Where it sends to; None until the name is resolved."""
    waiting_for: str | None
    """What is missing before it can be tried, in plain words; None when nothing is."""
    warning: str | None
    """What about it may surprise, although it is used; None when nothing does."""


class ServerDocument(TypedDict):
    """One of a client's servers."""

    name: str
    remote: str
    """Where it is, as the configuration has it."""
    is_used: bool
    """True for the one the bond is with, or is being called now."""


class QuotaDocument(TypedDict):
    """What a metered WAN has carried, and may."""

    wan_id: int
    wan: str
    used_bytes: int
    """Both directions, with the outer headers."""
    quota_bytes: int
    since: str | None
    """First day that is counted, such as 2026-11-01; None while the clock is not set."""
    until: str | None
    """Day on which it begins anew."""
    is_used_up: bool
    action: str
    """What happens then: reserve or off."""
    is_kept: bool
    """False while the count cannot be written, and would be forgotten at a restart."""


class MulticastDocument(TypedDict):
    """Packets to groups, since the start."""

    interfaces: list[str]
    """Whose hosts take part."""
    wanted_here: list[str]
    """Groups that hosts on our side want, the first of them."""
    wanted_there: list[str]
    """Groups that peers want from us, the first of them."""
    sent_packets: int
    """Copies sent to peers."""
    received_packets: int
    relayed_packets: int
    """Copies of a client's packets for other clients."""
    unwanted_packets: int
    """Packets to groups that no peer wants, or that never leave their link."""
    looped_packets: int
    """Packets that had been here before, and went no further."""


class SocketDocument(TypedDict):
    """One UDP socket."""

    wan_id: int
    """0 is a server's one socket."""
    local: str
    is_gso: bool
    """True while runs leave in one system call."""
    reads: int
    received_datagrams: int
    writes: int
    sent_datagrams: int
    dropped: dict[str, int]
    """Datagrams that could not leave, by the kernel's reason."""


class PluginDocument(TypedDict):
    """One plugin."""

    name: str
    kinds: list[str]
    state: str
    """running or disabled."""
    reason: str | None
    """Why it was disabled."""
    dropped_alerts: int
    """That found too many others waiting."""


class StatusDocument(TypedDict):
    """Everything a running daemon says about itself."""

    version: str
    pid: int
    config: str | None
    """The file that a reload reads; None for a tunnel that a program started."""
    mode: str
    """client or server."""
    uptime_s: float
    is_ready: bool
    """A client: connected to a peer. A server: listening."""
    is_compiled: bool
    """False if Python encrypts runs, at several times the processor time (see `native`)."""
    tunnel: TunnelDocument
    peers: list[PeerDocument]
    plugins: list[PluginDocument]
    servers: list[ServerDocument]
    """A client's, in the order in which they are to be used."""
    wans: list[WanDocument]
    quotas: list[QuotaDocument]
    """Of metered WANs."""
    multicast: MulticastDocument | None
    """None if multicast is off."""
    sockets: list[SocketDocument]
    dropped: dict[str, int]
    """Received datagrams thrown away, by reason."""
    unroutable_packets: int
    undeliverable_packets: int
    """Inner packets the TUN device would not take: it was down, or its queue full."""
    unsent_datagrams: int
    """Datagrams no socket would take: its buffer was full, or its WAN gone."""
