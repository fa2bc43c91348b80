"""Which interfaces of this machine have hosts behind them: all but the tunnel and its WANs."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from .kernel import ROUTE_PROTOCOL, HostAddress, Kernel, Link


@dataclass(frozen=True, slots=True, kw_only=True)
class Lan:
    """An interface with hosts."""

    index: int
    name: str
    ipv4: bytes | None
    """Our address there; None if there is none."""
    ipv6: bytes | None
    """Our link-local address there."""

    def address(self, version: int) -> bytes | None:
        """Return our address that routers there know us by."""
        return self.ipv4 if version == 4 else self.ipv6


class LanFinder:
    """Tells LANs from WANs."""

    def __init__(
        self,
        kernel: Kernel,
        *,
        tunnel: str,
        names: Collection[str] | None,
        wans: Collection[str],
    ) -> None:
        """Look at nothing yet.

        Args:
            kernel: where to look.
            tunnel: the one interface that is never a LAN.
            names: the interfaces that are LANs; None: all that seem to be.
            wans: interfaces, or addresses on them, that are WANs by the operator's word.
        """
        self._kernel: Final = kernel
        self._tunnel: Final = tunnel
        self._names: Final = names
        self._wans: Final = wans

    def tunnel_index(self) -> int | None:
        """Return the index of the tunnel's interface; None if it is gone."""
        links = self._kernel.links()
        return next((link.index for link in links if link.name == self._tunnel), None)

    def find(self) -> list[Lan]:
        """Return those that can be used now."""
        addresses = self._kernel.addresses()
        wans = self._wan_interfaces(addresses) if self._names is None else frozenset()
        return [
            _lan(link, [each for each in addresses if each.interface == link.name])
            for link in self._kernel.links()
            if self._is_lan(link, wans)
        ]

    def missing(self) -> list[str]:
        """Return the interfaces the operator named that are not there."""
        present = {link.name for link in self._kernel.links()}
        return [name for name in self._names or () if name not in present]

    def _is_lan(self, link: Link, wans: Collection[str]) -> bool:
        if not link.is_up or link.name in (self._tunnel, "lo"):
            return False
        if self._names is not None:
            return link.name in self._names
        return link.name not in wans and not link.is_point_to_point and link.has_carrier

    def _wan_interfaces(self, addresses: Collection[HostAddress]) -> frozenset[str]:
        """Return those with a default route, those named, and those with no address of ours."""
        defaults = {
            route.interface
            for route in self._kernel.default_routes()
            if route.protocol != ROUTE_PROTOCOL and route.interface != self._tunnel
        }
        named = {a.interface for a in addresses if str(a.address.ip) in self._wans}
        with_address = {a.interface for a in addresses if a.is_usable}
        bare = {link.name for link in self._kernel.links()} - with_address
        return frozenset({*defaults, *named, *self._wans, *bare})


def _lan(link: Link, addresses: Collection[HostAddress]) -> Lan:
    ipv4 = [a.address.ip.packed for a in addresses if a.address.version == 4]
    ipv6 = [
        a.address.ip.packed for a in addresses if a.address.version == 6 and a.address.is_link_local
    ]
    return Lan(
        index=link.index,
        name=link.name,
        ipv4=min(ipv4, default=None),
        ipv6=min(ipv6, default=None),
    )
