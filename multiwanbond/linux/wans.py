"""Which uplinks this machine has, and where a configured one is to be found among them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import ip_address

from multiwanbond.errors import PlatformError

from .kernel import MAIN_TABLE, ROUTE_PROTOCOL, HostAddress, Kernel, Link, Route


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundWan:
    """An uplink that can be used now."""

    interface: str
    gateway: str | None
    """None where the interface leads to one place only (PPP, a TUN device), or nobody said."""
    local_host: str
    """The address of ours on it; it tells the IP version."""
    warning: str | None = field(default=None, compare=False)
    """What about it may surprise; None if nothing does."""


class Uplinks:
    """What the kernel says about interfaces that may be WANs, at one moment."""

    def __init__(self, kernel: Kernel, *, tunnel: str) -> None:
        """Look at everything; `tunnel` is the one interface that is never a WAN."""
        self._links = {link.name: link for link in kernel.links() if link.name != tunnel}
        self._addresses = [a for a in kernel.addresses() if a.interface in self._links]
        self._defaults = [
            route
            for route in kernel.default_routes()
            # Ours only repeat what we found the last time.
            if route.interface in self._links and route.protocol != ROUTE_PROTOCOL
        ]

    def discover(self) -> list[FoundWan]:
        """Return the interfaces that have a default route in the main table, best metric first.

        An interface with both IP versions is listed once, with the version of its better route.
        """
        found: dict[str, FoundWan] = {}
        for route in self._defaults:
            link = self._links[route.interface]
            if route.table != MAIN_TABLE or route.interface in found or not _is_usable(link):
                continue
            host = self._host_on(link.name, route.prefix.version)
            if host is not None:
                found[link.name] = FoundWan(
                    interface=link.name, gateway=route.gateway, local_host=route.source or host
                )
        return list(found.values())

    def locate(self, *, interface: str | None, local_host: str | None, version: int) -> FoundWan:
        """Return where a configured WAN is for this IP version.

        Args:
            interface: its name, a pattern (`config.notations.WAN_INTERFACE`), or None to find it by
                its address.
            local_host: its address, or None to take the one the kernel would; of the other IP
                version it only helps to find the interface.
            version: 4 or 6.

        Raises:
            PlatformError: the WAN cannot be used now; the message says what is missing.
        """
        assert interface or local_host, "the configuration demands one of them"
        link = self._link(interface) if interface else self._link_with(local_host or "")
        if not _is_usable(link):
            state = "has no carrier" if link.is_up else "is down"
            raise PlatformError(
                f"The interface {link.name!r} {state}.",
                "Plug it in." if link.is_up else f"Set it up: 'ip link set {link.name} up'.",
            )
        host = self._local_host(link.name, local_host, version)
        route = self._default_of(link.name, version)
        return FoundWan(
            interface=link.name, gateway=route.gateway if route else None, local_host=host
        )

    def _link(self, name: str) -> Link:
        """Return the interface of a name, or the best of those that a pattern fits."""
        if name in self._links:
            return self._links[name]
        alike = [link for link in self._links.values() if _fits(link, name)]
        if alike:
            return min(alike, key=lambda link: (not _is_usable(link), link.name))
        raise PlatformError(
            f"There is no interface {name!r}. Present: {_listed(self._candidates())}.",
            'Set one of these, or plug the modem in and run "mwb check" again.',
        )

    def _link_with(self, host: str) -> Link:
        for there in self._addresses:
            if there.address.ip == ip_address(host):
                return self._links[there.interface]
        present = [f"{a.address.ip} ({a.interface})" for a in self._addresses if _is_worth(a)]
        raise PlatformError(
            f"No interface has the address {host}. Present: {_listed(present)}.",
            "Set one of these, or name the interface instead.",
        )

    def _local_host(self, interface: str, wanted: str | None, version: int) -> str:
        if wanted is not None and ip_address(wanted).version == version:
            hosts = {a.address.ip for a in self._addresses if a.interface == interface}
            if ip_address(wanted) in hosts:
                return wanted
            raise PlatformError(
                f"The interface {interface!r} does not have the address {wanted}. "
                f"It has: {_listed(str(host) for host in hosts)}.",
                "Set one of these, or leave local_addr out.",
            )
        route = self._default_of(interface, version)
        host = (route.source if route else None) or self._host_on(interface, version)
        if host is None:
            raise PlatformError(
                f"The interface {interface!r} has no IPv{version} address (yet).",
                f"See 'ip -{version} address show dev {interface}'. Does its DHCP client run?",
            )
        return host

    def _host_on(self, interface: str, version: int) -> str | None:
        for there in self._addresses:
            if (
                there.interface == interface
                and there.address.version == version
                and there.is_usable
            ):
                return str(there.address.ip)
        return None

    def _default_of(self, interface: str, version: int) -> Route | None:
        """Return the default route by an interface; main's first, then any other table's."""
        routes = [
            route
            for route in self._defaults
            if route.interface == interface and route.prefix.version == version
        ]
        return min(routes, key=lambda route: route.table != MAIN_TABLE, default=None)

    def _candidates(self) -> list[str]:
        return [name for name in self._links if name != "lo"]


def _fits(link: Link, pattern: str) -> bool:
    for beginning, known in (("mac:", link.mac), ("driver:", link.driver)):
        if pattern.startswith(beginning):
            return known != "" and fnmatchcase(known.lower(), pattern.removeprefix(beginning))
    return fnmatchcase(link.name, pattern)


def _is_usable(link: Link) -> bool:
    return link.is_up and link.has_carrier


def _is_worth(address: HostAddress) -> bool:
    return address.is_usable and not address.address.is_loopback


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
