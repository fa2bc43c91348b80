"""The kernel's links, addresses, routes and rules through pyroute2, typed and read back.

pyroute2 accepts keywords it does not know and drops them (`suppress_prefixlength` makes a rule
that suppresses nothing), so nothing passes it through from outside, and after each write the
kernel is asked what it has now.
"""

import errno
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from multiwanbond.core.settings import Prefix
from multiwanbond.errors import PlatformError, PrivilegeError

from . import nftables, sysctl
from .kernel import (
    EVERY_BIT,
    ROUTE_PROTOCOL,
    HostAddress,
    Interface,
    Link,
    Route,
    Rule,
)

# From <linux/if.h>, <linux/if_addr.h>, <linux/rtnetlink.h>, <linux/fib_rules.h>.
_IFF_UP: Final = 0x1
_IFF_POINTOPOINT: Final = 0x10
_IFF_NOARP: Final = 0x80
_IFF_LOWER_UP: Final = 0x10000
_IFA_F_TEMPORARY: Final = 0x01
_IFA_F_DEPRECATED: Final = 0x20
_IFA_F_TENTATIVE: Final = 0x40
_IFA_F_DADFAILED: Final = 0x08
_IFA_F_NODAD: Final = 0x02
_SCOPE_UNIVERSE: Final = 0
_SCOPE_LINK: Final = 253
_RTN_UNICAST: Final = 1
_RTN_UNREACHABLE: Final = 7
_FIB_RULE_INVERT: Final = 2

_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
_VERSIONS: Final = {int(family): version for version, family in _FAMILIES.items()}
_ABSENT: Final = frozenset(
    {errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.ENXIO, errno.EADDRNOTAVAIL}
)
_PRIVILEGE: Final = "Run as root, or give the process CAP_NET_ADMIN."


class Netlink:
    """The `Kernel` of the network namespace the calling thread is in.

    Each call opens a netlink socket of its own (0.4 ms): pyroute2 keeps one per thread, which
    would pile up with the daemon's changing worker threads.
    """

    # Links

    def links(self) -> list[Link]:
        """Return all interfaces."""
        with _connection() as connection:
            return [_link(message) for message in connection.get_links()]

    def set_link(
        self,
        name: str,
        *,
        mtu: int | None = None,
        is_up: bool | None = None,
        alias: str | None = None,
    ) -> None:
        """Change what is not None."""
        wanted = {"mtu": mtu, "state": None, "ifalias": alias}
        if is_up is not None:
            wanted["state"] = "up" if is_up else "down"
        changes = {key: value for key, value in wanted.items() if value is not None}
        what = f"interface {name} " + " ".join(f"{key} {value}" for key, value in changes.items())
        show = f"ip link show dev {name}"
        index = self._index(name)
        _write(what, show, lambda connection: connection.link("set", index=index, **changes))
        link = next(link for link in self.links() if link.name == name)
        found = (link.mtu, link.is_up, link.alias)
        if any(
            want not in {None, has} for want, has in zip((mtu, is_up, alias), found, strict=True)
        ):
            raise _ignored(what, show)

    def delete_link(self, name: str) -> None:
        """Remove a virtual interface."""
        try:
            index = self._index(name)
        except PlatformError:
            return
        show = f"ip link show dev {name}"
        _delete(f"interface {name}", show, lambda connection: connection.link("del", index=index))

    def _index(self, name: str) -> int:
        for link in self.links():
            if link.name == name:
                return link.index
        raise PlatformError(f"There is no interface {name!r}.", "See 'ip link show'.")

    # Addresses

    def addresses(self) -> list[HostAddress]:
        """Return all addresses of this machine."""
        names = {link.index: link.name for link in self.links()}
        with _connection() as connection:
            return [
                _address(message, names[message["index"]])
                for message in connection.get_addr()
                if message["index"] in names
            ]

    def add_address(self, interface: str, address: Interface) -> None:
        """Give an interface an address and, with it, a route to the address's network."""
        if self._has_address(interface, address):
            return
        what, show = f"address {address} on {interface}", f"ip address show dev {interface}"
        spec = self._address_spec(interface, address)
        if address.version == 6:
            # On a tunnel there is nobody who could have the same address.
            spec["flags"] = _IFA_F_NODAD
        _write(what, show, lambda connection: connection.addr("add", **spec))
        if not self._has_address(interface, address):
            raise _ignored(what, show)

    def delete_address(self, interface: str, address: Interface) -> None:
        """Take an address from an interface."""
        if self._has_address(interface, address):
            spec = self._address_spec(interface, address)
            _delete(
                f"address {address} on {interface}",
                f"ip address show dev {interface}",
                lambda connection: connection.addr("del", **spec),
            )

    def _has_address(self, interface: str, address: Interface) -> bool:
        return any(
            (found.interface, found.address) == (interface, address) for found in self.addresses()
        )

    def _address_spec(self, interface: str, address: Interface) -> dict[str, Any]:
        return {
            "family": _FAMILIES[address.version],
            "index": self._index(interface),
            "address": str(address.ip),
            "prefixlen": address.network.prefixlen,
        }

    # Routes

    def default_routes(self) -> list[Route]:
        """Return the default routes of all tables, best metric first."""
        routes = [
            route
            for route in self._routes()
            if route.prefix.prefixlen == 0 and not route.is_refusal
        ]
        return sorted(routes, key=lambda route: route.metric)

    def tagged_routes(self) -> list[Route]:
        """Return the routes that carry `ROUTE_PROTOCOL`, of all tables."""
        # Kernels before 4.20 ignore the filter.
        routes = self._routes(proto=ROUTE_PROTOCOL)
        return [route for route in routes if route.protocol == ROUTE_PROTOCOL]

    def add_route(self, route: Route) -> None:
        """Add a route; there must be no other to the same prefix with that table and metric."""
        show = f"ip -{route.prefix.version} route show table {route.table}"
        spec = self._route_spec(route)
        if route.gateway:
            # The gateway of a WAN need not be in the WAN's network (LTE, some hosting companies).
            spec["flags"] = ["onlink"]
        try:
            _write(str(route), show, lambda connection: connection.route("add", **spec))
        except _ExistsError:
            if route not in self._routes(proto=route.protocol):
                raise
        if route not in self._routes(proto=route.protocol):
            raise _ignored(str(route), show)

    def delete_route(self, route: Route) -> None:
        """Remove a route; never one of another protocol."""
        try:
            spec = self._route_spec(route)
        except PlatformError:
            return  # the interface is gone, and its routes with it
        _delete(
            str(route),
            f"ip -{route.prefix.version} route show table {route.table}",
            lambda connection: connection.route("del", **spec),
        )

    def _routes(self, **filters: int) -> list[Route]:
        names = {link.index: link.name for link in self.links()}
        routes: list[Route] = []
        with _connection() as connection:
            for family in _FAMILIES.values():
                try:
                    messages = list(connection.route("dump", family=family, **filters))
                except NetlinkError as exc:
                    if exc.code in _ABSENT or exc.code == errno.EAFNOSUPPORT:
                        continue  # a table without routes, or a kernel without IPv6
                    raise
                routes += (route for message in messages for route in _parse_routes(message, names))
        return routes

    def _route_spec(self, route: Route) -> dict[str, Any]:
        spec: dict[str, Any] = {
            "family": _FAMILIES[route.prefix.version],
            "dst": str(route.prefix),
            "table": route.table,
            "proto": route.protocol,
            "priority": route.metric,
        }
        if route.is_refusal:
            return spec | {"type": "unreachable"}
        spec["oif"] = self._index(route.interface)
        if route.source:
            spec["prefsrc"] = route.source
        if not route.gateway:
            if route.prefix.version == 4:
                spec["scope"] = _SCOPE_LINK
        elif (":" in route.gateway) == (route.prefix.version == 6):
            spec["gateway"] = route.gateway
        else:
            spec["via"] = {"family": socket.AF_INET6, "addr": route.gateway}
        return spec

    # Rules

    def tagged_rules(self) -> list[Rule]:
        """Return the rules that carry `ROUTE_PROTOCOL`, of both IP versions."""
        rules = []
        with _connection() as connection:
            for family in _FAMILIES.values():
                try:
                    messages = list(connection.get_rules(family=family))
                except NetlinkError as exc:
                    if exc.code in {errno.EAFNOSUPPORT, errno.EOPNOTSUPP}:
                        continue
                    raise
                rules += [_rule(message) for message in messages]
        return [rule for rule in rules if rule.protocol == ROUTE_PROTOCOL]

    def add_rule(self, rule: Rule) -> None:
        """Add a rule."""
        show = f"ip -{rule.version} rule show"
        if rule in self.tagged_rules():
            return
        spec = _rule_spec(rule)
        _write(str(rule), show, lambda connection: connection.rule("add", **spec))
        if rule not in self.tagged_rules():
            raise _ignored(str(rule), show)

    def delete_rule(self, rule: Rule) -> None:
        """Remove a rule."""
        spec = _rule_spec(rule)
        _delete(
            str(rule),
            f"ip -{rule.version} rule show",
            lambda connection: connection.rule("del", **spec),
        )

    # Settings

    def read_sysctl(self, key: str) -> str | None:
        """Return a setting by its path below /proc/sys; None if this kernel has no such thing."""
        return sysctl.read(key)

    def write_sysctl(self, key: str, value: str) -> None:
        """Change a setting."""
        sysctl.write(key, value)

    # Firewall

    def firewall_tables(self) -> list[str]:
        """Return the names of the tables of nftables, of the family inet."""
        return nftables.tables()

    def set_firewall_table(self, name: str, rules: str) -> None:
        """Make a table consist of these rules and of no others."""
        nftables.set_table(name, rules)

    def delete_firewall_table(self, name: str) -> None:
        """Remove a table."""
        nftables.delete_table(name)


class _ExistsError(PlatformError):
    """Something is there already; whether it is ours, the caller may have a look."""


def _connection() -> Any:
    # Extended acks: "Nexthop has invalid gateway" instead of "Network is unreachable".
    return IPRoute(ext_ack=True, strict_check=True)


def _write(what: str, show: str, change: Callable[[Any], object]) -> None:
    try:
        with _connection() as connection:
            change(connection)
    except NetlinkError as exc:
        if exc.code == errno.EEXIST:
            raise _ExistsError(f"There is already another {what}.", f"See '{show}'.") from exc
        raise _explain(what, show, exc) from exc


def _delete(what: str, show: str, change: Callable[[Any], object]) -> None:
    try:
        with _connection() as connection:
            change(connection)
    except NetlinkError as exc:
        if exc.code not in _ABSENT:
            raise _explain(f"removing {what}", show, exc) from exc


def _explain(what: str, show: str, exc: NetlinkError) -> PlatformError:
    message = exc.args[-1]
    if exc.code in {errno.EPERM, errno.EACCES}:
        return PrivilegeError(f"Setting {what} is not permitted: {message}.", _PRIVILEGE)
    return PlatformError(f"Setting {what} failed: {message}.", f"See '{show}'.")


def _ignored(what: str, show: str) -> PlatformError:
    return PlatformError(f"The kernel accepted {what} but does not have it.", f"See '{show}'.")


def _link(message: Any) -> Link:
    info = message.get_attr("IFLA_LINKINFO")
    flags = message["flags"]
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        mtu=message.get_attr("IFLA_MTU"),
        is_up=bool(flags & _IFF_UP),
        has_carrier=bool(flags & _IFF_LOWER_UP),
        is_point_to_point=bool(flags & (_IFF_POINTOPOINT | _IFF_NOARP)),
        kind=(info.get_attr("IFLA_INFO_KIND") if info else None) or "",
        alias=message.get_attr("IFLA_IFALIAS") or "",
        mac=message.get_attr("IFLA_ADDRESS") or "",
        driver=_driver(message.get_attr("IFLA_IFNAME")),
    )


def _driver(name: str) -> str:
    try:
        return Path(os.readlink(f"/sys/class/net/{name}/device/driver")).name
    except OSError:
        return ""  # a virtual interface


def _address(message: Any, interface: str) -> HostAddress:
    host = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    flags = message.get_attr("IFA_FLAGS") or message["flags"]
    avoided = _IFA_F_TEMPORARY | _IFA_F_DEPRECATED | _IFA_F_TENTATIVE | _IFA_F_DADFAILED
    if message["family"] == socket.AF_INET:
        avoided = _IFA_F_DEPRECATED  # bit 0 means "secondary" there
    return HostAddress(
        interface=interface,
        address=ip_interface(f"{host}/{message['prefixlen']}"),
        is_usable=message["scope"] == _SCOPE_UNIVERSE and not flags & avoided,
    )


def _parse_routes(message: Any, names: dict[int, str]) -> Iterator[Route]:
    """Yield a route for each next hop of a unicast route, and one for a refusal."""
    if message["type"] not in {_RTN_UNICAST, _RTN_UNREACHABLE}:
        return
    attributes = dict(message["attrs"])
    version = _VERSIONS[message["family"]]
    nothing = "0.0.0.0" if version == 4 else "::"
    prefix: Prefix = ip_network(f"{attributes.get('RTA_DST', nothing)}/{message['dst_len']}")
    if message["type"] == _RTN_UNREACHABLE:
        yield Route(
            prefix=prefix,
            interface="lo",
            table=attributes.get("RTA_TABLE", message["table"]),
            metric=attributes.get("RTA_PRIORITY", 0),
            protocol=message["proto"],
            is_refusal=True,
        )
        return
    for interface, gateway in _hops(attributes):
        if interface in names:
            yield Route(
                prefix=prefix,
                interface=names[interface],
                table=attributes.get("RTA_TABLE", message["table"]),
                gateway=gateway,
                metric=attributes.get("RTA_PRIORITY", 0),
                protocol=message["proto"],
                source=attributes.get("RTA_PREFSRC"),
            )


def _hops(attributes: dict[str, Any]) -> Iterable[tuple[int, str | None]]:
    if hops := attributes.get("RTA_MULTIPATH"):
        return [(hop["oif"], _gateway(dict(hop["attrs"]))) for hop in hops]
    return [(attributes.get("RTA_OIF", 0), _gateway(attributes))]


def _gateway(attributes: dict[str, Any]) -> str | None:
    if via := attributes.get("RTA_VIA"):  # an IPv4 route over an IPv6 gateway (RFC 5549)
        return str(via["addr"])
    return attributes.get("RTA_GATEWAY")


def _rule(message: Any) -> Rule:
    attributes = dict(message["attrs"])
    suppressed = attributes.get("FRA_SUPPRESS_PREFIXLEN", EVERY_BIT)
    return Rule(
        version=_VERSIONS[message["family"]],
        priority=attributes.get("FRA_PRIORITY", 0),
        table=attributes.get("FRA_TABLE", message["table"]),
        mark=attributes.get("FRA_FWMARK", 0),
        mark_mask=attributes.get("FRA_FWMASK", 0),
        is_inverted=bool(message["flags"] & _FIB_RULE_INVERT),
        source=attributes.get("FRA_SRC"),
        destination=(
            ip_network(f"{attributes['FRA_DST']}/{message['dst_len']}")
            if "FRA_DST" in attributes
            else None
        ),
        incoming=attributes.get("FRA_IIFNAME"),
        transport=attributes.get("FRA_IP_PROTO"),
        port=_first_port(attributes.get("FRA_DPORT_RANGE")),
        suppress_prefixlen=None if suppressed == EVERY_BIT else suppressed,
        protocol=attributes.get("FRA_PROTOCOL", 0),
    )


def _first_port(ports: str | None) -> int | None:
    return None if ports is None else int(ports.partition(":")[0])


def _rule_spec(rule: Rule) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "family": _FAMILIES[rule.version],
        "priority": rule.priority,
        "table": rule.table,
        "protocol": rule.protocol,
    }
    if rule.mark:
        spec |= {"fwmark": rule.mark, "fwmask": rule.mark_mask}
    if rule.is_inverted:
        spec["flags"] = _FIB_RULE_INVERT
    if rule.source:
        spec |= {"src": rule.source, "src_len": 32 if rule.version == 4 else 128}
    if rule.destination is not None:
        spec["dst"] = str(rule.destination.network_address)
        spec["dst_len"] = rule.destination.prefixlen
    if rule.incoming:
        spec["iifname"] = rule.incoming
    if rule.transport is not None:
        spec["ip_proto"] = rule.transport
    if rule.port is not None:
        # "dport" is accepted and ignored: the rule would match every port.
        spec["dport_range"] = f"{rule.port}:{rule.port}"
    if rule.suppress_prefixlen is not None:
        spec["suppress_prefixlen"] = rule.suppress_prefixlen
    return spec
