"""Who is reached at which address inside the tunnel, and who is behind the address of a message."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import islice

from multiwanbond.config.notations import InterfaceAddress
from multiwanbond.core.datagram import Address
from multiwanbond.core.prefixes import PrefixMap
from multiwanbond.core.settings import PeerSettings
from multiwanbond.errors import MessageError

from .messages import IpAddress, parse_address


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a message goes."""

    peer: PeerSettings
    source: IpAddress
    """The address of ours that it comes from."""
    target: IpAddress
    port: int


class Directory:
    """Knows our addresses in the tunnel, and the peers'."""

    def __init__(
        self, addresses: Sequence[InterfaceAddress], peers: Sequence[PeerSettings], port: int
    ) -> None:
        """Take what the configuration says.

        Args:
            addresses: ours; at least one.
            peers: at least one.
            port: where messages go to unless their address says otherwise.
        """
        self._addresses = addresses
        self._peers = {peer.name: peer for peer in peers}
        self._port = port
        self._by_prefix = PrefixMap((prefix, peer) for peer in peers for prefix in peer.allowed_ips)
        self._own = {str(address.ip) for address in addresses}

    @property
    def peers(self) -> tuple[str, ...]:
        """The peers' names."""
        return tuple(self._peers)

    def peer(self, name: str | None) -> PeerSettings:
        """Return the peer of that name; None means the only one there is.

        Raises:
            MessageError: there is none of that name, or there are several.
        """
        known = ", ".join(self._peers)
        if name is None:
            if len(self._peers) > 1:
                raise MessageError(
                    "There are several peers.", f"Say to whom the message goes: {known}."
                )
            return next(iter(self._peers.values()))
        if name not in self._peers:
            raise MessageError(
                f"There is no peer {name!r}, nor is that an address.", f"The peers are: {known}."
            )
        return self._peers[name]

    def is_own(self, host: str) -> bool:
        """Say whether an address is one of ours."""
        return host in self._own

    def peer_at(self, host: str) -> PeerSettings | None:
        """Return the peer an address belongs to."""
        return self._by_prefix.lookup(ip_address(host).packed)

    def destination(self, to: str | Address | None) -> Destination:
        """Return where a message goes that is sent to a peer's name, an address, or nobody named.

        Raises:
            MessageError: that is nowhere, or not certain.
        """
        if isinstance(to, Address):
            return self._at(ip_address(to.host), to.port)
        address = None if to is None or to in self._peers else parse_address(to)
        if address is None:
            peer = self.peer(to)
            address = self._address_of(peer)
        return self._at(address, self._port)

    def _at(self, target: IpAddress, port: int) -> Destination:
        peer = self.peer_at(str(target))
        if peer is None:
            raise MessageError(
                f"The address {target} belongs to no peer.",
                "Send to one that a peer's allowed_ips hold, or add it there.",
            )
        for address in self._addresses:
            if address.version == target.version:
                return Destination(peer=peer, source=address.ip, target=target, port=port)
        raise MessageError(
            f"This end has no IPv{target.version} address to send to {target} from.",
            "Add one to tunnel.address.",
        )

    def _address_of(self, peer: PeerSettings) -> IpAddress:
        """Return the address of the peer itself, as far as the configuration tells."""
        versions = {address.version for address in self._addresses}
        for prefix in peer.allowed_ips:
            if prefix.num_addresses == 1 and prefix.version in versions:
                return prefix.network_address
        for address in self._addresses:
            found = self._first_beside(address)
            if found is not None and self.peer_at(str(found)) is peer:
                return found
        raise MessageError(
            f"The configuration does not say which address {peer.name} itself has.",
            "Send to its address: send(data, to='10.77.0.1').",
        )

    @staticmethod
    def _first_beside(own: InterfaceAddress) -> IpAddress | None:
        """Return the first host address of a network of ours that is not our own.

        The server's, by the custom that the examples follow.
        """
        hosts: Iterator[IpAddress] = iter(own.network.hosts())
        return next((host for host in islice(hosts, 2) if host != own.ip), None)
