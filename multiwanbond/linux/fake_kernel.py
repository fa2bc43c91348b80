"""A kernel's network configuration in memory; passes the contract tests of the real one.

It knows nothing of packets: it keeps what is written, refuses what the kernel refuses, and forgets
with an interface what was on it.
"""

import itertools
from dataclasses import replace
from ipaddress import ip_interface
from typing import Any

from multiwanbond.errors import PlatformError

from .kernel import ROUTE_PROTOCOL, HostAddress, Interface, Link, Route, Rule


class FakeKernel:
    """Starts with a loopback device, like an empty network namespace."""

    def __init__(self, *, has_ipv6: bool = True) -> None:
        self._has_ipv6 = has_ipv6
        self._indices = itertools.count(1)
        self._links: dict[str, Link] = {}
        self._addresses: list[HostAddress] = []
        self._routes: list[Route] = []
        self._rules: list[Rule] = []
        self._tables: dict[str, str] = {}
        self._sysctls: dict[str, str] = {
            "net/ipv4/conf/all/rp_filter": "0",
            "net/ipv4/conf/all/arp_ignore": "0",
            "net/ipv4/conf/all/arp_announce": "0",
            "net/ipv4/ip_forward": "0",
        }
        if has_ipv6:
            self._sysctls["net/ipv6/conf/all/forwarding"] = "0"
            self._sysctls["net/ipv6/conf/all/disable_ipv6"] = "0"
        self.add_link("lo")
        self.add_address("lo", ip_interface("127.0.0.1/8"))

    # What the rest of the machine does

    def add_link(
        self,
        name: str,
        *,
        kind: str = "",
        is_up: bool = True,
        is_point_to_point: bool = False,
        mac: str = "",
        driver: str = "",
    ) -> None:
        """Plug an interface in."""
        self._links[name] = Link(
            index=next(self._indices),
            name=name,
            mtu=1500,
            is_up=is_up,
            has_carrier=is_up,
            is_point_to_point=is_point_to_point,
            kind=kind,
            mac=mac,
            driver=driver,
        )
        for setting in ("rp_filter", "arp_ignore", "arp_announce"):
            self._sysctls[f"net/ipv4/conf/{name}/{setting}"] = "0"
        if self._has_ipv6:
            self._sysctls[f"net/ipv6/conf/{name}/addr_gen_mode"] = "0"
            self._sysctls[f"net/ipv6/conf/{name}/disable_ipv6"] = "0"
            self._sysctls[f"net/ipv6/conf/{name}/accept_ra"] = "1"

    def set_carrier(self, name: str, *, is_there: bool) -> None:
        """Pull the cable, or put it back."""
        self._links[name] = replace(self._links[name], has_carrier=is_there)

    def state(self) -> Any:
        """Return everything, for comparison of before and after."""
        rules = sorted(map(str, self._rules))
        return (
            dict(self._links),
            self.addresses(),
            list(self._routes),
            rules,
            dict(self._sysctls),
            dict(self._tables),
        )

    # Links

    def links(self) -> list[Link]:
        return list(self._links.values())

    def set_link(
        self,
        name: str,
        *,
        mtu: int | None = None,
        is_up: bool | None = None,
        alias: str | None = None,
    ) -> None:
        link = self._link(name)
        if mtu is not None:
            link = replace(link, mtu=mtu)
        if is_up is not None:
            link = replace(link, is_up=is_up, has_carrier=is_up)
        if alias is not None:
            link = replace(link, alias=alias)
        self._links[name] = link

    def delete_link(self, name: str) -> None:
        if self._links.pop(name, None) is None:
            return
        self._addresses = [a for a in self._addresses if a.interface != name]
        self._routes = [route for route in self._routes if route.interface != name]
        self._sysctls = {
            key: value for key, value in self._sysctls.items() if f"/{name}/" not in key
        }

    def _link(self, name: str) -> Link:
        if name not in self._links:
            raise PlatformError(f"There is no interface {name!r}.", "See 'ip link show'.")
        return self._links[name]

    # Addresses

    def addresses(self) -> list[HostAddress]:
        return list(self._addresses)

    def add_address(self, interface: str, address: Interface) -> None:
        self._link(interface)
        if not self._has_address(interface, address):
            is_usable = not (address.is_loopback or address.is_link_local)
            self._addresses.append(
                HostAddress(interface=interface, address=address, is_usable=is_usable)
            )

    def delete_address(self, interface: str, address: Interface) -> None:
        self._addresses = [
            a for a in self._addresses if (a.interface, a.address) != (interface, address)
        ]

    def _has_address(self, interface: str, address: Interface) -> bool:
        return any((a.interface, a.address) == (interface, address) for a in self._addresses)

    # Routes

    def default_routes(self) -> list[Route]:
        routes = [
            route for route in self._routes if route.prefix.prefixlen == 0 and not route.is_refusal
        ]
        return sorted(routes, key=lambda route: route.metric)

    def tagged_routes(self) -> list[Route]:
        return [route for route in self._routes if route.protocol == ROUTE_PROTOCOL]

    def add_route(self, route: Route) -> None:
        if not self._link(route.interface).is_up:
            raise PlatformError(f"Setting {route} failed: Device is not up.", "See 'ip link'.")
        key = (route.prefix, route.table, route.metric)
        for there in self._routes:
            if there == route:
                return
            if (there.prefix, there.table, there.metric) == key:
                show = f"ip -{route.prefix.version} route show table {route.table}"
                raise PlatformError(f"There is already another {route}.", f"See '{show}'.")
        self._routes.append(route)

    def delete_route(self, route: Route) -> None:
        self._routes = [there for there in self._routes if there != route]

    # Rules

    def tagged_rules(self) -> list[Rule]:
        return [rule for rule in self._rules if rule.protocol == ROUTE_PROTOCOL]

    def add_rule(self, rule: Rule) -> None:
        if rule not in self._rules:
            self._rules.append(rule)

    def delete_rule(self, rule: Rule) -> None:
        self._rules = [there for there in self._rules if there != rule]

    # Settings

    def read_sysctl(self, key: str) -> str | None:
        return self._sysctls.get(key)

    def write_sysctl(self, key: str, value: str) -> None:
        if key not in self._sysctls:
            raise PlatformError(f"Setting {key} to {value} failed: no such file.", f"See {key!r}.")
        self._sysctls[key] = value

    # Firewall

    def firewall_tables(self) -> list[str]:
        return list(self._tables)

    def set_firewall_table(self, name: str, rules: str) -> None:
        self._tables[name] = rules

    def delete_firewall_table(self, name: str) -> None:
        self._tables.pop(name, None)
