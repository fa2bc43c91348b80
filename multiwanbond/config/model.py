"""What the operator may set: one frozen dataclass per section of the file.

Every setting is declared once, here or in `core.settings`; `load` checks against these
declarations and `reference` documents them. A key that nothing honours does not belong here.
"""

from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Final

from multiwanbond.core.datagram import Address
from multiwanbond.core.settings import (
    Compression,
    DuplicateMode,
    FecSettings,
    HealthSettings,
    Prefix,
    ReorderSettings,
    RoutingMode,
)
from multiwanbond.options import Reload, option

from .gateway import Gateway
from .keys import encode_key
from .metered import MeteredWan
from .notations import (
    FILE,
    HOST_PORT,
    INTERFACE_ADDRESS,
    INTERFACE_NAME,
    IP_ADDRESS,
    KEY,
    LISTEN_ADDRESS,
    MTU,
    NAME,
    PREFIX,
    SOCKET,
    WAN_INTERFACE,
    HostPort,
    InterfaceAddress,
    IpAddress,
)
from .origin import Origin
from .plugin_entry import PluginEntry
from .traffic import Bypass, Class

RUN_DIRECTORY: Final = Path("/run/multiwanbond")
"""Where control sockets live; systemd makes it for the service, `mwb up` for itself."""
STATE_DIRECTORY: Final = Path("/var/lib/multiwanbond")
"""What outlives a restart; systemd makes it for the service."""
LEAST_MTU: Final = 576
"""What every IPv4 host must take (RFC 791); IPv6 in the tunnel needs 1280 (RFC 8200)."""
_FINGERPRINT: Final = 8


class Mode(Enum):
    """Which end of the bond this machine is."""

    CLIENT = "client"
    SERVER = "server"


class WanType(Enum):
    """Kinds of lines, as the reference names them."""

    ADSL = "adsl"
    VDSL = "vdsl"
    FIBER = "fiber"
    STARLINK = "starlink"
    SATELLITE = "satellite"
    LTE = "lte"
    FIVE_G = "5g"
    CABLE = "cable"
    OTHER = "other"


class CipherWish(Enum):
    """What packets are to be encrypted with."""

    AUTO = "auto"
    AES_256_GCM = "aes_256_gcm"
    CHACHA20_POLY1305 = "chacha20_poly1305"


class OnFailure(Enum):
    """What becomes of traffic for the tunnel while the tunnel leads nowhere."""

    DIRECT = "direct"
    BLOCK = "block"


class Offload(Enum):
    """Whether the kernel may be given, and give us, many packets in one system call."""

    AUTO = "auto"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session(ReorderSettings):
    """Where the two ends meet, and how packets are put back in order."""

    local_endpoint: Address = option(
        Address("0.0.0.0", 9000),
        notation=LISTEN_ADDRESS,
        doc="Address and UDP port a server listens on; [::]:9000 takes IPv6 and IPv4. A client "
        "does not use it: it sends from each WAN's own address, from a port the kernel picks.",
    )
    remote_endpoint: HostPort | None = option(
        None,
        notation=HOST_PORT,
        reload=Reload.LIVE,
        default_doc="none; a client needs it",
        doc="Host and UDP port of the server. On the server itself: by which its clients reach it, "
        "for mwb invite; it may be left out where the server has a public address.",
    )
    multicast_enabled: bool = option(
        False,
        doc="True carries multicast, IPv4 and IPv6, between the hosts behind both ends, and from "
        "the server to all its clients that want it. Only groups that somebody has joined at the "
        "other end cross the bond. Set it at both ends.",
    )
    multicast_interfaces: tuple[str, ...] | None = option(
        None,
        notation=INTERFACE_NAME,
        default_doc="all with an address and no default route that are no WAN",
        doc="Interfaces whose hosts send and receive multicast; [] are only the programs of this "
        "machine.",
    )
    duplicate_packets: bool = option(
        False,
        reload=Reload.LIVE,
        doc="True sends every packet by more than one WAN, and delivers what arrives first. Calls "
        "and games lose nothing and do not stutter when a WAN fails; downloads get about what one "
        "WAN carries. Without it, urgent packets are still duplicated while their WAN is "
        "unsteady. Each end decides for what it sends.",
    )
    duplicate_mode: DuplicateMode = option(
        DuplicateMode.FASTEST,
        reload=Reload.LIVE,
        doc="By which other WANs: first takes all of them; fastest the one that delivers soonest; "
        "best the one that loses least, and of equal ones the quickest.",
    )

    compression: Compression = option(
        Compression.NONE,
        reload=Reload.LIVE,
        doc="zstd makes packets smaller before they are encrypted: for thin lines that carry text. "
        "What is encrypted or packed already does not shrink, and is soon left alone. Each end "
        "decides for what it sends.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wan(MeteredWan):
    """One uplink of a client."""

    name: str = option(
        "",
        notation=NAME,
        reload=Reload.LIVE,
        default_doc="the interface, or the number",
        doc="What people call this WAN; unique in the file.",
    )
    type: WanType = option(
        WanType.OTHER,
        reload=Reload.LIVE,
        doc="What kind of line it is. A label for people: MultiWANBond measures what a line can "
        "do and treats all kinds alike.",
    )
    interface: str | None = option(
        None,
        notation=WAN_INTERFACE,
        reload=Reload.LIVE,
        default_doc="the one that has local_addr",
        doc="Network interface the WAN leaves by: its name, or, where names change with the USB "
        "port, a pattern of the name (enx*), of the MAC address (mac:0c:5b:8f:*) or of the "
        "driver (driver:cdc_ether). Of several that fit, the first that is plugged in.",
    )
    local_addr: IpAddress | None = option(
        None,
        notation=IP_ADDRESS,
        reload=Reload.LIVE,
        default_doc="the interface's own",
        doc="Address of this machine to send from. Give interface, local_addr, or both.",
    )
    remote_addr: HostPort | None = option(
        None,
        notation=HOST_PORT,
        reload=Reload.LIVE,
        default_doc="session.remote_endpoint",
        doc="Host and port of the server as seen from this WAN.",
    )
    gso: Offload = option(
        Offload.AUTO,
        reload=Reload.LIVE,
        doc="auto hands the kernel runs of datagrams where the interface can split them, and "
        "stops by itself where that fails; off never does, which costs CPU time.",
    )

    @property
    def label(self) -> str:
        """What to call the WAN in front of people."""
        return self.name or self.interface or f"WAN {self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """How packets are shared among the WANs."""

    mode: RoutingMode = option(
        RoutingMode.ADAPTIVE,
        reload=Reload.LIVE,
        doc="adaptive gives a download all WANs together, and anything shorter the one that "
        "delivers it soonest (recommended); per_flow keeps each connection on one WAN for good; "
        "least_latency uses the quickest WAN alone and keeps the others in reserve; weighted "
        "shares packets out by bandwidth, latency, loss and weight; least_used gives each packet "
        "to the WAN with most room left; round_robin takes turns packet by packet, for equal "
        "lines. Each end decides for what it sends: set the server's mode, too.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """The network interface that the bond appears as."""

    name: str = option(
        "mwb0",
        notation=INTERFACE_NAME,
        doc="Name of the tunnel interface. Several bonds on one machine need different ones.",
    )
    address: tuple[InterfaceAddress, ...] = option(
        tuple,
        notation=INTERFACE_ADDRESS,
        default_doc="none; needed to run",
        doc="This end's addresses inside the tunnel, IPv4 and IPv6, with their prefix lengths.",
    )
    routes: tuple[Prefix, ...] | None = option(
        None,
        notation=PREFIX,
        reload=Reload.LIVE,
        default_doc="the peers' allowed_ips",
        doc="Destinations reached through the tunnel; 0.0.0.0/0 and ::/0 together are everything. "
        "[] sets no route.",
    )
    dns: tuple[IpAddress, ...] = option(
        tuple,
        notation=IP_ADDRESS,
        reload=Reload.LIVE,
        default_doc="those the machine asks anyway",
        doc="Name servers to ask while the bond is connected; best with addresses that are "
        "reached through the tunnel. Set by systemd-resolved, by resolvconf, or in "
        "/etc/resolv.conf, and put back afterwards.",
    )
    on_failure: OnFailure = option(
        OnFailure.DIRECT,
        doc="What happens to everything a client sends by default while the server cannot be "
        "reached: direct lets it leave by the WANs after five seconds, and come back to the "
        "tunnel as soon as that works; block refuses it, IPv4, IPv6 and DNS, also that of hosts "
        "behind the client, and also after the daemon was killed, until it is back or mwb down.",
    )
    mtu: int | None = option(
        None,
        notation=MTU,
        low=LEAST_MTU,
        high=65535,
        default_doc="auto",
        doc="Largest packet inside the tunnel; auto takes what fits through the WANs' interfaces.",
    )
    offload: Offload = option(
        Offload.AUTO,
        doc="auto exchanges whole runs of packets with the kernel as far as it knows how; off "
        "takes them one by one, which costs several times the CPU and helps only against a kernel "
        "that garbles them.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A far end that may talk to us: a client's server, or one of a server's clients."""

    name: str = option(
        "",
        notation=NAME,
        reload=Reload.LIVE,
        default_doc="the key's first 8 characters",
        doc="What people call this peer; unique in the file.",
    )
    public_key: bytes = option(
        notation=KEY,
        reload=Reload.LIVE,
        doc='The peer\'s public key: what "mwb pubkey" prints there.',
    )
    endpoint: HostPort | None = option(
        None,
        notation=HOST_PORT,
        reload=Reload.LIVE,
        default_doc="session.remote_endpoint",
        doc="On a client with several servers, host and UDP port of this one. The first in the "
        "list that answers is used: another after ten seconds without an answer, and the earlier "
        "one again once it has been well for a minute.",
    )
    preshared_key: bytes | None = option(
        None,
        notation=KEY,
        reload=Reload.LIVE,
        is_secret=True,
        default_doc="none",
        doc="A further secret, the same at both ends (mwb genpsk), which keeps what is recorded "
        "today safe from quantum computers to come.",
    )
    preshared_key_file: Path | None = option(
        None,
        notation=FILE,
        reload=Reload.LIVE,
        default_doc="none",
        doc="File that holds preshared_key; only its owner may be able to read it.",
    )
    allowed_ips: tuple[Prefix, ...] = option(
        tuple,
        notation=PREFIX,
        reload=Reload.LIVE,
        default_doc="none; needed to run",
        doc="Addresses behind this peer: packets to them go to it, and only packets from them are "
        "accepted from it.",
    )

    @property
    def label(self) -> str:
        """What to call the peer in front of people."""
        return self.name or encode_key(self.public_key)[:_FINGERPRINT]


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """Who we are and whom we talk to."""

    private_key: bytes | None = option(
        None,
        notation=KEY,
        is_secret=True,
        default_doc="none; it or private_key_file is needed to run",
        doc="This end's private key (mwb keygen). private_key_file keeps it out of this file.",
    )
    private_key_file: Path | None = option(
        None,
        notation=FILE,
        # Only where the key stands; private_key itself, wherever it is read from, takes a restart.
        reload=Reload.LIVE,
        default_doc="none",
        doc="File that holds private_key; only its owner may be able to read it. A relative name "
        "starts at this file's directory.",
    )
    cipher: CipherWish = option(
        CipherWish.AUTO,
        reload=Reload.LIVE,
        doc="auto takes what costs both ends together the least processor time, as each measures "
        "at its start. Any other is taken unless the other end asks for a different one.",
    )
    peers: tuple[Peer, ...] = option(
        tuple,
        reload=Reload.LIVE,
        identity="public_key",
        is_ranked=True,
        default_doc="none; needed to run",
        doc="The far ends: a server's clients; on a client its server, or several servers in the "
        "order in which to use them.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """How commands reach the running daemon, and what it writes."""

    socket: Path | None = option(
        None,
        notation=SOCKET,
        default_doc=f"{RUN_DIRECTORY}/<tunnel.name>.sock",
        doc="Unix socket on which the daemon answers mwb status and mwb down.",
    )
    state_directory: Path = option(
        STATE_DIRECTORY,
        notation=FILE,
        doc="Where the daemon keeps what metered WANs have carried. Choose another where /var is "
        "lost with every boot, as on OpenWrt.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One file, valid in itself; `require_runnable` says whether a daemon can use it."""

    mode: Mode | None = option(
        None,
        default_doc="none; --mode gives it, too",
        doc="client on the machine with the WANs, server on the one with the good line.",
    )
    session: Session = option(Session, doc="Where the two ends meet, and the order of packets.")
    wans: tuple[Wan, ...] = option(
        tuple,
        reload=Reload.LIVE,
        identity="id",
        default_doc="every interface with a default route",
        doc="A client's uplinks. A server has none: its paths come with its clients.",
    )
    health: HealthSettings = option(
        HealthSettings,
        reload=Reload.LIVE,
        doc="Limits for paths that no entry of wans describes: all of a server's, and those of "
        "WANs that a client found by itself.",
    )
    routing: Routing = option(Routing, doc="How packets are shared among the WANs.")
    classes: tuple[Class, ...] = option(
        tuple,
        reload=Reload.LIVE,
        default_doc="none: everything is treated by what it sends",
        doc="Traffic to be treated in its own way. Each end has a list for what it sends.",
    )
    gateway: Gateway = option(
        Gateway, doc="What this machine does for the hosts behind it, or behind the other end."
    )
    bypass: Bypass = option(Bypass, doc="What stays out of the tunnel, though it leads everywhere.")
    fec: FecSettings = option(FecSettings, doc="Making up for losses without sending again.")
    tunnel: Tunnel = option(Tunnel, doc="The network interface that the bond appears as.")
    security: Security = option(Security, doc="Who we are and whom we talk to.")
    plugins: tuple[PluginEntry, ...] = option(
        tuple,
        reload=Reload.LIVE,
        default_doc="none",
        doc="What is to run beside the packets, or to look at them: filters, metrics, alerts.",
    )
    control: Control = option(
        Control, doc="How commands reach the running daemon, and what it writes."
    )
    origin: Origin = field(default_factory=Origin, compare=False, repr=False)
    """The file it came from, and where each key stands in it."""

    @property
    def control_socket(self) -> Path:
        """Where the daemon listens for commands; follows the tunnel's name unless it was set."""
        return self.control.socket or RUN_DIRECTORY / f"{self.tunnel.name}.sock"

    @property
    def routes(self) -> tuple[Prefix, ...]:
        """Destinations to route into the tunnel: those set, else the peers' allowed_ips.

        Less what the tunnel's own addresses already bring, for which the kernel makes a route.
        """
        if self.tunnel.routes is not None:
            return self.tunnel.routes
        connected = {address.network for address in self.tunnel.address}
        allowed = [prefix for peer in self.security.peers for prefix in peer.allowed_ips]
        return tuple(
            prefix
            for prefix in dict.fromkeys(allowed)
            if not any(is_within(prefix, network) for network in connected)
        )

    @property
    def quota_file(self) -> Path:
        """Where the counts of metered WANs are kept; several tunnels do not share them."""
        return self.control.state_directory / f"{self.tunnel.name}.quota.json"

    @property
    def servers(self) -> tuple["Configuration", ...]:
        """A client's configuration for each of its servers, with that one as its only peer."""
        return tuple(
            replace(
                self,
                session=replace(
                    self.session, remote_endpoint=peer.endpoint or self.session.remote_endpoint
                ),
                security=replace(self.security, peers=(peer,)),
            )
            for peer in self.security.peers
        )

    def remote_of(self, wan: Wan) -> HostPort | None:
        """Return where `wan` sends to; None only where `require_runnable` would complain.

        Of several servers, each of `servers` has its own.
        """
        return wan.remote_addr or self.session.remote_endpoint


def is_within(inner: Prefix, outer: Prefix) -> bool:
    """Say whether all of `inner` lies in `outer`; never across the IP versions."""
    return (
        inner.version == outer.version
        and outer.prefixlen <= inner.prefixlen
        and inner.network_address in outer
    )
