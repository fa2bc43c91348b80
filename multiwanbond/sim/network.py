"""The outside: servers with addresses, clients behind NATs, and the WANs between them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from multiwanbond.core.datagram import Address, LinkDown, LinkUp, Transmit

from .host import Arrival, Engine, Host
from .links import LinkSettings
from .wires import Tamper, Wire
from .world import World

SERVER_SOCKET: Final = 0
"""`wan_id` of a server's one listening socket."""


class Datagram(NamedTuple):
    """What travels on a WAN."""

    source: Address
    destination: Address
    data: bytes


class WanLinks(NamedTuple):
    """Both directions of a WAN, seen from the client."""

    up: LinkSettings
    down: LinkSettings


def ip_size(datagram: Datagram) -> int:
    """Return how big the IP packet around a datagram is."""
    return len(datagram.data) + (48 if ":" in datagram.source.host else 28)


class Uplink:
    """One WAN of one client: a pair of wires behind a public address."""

    def __init__(
        self,
        network: "Network",
        client: Host,
        wan_id: int,
        wan: WanLinks,
        *,
        public: Address,
        remote: Address,
    ) -> None:
        self._network = network
        self._world = network.world
        self.client: Final = client
        self.wan_id: Final = wan_id
        self.public = public
        """Where the server sees this WAN come from (its NAT's address and port)."""
        self.remote: Final = remote
        """The server's address that this WAN leads to."""
        self.tamper_up: Tamper | None = None
        self.tamper_down: Tamper | None = None
        name = f"{client.name} wan {wan_id}"
        rng = self._world.rng
        self.up: Final = Wire[Datagram](
            self._world, wan.up, rng(f"{name} up"), network.arrive_at_server
        )
        self.down: Final = Wire[Datagram](
            self._world, wan.down, rng(f"{name} down"), self._arrive_at_client
        )

    def connect(self) -> None:
        """Tell the client that the WAN has a link."""
        self.client.change_link(self.wan_id, LinkUp(remote=self.remote))

    def disconnect(self, reason: str = "the carrier is gone") -> None:
        """Tell the client that the WAN has no link."""
        self.client.change_link(self.wan_id, LinkDown(reason=reason))

    def change(self, **changes: Any) -> None:
        """Replace link settings of both directions."""
        self.up.change(**changes)
        self.down.change(**changes)

    def black_out(self) -> None:
        """Swallow everything from now on, silently."""
        self.change(is_black=True)

    def restore(self) -> None:
        """Carry packets again, after a black-out or a freeze."""
        self.change(is_black=False, is_frozen=False)

    def freeze(self) -> None:
        """Hold everything until `restore`."""
        self.change(is_frozen=True)

    def rebind(self, public: Address) -> None:
        """Show another public address from now on; what is sent to the old one is lost."""
        self._network.move(self, public)

    def send_up(self, datagram: Datagram) -> None:
        """Put a datagram of the client on the WAN."""
        self._send(self.up, self.tamper_up, datagram)

    def send_down(self, datagram: Datagram) -> None:
        """Put a datagram for the client on the WAN."""
        self._send(self.down, self.tamper_down, datagram)

    def _send(self, wire: Wire[Datagram], tamper: Tamper | None, datagram: Datagram) -> None:
        if tamper is None:
            wire.send(datagram, ip_size(datagram))
            return
        for data, after in tamper(datagram.data):
            altered = datagram._replace(data=data)
            if after:
                self._world.call_in(after, lambda late=altered: wire.send(late, ip_size(late)))  # type: ignore[misc]  # mypy cannot type a lambda's default
            else:
                wire.send(altered, ip_size(altered))

    def _arrive_at_client(self, datagram: Datagram) -> None:
        if datagram.destination != self.public:
            self._network.lost["stale address"] += 1
            return
        # Behind the NAT the client sees an address of its own; which one it is does not matter.
        self.client.receive(
            Arrival(self.wan_id, datagram.data, datagram.source, datagram.destination.host)
        )


class Network:
    """All hosts of a simulation and the WANs that join them."""

    def __init__(self, world: World) -> None:
        self.world: Final = world
        self.lost: Final[Counter[str]] = Counter()
        """Datagrams that had nowhere to go, by reason; links count their own losses."""
        self._servers: dict[Address, Host] = {}
        self._uplinks: dict[Address, Uplink] = {}
        self._wans: dict[tuple[str, int], Uplink] = {}

    def add_server(
        self,
        name: str,
        engine: Engine,
        addresses: Sequence[Address],
        *,
        inner_hosts: Sequence[str],
        coalesce: float = 0.0,
    ) -> Host:
        """Return a host that is reached at `addresses` through the clients' WANs."""
        host = Host(
            self.world,
            name,
            engine,
            inner_hosts=inner_hosts,
            send=lambda transmit: self._send_from_server(transmit, addresses[0]),
            coalesce=coalesce,
        )
        self._servers.update(dict.fromkeys(addresses, host))
        return host

    def add_client(
        self, name: str, engine: Engine, *, inner_hosts: Sequence[str], coalesce: float = 0.0
    ) -> Host:
        """Return a host without any WAN yet."""
        return Host(
            self.world,
            name,
            engine,
            inner_hosts=inner_hosts,
            send=lambda transmit: self._send_from_client(name, transmit),
            coalesce=coalesce,
        )

    def add_uplink(
        self, client: Host, wan_id: int, wan: WanLinks, *, public: Address, remote: Address
    ) -> Uplink:
        """Return a WAN between `client` and the server at `remote`; it is not connected yet."""
        uplink = Uplink(self, client, wan_id, wan, public=public, remote=remote)
        self._wans[client.name, wan_id] = uplink
        self._uplinks[public] = uplink
        return uplink

    def move(self, uplink: Uplink, public: Address) -> None:
        """Give a WAN another public address."""
        del self._uplinks[uplink.public]
        self._uplinks[public] = uplink
        uplink.public = public

    def inject(self, source: Address, destination: Address, data: bytes) -> None:
        """Let a datagram from anywhere reach a host at once, as an attacker can."""
        if destination in self._servers:
            self.arrive_at_server(Datagram(source, destination, data))
            return
        uplink = self._uplinks[destination]
        uplink.client.receive(Arrival(uplink.wan_id, data, source, destination.host))

    def arrive_at_server(self, datagram: Datagram) -> None:
        """Hand a datagram to the server it is addressed to."""
        host = self._servers.get(datagram.destination)
        if host is None:
            self.lost["no such server"] += 1
            return
        host.receive(
            Arrival(SERVER_SOCKET, datagram.data, datagram.source, datagram.destination.host)
        )

    def _send_from_client(self, name: str, transmit: Transmit) -> None:
        uplink = self._wans.get((name, transmit.wan_id))
        if uplink is None:
            self.lost["no such wan"] += 1
            return
        for data in datagrams_of(transmit):
            uplink.send_up(Datagram(uplink.public, transmit.destination, data))

    def _send_from_server(self, transmit: Transmit, default: Address) -> None:
        uplink = self._uplinks.get(transmit.destination)
        if uplink is None:
            self.lost["stale address"] += 1
            return
        source = Address(transmit.local_host or default.host, default.port)
        for data in datagrams_of(transmit):
            uplink.send_down(Datagram(source, transmit.destination, data))


def datagrams_of(transmit: Transmit) -> list[bytes]:
    """Return the datagrams of a transmit, copied: its buffer belongs to the core."""
    data, size = transmit.data, transmit.segment_size
    if not size:
        return [bytes(data)]
    return [bytes(data[start : start + size]) for start in range(0, len(data), size)]
