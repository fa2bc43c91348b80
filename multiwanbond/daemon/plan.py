"""What one daemon is to do: the configuration as each part of the daemon wants to read it."""

from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from multiwanbond.config.model import (
    CipherWish,
    Configuration,
    Mode,
    Offload,
    OnFailure,
    Peer,
    Wan,
)
from multiwanbond.config.notations import HostPort, InterfaceAddress, IpAddress
from multiwanbond.config.traffic import Class
from multiwanbond.core.datagram import Address
from multiwanbond.core.handshake import MAX_COST
from multiwanbond.core.settings import (
    CipherCosts,
    DuplicationSettings,
    EndpointSettings,
    HealthSettings,
    PeerSettings,
    Prefix,
    ReorderSettings,
    TrafficClass,
    WanSettings,
)
from multiwanbond.linux.gateway import GatewayWish
from multiwanbond.plugins import registry

from .machine import MulticastWish, PlaceWish, WanWish

MOST_DISCOVERED: Final = 16
"""WANs found by themselves; the endpoint is told of so many from the start, since one without a
link costs it nothing."""

NO_PRESHARED_KEY: Final = bytes(32)

NOWHERE: Final[Prefix] = ip_network("::/128")
"""Among the networks of a class whose names and interfaces may stand for nothing yet. No packet has
this address, and no network at all would mean any."""

WIDEST_MTU: Final = 65535
"""Stands for a tunnel MTU still to be worked out from the WANs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelPlan:
    """The TUN device and what goes into it."""

    name: str
    addresses: tuple[InterfaceAddress, ...]
    mtu: int | None
    """None: what fits through the WANs."""
    routes: tuple[Prefix, ...]
    wants_offload: bool
    dns: tuple[IpAddress, ...] = ()
    """Name servers to ask while the bond is connected."""
    on_failure: OnFailure = OnFailure.DIRECT


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientPlan:
    """The uplinks of an end that calls."""

    wans: tuple[tuple[WanWish, HostPort], ...]
    """Each with the server it leads to."""
    discovery: HostPort | None
    """None if the WANs are listed; else where every WAN that is found leads to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPlan:
    """The door of an end that is called."""

    listen: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class BypassPlan:
    """What stays out of the tunnel."""

    targets: tuple[Prefix | str, ...] = ()
    """Networks, and interfaces that packets come in by."""
    places: PlaceWish = field(default_factory=PlaceWish)
    """Names whose addresses are such networks, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaPlan:
    """How much metered WANs may carry."""

    file: Path
    """Where the counts are kept."""
    wans: tuple[Wan, ...]
    """Those with a quota."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything a daemon is told."""

    role: ClientPlan | ServerPlan
    tunnel: TunnelPlan
    control_socket: Path
    endpoint: EndpointSettings
    gateway: GatewayWish
    multicast: MulticastWish | None = None
    """None: no multicast."""
    plugins: tuple[registry.Wanted, ...] = ()
    bypass: BypassPlan = BypassPlan()
    quota: QuotaPlan | None = None
    """None at a server."""
    class_places: tuple[PlaceWish, ...] = ()
    """For each class of the endpoint's the names and interfaces whose networks it has, too."""
    standby: tuple["Plan", ...] = ()
    """What a client does instead while this plan's server does not answer: the same with another
    server, the one to try first at the front."""

    @property
    def server(self) -> PeerSettings:
        """A client's server."""
        (server,) = self.endpoint.peers
        return server

    @property
    def mode(self) -> Mode:
        """The role in the operator's word."""
        return Mode.CLIENT if isinstance(self.role, ClientPlan) else Mode.SERVER


def plan_for(configuration: Configuration, costs: CipherCosts) -> Plan:
    """Return what a daemon with this configuration does; it must be runnable.

    Raises:
        ConfigFileError: a plugin is not there, or its settings are wrong.
    """
    if configuration.mode is Mode.SERVER:
        return _plan(configuration, costs)
    plan, *standby = (_plan(each, costs) for each in configuration.servers)
    return replace(plan, standby=tuple(standby))


def _plan(configuration: Configuration, costs: CipherCosts) -> Plan:
    tunnel = configuration.tunnel
    return Plan(
        role=_role(configuration),
        tunnel=TunnelPlan(
            name=tunnel.name,
            addresses=tunnel.address,
            mtu=tunnel.mtu,
            routes=configuration.routes,
            wants_offload=tunnel.offload is not Offload.OFF,
            dns=tunnel.dns,
            on_failure=tunnel.on_failure,
        ),
        control_socket=configuration.control_socket,
        endpoint=_endpoint(configuration, costs),
        gateway=_gateway(configuration),
        multicast=_multicast(configuration),
        plugins=registry.wanted(configuration),
        bypass=_bypass(configuration),
        quota=_quota(configuration),
        class_places=tuple(
            PlaceWish(domains=each.domains, devices=each.devices) for each in configuration.classes
        ),
    )


def _gateway(configuration: Configuration) -> GatewayWish:
    wanted = configuration.gateway
    return GatewayWish(
        is_server=configuration.mode is Mode.SERVER,
        forward=wanted.forward,
        masquerade=wanted.masquerade,
        client_to_client=wanted.client_to_client,
        port_forwards=wanted.port_forwards,
        addresses=configuration.tunnel.address,
    )


def _multicast(configuration: Configuration) -> MulticastWish | None:
    if not configuration.session.multicast_enabled:
        return None
    wans = [
        name
        for wan in configuration.wans
        for name in (wan.interface, None if wan.local_addr is None else str(wan.local_addr))
        if name is not None
    ]
    interfaces = configuration.session.multicast_interfaces
    return MulticastWish(interfaces=interfaces, wans=tuple(wans))


def _role(configuration: Configuration) -> ClientPlan | ServerPlan:
    if configuration.mode is Mode.SERVER:
        return ServerPlan(listen=configuration.session.local_endpoint)
    wans = []
    for wan in configuration.wans:
        remote = configuration.remote_of(wan)
        assert remote is not None
        if wan.enabled:
            wans.append((_wish(wan), remote))
    discovery = None if configuration.wans else configuration.session.remote_endpoint
    return ClientPlan(wans=tuple(wans), discovery=discovery)


def _wish(wan: Wan) -> WanWish:
    return WanWish(
        id=wan.id,
        name=wan.label,
        interface=wan.interface,
        local_host=None if wan.local_addr is None else str(wan.local_addr),
        wants_gso=wan.gso is not Offload.OFF,
    )


def _endpoint(configuration: Configuration, costs: CipherCosts) -> EndpointSettings:
    private_key = configuration.security.private_key
    assert private_key is not None
    is_client = configuration.mode is Mode.CLIENT
    session, health = configuration.session, configuration.health
    return EndpointSettings(
        private_key=private_key,
        peers=tuple(_peer(peer, is_initiator=is_client) for peer in configuration.security.peers),
        wans=_wans(configuration) if is_client else (),
        health=health,
        reorder=ReorderSettings(
            reorder_buffer=session.reorder_buffer, reorder_timeout=session.reorder_timeout
        ),
        routing_mode=configuration.routing.mode,
        fec=configuration.fec,
        classes=tuple(map(_class, configuration.classes)),
        compression=session.compression,
        duplication=DuplicationSettings(
            packets=session.duplicate_packets, mode=session.duplicate_mode
        ),
        inner_mtu=configuration.tunnel.mtu or WIDEST_MTU,
        multicast_enabled=session.multicast_enabled,
        cipher_costs=_with_wish(costs, configuration.security.cipher),
    )


def _bypass(configuration: Configuration) -> BypassPlan:
    wish = configuration.bypass
    targets = (*wish.prefixes, *wish.devices)
    return BypassPlan(targets=targets, places=PlaceWish(domains=wish.domains))


def _quota(configuration: Configuration) -> QuotaPlan | None:
    if configuration.mode is Mode.SERVER:
        return None
    metered = tuple(wan for wan in configuration.wans if wan.enabled and wan.quota is not None)
    return QuotaPlan(file=configuration.quota_file, wans=metered)


def _class(rule: Class) -> TrafficClass:
    return TrafficClass(
        name=rule.name,
        protocols=rule.protocols,
        prefixes=(*rule.prefixes, NOWHERE) if rule.domains or rule.devices else rule.prefixes,
        ports=rule.ports,
        dscp=rule.dscp,
        wans=frozenset(rule.wans),
        duplicate=rule.duplicate,
        is_ordered=rule.order,
        is_protected=rule.fec,
        compression=rule.compression,
        priority=rule.priority,
    )


def _with_wish(costs: CipherCosts, wish: CipherWish) -> CipherCosts:
    """Return costs at which the cipher wished for is the cheaper one."""
    match wish:
        case CipherWish.AES_256_GCM:
            return replace(costs, chacha20_ns=MAX_COST)
        case CipherWish.CHACHA20_POLY1305:
            return replace(costs, aes_gcm_ns=MAX_COST)
        case CipherWish.AUTO:
            return costs


def _peer(peer: Peer, *, is_initiator: bool) -> PeerSettings:
    return PeerSettings(
        name=peer.label,
        public_key=peer.public_key,
        preshared_key=peer.preshared_key or NO_PRESHARED_KEY,
        allowed_ips=peer.allowed_ips,
        is_initiator=is_initiator,
    )


def _wans(configuration: Configuration) -> tuple[WanSettings, ...]:
    if configuration.wans:
        return configuration.wans
    return tuple(
        _discovered(number, configuration.health) for number in range(1, MOST_DISCOVERED + 1)
    )


def _discovered(wan_id: int, health: HealthSettings) -> WanSettings:
    return WanSettings(
        id=wan_id,
        max_latency=health.max_latency,
        max_jitter=health.max_jitter,
        max_packet_loss=health.max_packet_loss,
        health_check_interval=health.health_check_interval,
        failure_threshold=health.failure_threshold,
    )
