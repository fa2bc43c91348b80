"""Whether what is to be inside the tunnel is in the way of networks the machine is in.

Harmful is what takes somebody's way: of the machine's neighbours, whom the tunnel's network or a
route into it would take away, or of the tunnel's other end, which would be looked for among the
neighbours. A narrower network within a wider one is neither (10.0.0.0/8 into the tunnel, a WAN with
10.1.2.0/24): the more specific route wins. Default routes are never in the way: they have a table
of their own (see `routing`), and our sockets are bound to their WANs.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from multiwanbond.core.settings import Prefix
from multiwanbond.errors import PlatformError

from .kernel import HostAddress, Interface, Kernel

OTHER_ADDRESS: Final = "Choose another tunnel.address, at both ends."
_OTHER_ROUTE: Final = (
    "Take it out of tunnel.routes (without these: allowed_ips), or give the interface's network "
    "another range."
)


class OverlapError(PlatformError):
    """What the operator wants inside the tunnel is outside already."""

    exit_code = 78
    """It is the file that has to change, and trying again does not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """One network of the machine and one of the tunnel."""

    problem: str
    remedy: str
    is_harmful: bool
    """False: it works, and may yet surprise."""

    def refuse(self) -> None:
        """Raise OverlapError if it is harmful."""
        if self.is_harmful:
            raise OverlapError(self.problem, self.remedy)


class Surroundings:
    """The networks this machine is in beside the tunnel's, at one moment."""

    def __init__(self, kernel: Kernel, *, tunnel: str, interface: str | None = None) -> None:
        """Look at everything.

        Args:
            kernel: where to look.
            tunnel: whose own network does not count.
            interface: the only one that counts; None: all.
        """
        self._there = [
            there
            for there in kernel.addresses()
            if there.interface != tunnel
            and interface in (None, there.interface)
            and not there.address.is_link_local
        ]
        self._gateways: dict[str, list[str]] = defaultdict(list)
        for route in kernel.default_routes():
            if route.gateway is not None:
                self._gateways[route.interface].append(route.gateway)

    def in_the_way_of_all(
        self, addresses: Iterable[Interface], routes: Iterable[Prefix]
    ) -> Iterator[Overlap]:
        """Yield what overlaps with any of the tunnel's addresses and routes."""
        for address in addresses:
            yield from self.in_the_way_of(address)
        for route in routes:
            yield from self.in_the_way_of_route(route)

    def in_the_way_of(self, wanted: Interface) -> Iterator[Overlap]:
        """Yield what overlaps with an address of the tunnel and its network."""
        for there in self._there:
            network, own = there.address.network, wanted.network
            if wanted.version != there.address.version:
                continue
            where = f"{there.interface}, which has {there.address}"
            if wanted.ip == there.address.ip:
                problem = f"The tunnel address {wanted} is that of {there.interface} already."
                yield Overlap(problem=problem, remedy=OTHER_ADDRESS, is_harmful=True)
            elif self._takes_neighbours(own, there):
                problem = (
                    f"The tunnel address {wanted} is in the network {network} of {where}: its "
                    "neighbours would be looked for in the tunnel."
                )
                yield Overlap(problem=problem, remedy=OTHER_ADDRESS, is_harmful=True)
            elif own.prefixlen < network.prefixlen and wanted.ip in network:
                problem = (
                    f"The tunnel address {wanted} is in the network {network} of {where}: the "
                    "tunnel's other end would be looked for there."
                )
                yield Overlap(problem=problem, remedy=OTHER_ADDRESS, is_harmful=True)
            elif own.overlaps(network):
                problem = f"The tunnel's network {own} overlaps {network} of {where}."
                yield Overlap(problem=problem, remedy=OTHER_ADDRESS, is_harmful=False)

    def in_the_way_of_route(self, prefix: Prefix) -> Iterator[Overlap]:
        """Yield what a route into the tunnel would take away."""
        for there in self._there:
            network = there.address.network
            if prefix.version != network.version or not prefix.prefixlen:
                continue
            if self._takes_neighbours(prefix, there):
                problem = (
                    f"{prefix} is to be routed into the tunnel, and is in the network {network} of "
                    f"{there.interface}, which has {there.address}: its neighbours would be looked "
                    "for in the tunnel."
                )
                # A narrower one wins where everybody looks; some mean just that.
                is_same = prefix == network
                yield Overlap(problem=problem, remedy=_OTHER_ROUTE, is_harmful=is_same)

    def _takes_neighbours(self, taken: Prefix, there: HostAddress) -> bool:
        """True if a route to `taken` goes before that to the network, where its hosts are known.

        These are ourselves and the gateway: part of a large network may well be elsewhere.
        """
        network = there.address.network
        if network.prefixlen == network.max_prefixlen or taken.prefixlen < network.prefixlen:
            return False
        known = [str(there.address.ip), *self._gateways[there.interface]]
        return any(_is_in(host, taken) for host in known)


def _is_in(host: str, network: Prefix) -> bool:
    address = ip_address(host)
    return address.version == network.version and address in network
