"""Two real endpoints joined by WANs that take time and may be slow, under a virtual clock."""

from collections.abc import Callable
from heapq import heappop, heappush
from ipaddress import ip_network
from math import inf
from random import Random

from multiwanbond.core.burst import Burst
from multiwanbond.core.datagram import Address, LinkUp, Received, Transmit
from multiwanbond.core.endpoint import Endpoint
from multiwanbond.core.events import Event
from multiwanbond.core.handshake import public_key_of
from multiwanbond.core.settings import (
    CipherCosts,
    EndpointSettings,
    HealthSettings,
    PeerSettings,
    ReorderSettings,
    RoutingMode,
    WanSettings,
)

SERVER = Address("198.51.100.1", 9000)
CLIENT_IP = bytes([10, 77, 0, 2])
SERVER_IP = bytes([10, 77, 0, 1])
CLIENT_KEY = bytes([1]) * 32
SERVER_KEY = bytes([2]) * 32
PSK = bytes([3]) * 32


def udp_packet(payload: bytes, *, source: bytes = CLIENT_IP, target: bytes = SERVER_IP) -> bytes:
    """An IPv4 UDP packet; its checksum says "none"."""
    udp = bytes([0x30, 0x39, 0x00, 0x35]) + (8 + len(payload)).to_bytes(2, "big") + bytes(2)
    length = (28 + len(payload)).to_bytes(2, "big")
    head = b"\x45\x00" + length + b"\x00\x00\x40\x00\x40\x11\x00\x00"
    return head + source + target + udp + payload


def settings(
    *,
    is_client: bool,
    wan_count: int = 3,
    mode: RoutingMode = RoutingMode.ADAPTIVE,
    own_key: bytes | None = None,
    psk: bytes = PSK,
    peer_name: str | None = None,
) -> EndpointSettings:
    """A client's or a server's settings as the configuration would make them."""
    own = own_key or (CLIENT_KEY if is_client else SERVER_KEY)
    peer_key = SERVER_KEY if is_client else CLIENT_KEY
    allowed = "0.0.0.0/0" if is_client else "10.77.0.2/32"
    peer = PeerSettings(
        name=peer_name or ("server" if is_client else "client"),
        public_key=public_key_of(peer_key),
        preshared_key=psk,
        allowed_ips=(ip_network(allowed),),
        is_initiator=is_client,
    )
    return EndpointSettings(
        private_key=own,
        peers=(peer,),
        wans=tuple(WanSettings(id=n + 1) for n in range(wan_count)) if is_client else (),
        health=HealthSettings(),
        reorder=ReorderSettings(),
        routing_mode=mode,
        inner_mtu=1440 if is_client else 1420,
        cipher_costs=CipherCosts(aes_gcm_ns=1300, chacha20_ns=2000),
    )


class Pair:
    """A client with several WANs and a server with one address.

    `drop` decides what the network swallows: (from the client?, wan id, datagram) -> True.
    """

    def __init__(
        self,
        *,
        delays: tuple[float, ...] = (0.005, 0.020, 0.0125),
        rates: tuple[float, ...] | None = None,
        mode: RoutingMode = RoutingMode.ADAPTIVE,
        server: EndpointSettings | None = None,
        client: EndpointSettings | None = None,
    ) -> None:
        self.random = Random(7)
        self.now = 1000.0
        self.delays = delays
        self.rates = rates or (inf,) * len(delays)
        """Bytes a second of each WAN, either way; the queue before it has no end."""
        self.drop: Callable[[bool, int, bytes], bool] = lambda _up, _wan, _data: False
        self.sources = {n + 1: Address(f"203.0.113.{n + 1}", 40000) for n in range(len(delays))}
        self.log: list[tuple[bool, int, bytes]] = []
        """Every datagram put on the network: (from the client?, wan id, bytes)."""
        self.events: dict[str, list[Event]] = {"client": [], "server": []}
        self.delivered: dict[str, list[Burst]] = {"client": [], "server": []}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0
        self._free_at: dict[tuple[bool, int], float] = {}
        client = client or settings(is_client=True, wan_count=len(delays), mode=mode)
        server = server or settings(is_client=False, mode=mode)
        self.client = Endpoint(client, entropy=self.random.randbytes, now=self.now)
        self.server = Endpoint(server, entropy=self.random.randbytes, now=self.now)

    def connect(self) -> None:
        """Bring all WANs up and let the handshake and the first probes happen."""
        for wan_id in self.sources:
            self.client.handle_link_change(wan_id, LinkUp(remote=SERVER), self.now)
        self._poll(self.client)
        self.run(0.5)

    def run(self, seconds: float) -> None:
        """Let this much virtual time pass."""
        end = self.now + seconds
        for _ in range(1_000_000):
            due = [at for e in (self.client, self.server) if (at := e.poll_timeout()) is not None]
            if self._queue:
                due.append(self._queue[0][0])
            if not due or min(due) > end:
                self.now = end
                return
            self.now = max(self.now, min(due))
            while self._queue and self._queue[0][0] <= self.now:
                heappop(self._queue)[2]()
            for endpoint in (self.client, self.server):
                at = endpoint.poll_timeout()
                if at is not None and at <= self.now:
                    endpoint.handle_timeout(self.now)
                    self._poll(endpoint)
        raise AssertionError("livelock: a million steps")

    def send(self, *packets: bytes, from_client: bool = True) -> None:
        """Hand inner packets to one end."""
        endpoint = self.client if from_client else self.server
        endpoint.handle_bursts([Burst(packet) for packet in packets], self.now)
        self._poll(endpoint)

    def inject(
        self, data: bytes, *, to_server: bool = True, source: Address | None = None, size: int = 0
    ) -> None:
        """Let one end receive a datagram now, or by one read a run of datagrams of `size` bytes."""
        endpoint = self.server if to_server else self.client
        origin = source or (self.sources[1] if to_server else SERVER)
        read = Received(data, origin, segment_size=size)
        endpoint.handle_datagrams(0 if to_server else 1, [read], self.now)
        self._poll(endpoint)

    def received(self, end: str) -> list[bytes]:
        """Inner packets delivered at one end, taken away."""
        bursts, self.delivered[end] = self.delivered[end], []
        return [bytes(burst.packet) for burst in bursts]

    def poll(self) -> None:
        """Do what both ends ask for."""
        self._poll(self.client)
        self._poll(self.server)

    def _poll(self, endpoint: Endpoint) -> None:
        is_client = endpoint is self.client
        end = "client" if is_client else "server"
        for transmit in endpoint.poll_transmit():
            self._carry(transmit, is_client=is_client)
        self.delivered[end] += endpoint.poll_deliver()
        while (event := endpoint.poll_event()) is not None:
            self.events[end].append(event)

    def _carry(self, transmit: Transmit, *, is_client: bool) -> None:
        if is_client:
            wan_id = transmit.wan_id
        else:
            wan_id = next(
                (w for w, address in self.sources.items() if address == transmit.destination), 0
            )
        data = bytes(transmit.data)
        size = transmit.segment_size or len(data)
        survivors = []
        for start in range(0, len(data), size):
            datagram = data[start : start + size]
            self.log.append((is_client, wan_id, datagram))
            if wan_id and not self.drop(is_client, wan_id, datagram):
                survivors.append(datagram)
        if survivors:
            self._deliver_later(survivors, wan_id, is_client=is_client)

    def _deliver_later(self, datagrams: list[bytes], wan_id: int, *, is_client: bool) -> None:
        rate = self.rates[wan_id - 1]
        if rate == inf:
            self._deliver_at(self.now, datagrams, wan_id, is_client=is_client)
            return
        for datagram in datagrams:
            free_at = max(self._free_at.get((is_client, wan_id), self.now), self.now)
            free_at += len(datagram) / rate
            self._free_at[is_client, wan_id] = free_at
            self._deliver_at(free_at, [datagram], wan_id, is_client=is_client)

    def _deliver_at(
        self, left_at: float, datagrams: list[bytes], wan_id: int, *, is_client: bool
    ) -> None:
        source = self.sources[wan_id] if is_client else SERVER

        def arrive() -> None:
            receiver = self.server if is_client else self.client
            received = [Received(datagram, source) for datagram in datagrams]
            receiver.handle_datagrams(0 if is_client else wan_id, received, self.now)
            self._poll(receiver)

        self._serial += 1
        heappush(self._queue, (left_at + self.delays[wan_id - 1], self._serial, arrive))
