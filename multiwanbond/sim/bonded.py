"""Real endpoints in a simulated world: one server, any number of clients, WANs of a scenario."""

from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Final

from multiwanbond.core.datagram import Address
from multiwanbond.core.endpoint import Endpoint
from multiwanbond.core.handshake import public_key_of
from multiwanbond.core.path_state import PathState
from multiwanbond.core.settings import (
    CipherCosts,
    EndpointSettings,
    HealthSettings,
    PeerSettings,
    Prefix,
    ReorderSettings,
    RoutingMode,
    WanSettings,
)
from multiwanbond.core.statistics import EndpointStatistics, PathStatistics

from .congestion import Controller, Cubic
from .host import Host
from .network import Network, Uplink, WanLinks
from .quic import PORT, PacedCubic, QuicTransfer
from .scenarios import SCENARIOS
from .tcp import Transfer
from .traffic import Questions, Stream
from .world import World

SERVER: Final = Address("198.51.100.1", 9000)
SERVER_INNER: Final = ("10.77.0.1", "fd77::1")
SERVER_KEY: Final = bytes([200]) * 32
THREE_UNEQUAL: Final = SCENARIOS["three_unequal"].wans
INNER_MTU: Final = 1440


class Client:
    """One client: its host, its WANs, and the traffic between it and the server."""

    def __init__(self, bonded: "Bonded", number: int, wans: tuple[WanLinks, ...]) -> None:
        self.bonded = bonded
        self.inner = (f"10.77.0.{number + 1}", f"fd77::{number + 1}")
        self.wan_count = len(wans)
        self.number = number
        self.host: Host = bonded.network.add_client(
            f"client {number}", self.new_endpoint(), inner_hosts=self.inner
        )
        self.uplinks: list[Uplink] = [
            bonded.network.add_uplink(
                self.host,
                wan_id,
                wan,
                public=Address(f"203.0.113.{10 * number + wan_id}", 40_000),
                remote=SERVER,
            )
            for wan_id, wan in enumerate(wans, start=1)
        ]
        self._ports = 20_000
        self._has_quic = False
        """Our servers tell flows apart by their own port only, so one flow has the usual one."""

    def new_endpoint(self) -> Endpoint:
        """Return an endpoint that knows nothing of an earlier one."""
        server = PeerSettings(
            name="server",
            public_key=public_key_of(SERVER_KEY),
            preshared_key=bytes(32),
            allowed_ips=_both(SERVER_INNER),
            is_initiator=True,
        )
        settings = _settings(
            client_key(self.number),
            (server,),
            tuple(WanSettings(id=number + 1) for number in range(self.wan_count)),
            self.bonded.mode,
        )
        return self.bonded.new_endpoint(settings)

    def connect(self) -> None:
        """Tell the endpoint that all WANs have a link, and let nothing happen yet."""
        for uplink in self.uplinks:
            uplink.connect()

    def restart(self) -> None:
        """Come back as a new process on the same machine."""
        self.host.start(self.new_endpoint())
        self.connect()

    @property
    def is_connected(self) -> bool:
        """True when both ends say so."""
        server = self.bonded.server_statistics.peers[self.number - 1]
        return self.statistics.peers[0].is_connected and server.is_connected

    @property
    def statistics(self) -> EndpointStatistics:
        """What the client counts."""
        return statistics_of(self.host)

    def path(self, wan_id: int) -> PathStatistics:
        """Return what the client counts on one WAN."""
        paths = self.statistics.peers[0].paths
        return next(path for path in paths if path.path_id == wan_id)

    def state(self, wan_id: int) -> PathState:
        """Return what the client thinks of one WAN."""
        return self.path(wan_id).state

    def transfer(
        self,
        size: int | None = None,
        *,
        is_upload: bool = False,
        is_ipv6: bool = False,
        controller: Callable[[], Controller] = Cubic,
    ) -> Transfer:
        """Start a TCP transfer from the server to this client, or the other way."""
        near, far = self._ends(is_ipv6=is_ipv6)
        hosts, ends = (self.bonded.server, self.host), (far, near)
        if is_upload:
            hosts, ends = hosts[::-1], ends[::-1]
        transfer = Transfer(
            *hosts,
            source=ends[0],
            destination=ends[1],
            size=size,
            mtu=INNER_MTU,
            is_upload=is_upload,
            controller=controller,
        )
        transfer.start()
        return transfer

    def quic_transfer(
        self,
        size: int | None = None,
        *,
        is_upload: bool = False,
        controller: Callable[[], Controller] = PacedCubic,
    ) -> QuicTransfer:
        """Start a QUIC transfer from the server to this client, or the other way."""
        near, far = self._ends(is_ipv6=False)
        if not self._has_quic:
            far = far._replace(port=PORT)
            self._has_quic = True
        hosts, ends = (self.bonded.server, self.host), (far, near)
        if is_upload:
            hosts, ends = hosts[::-1], ends[::-1]
        transfer = QuicTransfer(
            *hosts,
            source=ends[0],
            destination=ends[1],
            size=size,
            is_upload=is_upload,
            controller=controller,
        )
        transfer.start()
        return transfer

    def stream(
        self,
        seconds: float,
        *,
        size: int = 200,
        interval: float = 0.01,
        is_upload: bool = False,
        is_ipv6: bool = False,
    ) -> Stream:
        """Start UDP packets from the server to this client, or the other way."""
        near, far = self._ends(is_ipv6=is_ipv6)
        hosts, ends = (self.bonded.server, self.host), (far, near)
        if is_upload:
            hosts, ends = hosts[::-1], ends[::-1]
        stream = Stream(*hosts, source=ends[0], destination=ends[1], size=size, interval=interval)
        stream.start(seconds)
        return stream

    def questions(self, count: int, interval: float = 0.05) -> Questions:
        """Start asking the server."""
        near, far = self._ends(is_ipv6=False)
        questions = Questions(
            self.host, self.bonded.server, source=near, destination=far, interval=interval
        )
        questions.start(count)
        return questions

    def _ends(self, *, is_ipv6: bool) -> tuple[Address, Address]:
        """Return inner addresses here and at the server with ports nobody uses yet."""
        self._ports += 1
        port = self._ports
        return (
            Address(self.inner[is_ipv6], port),
            Address(SERVER_INNER[is_ipv6], port + 10_000 + 1000 * self.number),
        )


Adjust = Callable[[EndpointSettings], EndpointSettings]
"""Changes what the two ends of a world are told."""


class Bonded:
    """A server and its clients, all in one world."""

    def __init__(
        self,
        seed: int,
        *,
        wans: tuple[WanLinks, ...] = THREE_UNEQUAL,
        mode: RoutingMode = RoutingMode.ADAPTIVE,
        clients: int = 1,
        adjust: Adjust = lambda settings: settings,
    ) -> None:
        self.world = World(seed)
        self.network = Network(self.world)
        self.mode = mode
        self._adjust = adjust
        self._entropy = self.world.rng("entropy").randbytes
        self._client_count = clients
        self.server: Host = self.network.add_server(
            "server", self.new_server_endpoint(), [SERVER], inner_hosts=SERVER_INNER
        )
        self.clients = [Client(self, number + 1, wans) for number in range(clients)]
        self.client = self.clients[0]

    def new_endpoint(self, settings: EndpointSettings) -> Endpoint:
        """Return an endpoint of this world."""
        return Endpoint(self._adjust(settings), entropy=self._entropy, now=self.world.now)

    def new_server_endpoint(self) -> Endpoint:
        """Return a server that knows its clients' keys and nothing else."""
        peers = tuple(
            PeerSettings(
                name=f"client {number}",
                public_key=public_key_of(client_key(number)),
                preshared_key=bytes(32),
                allowed_ips=_both((f"10.77.0.{number + 1}", f"fd77::{number + 1}")),
                is_initiator=False,
            )
            for number in range(1, self._client_count + 1)
        )
        return self.new_endpoint(_settings(SERVER_KEY, peers, (), self.mode))

    def connect(self) -> None:
        """Connect all clients and wait until they are."""
        for client in self.clients:
            client.connect()
        self.world.run_until(lambda: all(c.is_connected for c in self.clients), within=5.0)
        self.world.run_for(0.5)  # until every path has been probed

    @property
    def server_statistics(self) -> EndpointStatistics:
        """What the server counts."""
        return statistics_of(self.server)


def client_key(number: int) -> bytes:
    """Return the private key of a client."""
    return bytes([number]) * 32


def statistics_of(host: Host) -> EndpointStatistics:
    """Return what the endpoint of a host counts."""
    assert isinstance(host.engine, Endpoint)
    return host.engine.statistics()


def _both(hosts: tuple[str, str]) -> tuple[Prefix, ...]:
    return tuple(ip_network(ip_address(host)) for host in hosts)


def _settings(
    key: bytes,
    peers: tuple[PeerSettings, ...],
    wans: tuple[WanSettings, ...],
    mode: RoutingMode,
) -> EndpointSettings:
    return EndpointSettings(
        private_key=key,
        peers=peers,
        wans=wans,
        health=HealthSettings(),
        reorder=ReorderSettings(),
        routing_mode=mode,
        inner_mtu=INNER_MTU,
        cipher_costs=CipherCosts(aes_gcm_ns=1300, chacha20_ns=2000),
    )
