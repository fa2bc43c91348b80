"""Addresses in the tunnel that no client has yet."""

from collections.abc import Sequence
from ipaddress import ip_interface

from multiwanbond.core.settings import Prefix
from multiwanbond.units import NotationError

from .model import Configuration
from .notations import InterfaceAddress, IpAddress


def free_addresses(configuration: Configuration) -> tuple[InterfaceAddress, ...]:
    """Return an address for another client in each of the tunnel's networks, the lowest free one.

    A network that has none left is missing from the result.
    """
    found = []
    taken = _taken(configuration)
    for own in configuration.tunnel.address:
        host = _free(own, taken)
        if host is not None:
            found.append(ip_interface(f"{host}/{own.network.prefixlen}"))
    return tuple(found)


def claimed_addresses(
    configuration: Configuration, hosts: Sequence[IpAddress]
) -> tuple[InterfaceAddress, ...]:
    """Return these addresses with the prefix lengths of their networks.

    Raises:
        NotationError: one is in no network of the tunnel, or somebody has it.
    """
    found = []
    for host in hosts:
        own = next((own for own in configuration.tunnel.address if host in own.network), None)
        if own is None:
            networks = ", ".join(str(own.network) for own in configuration.tunnel.address)
            problem = f"{host} is in no network of the tunnel"
            raise NotationError(problem, f"Choose an address in {networks}")
        if host == own.ip or any(host in prefix for prefix in _taken(configuration)):
            raise NotationError(f"{host} is taken", 'Choose another: "mwb clients" lists them')
        found.append(ip_interface(f"{host}/{own.network.prefixlen}"))
    return tuple(found)


def _taken(configuration: Configuration) -> list[Prefix]:
    """Return what clients have; a default route behind one takes no address from the others."""
    return [
        prefix
        for peer in configuration.security.peers
        for prefix in peer.allowed_ips
        if prefix.prefixlen
    ]


def _free(own: InterfaceAddress, taken: list[Prefix]) -> IpAddress | None:
    network = own.network
    # The network's own address, and with IPv4 its last one, mean something else (RFC 919, 4291).
    last = int(network.broadcast_address) - (1 if network.version == 4 else 0)
    number = int(network.network_address) + 1
    blocks = sorted(
        (int(each.network_address), int(each.broadcast_address))
        for each in taken
        if each.version == network.version and not network.subnet_of(each)  # type: ignore[arg-type]  # same version
    )
    for low, high in sorted([*blocks, (int(own.ip), int(own.ip))]):
        if low <= number <= high:
            number = high + 1
    return (
        network.network_address + (number - int(network.network_address))
        if number <= last
        else None
    )
