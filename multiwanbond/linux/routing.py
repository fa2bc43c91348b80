"""What a tunnel changes in the kernel's routing: its device, its routes, its WANs.

Rules are asked in this order; N is a number made from the tunnel's name, M its mark:

    7700  from WAN address               main, without the default route
    7701  from WAN address               table 77NNNNiii: the default route by WAN iii
    7708  to a bypassed network, or from
          a bypassed interface         main
    7709  to a name server's port      table 77NNNN000                    (only with a block)
    7710  not marked M                   main, without the default route     (only a full tunnel)
    7711  not marked M                   table 77NNNN000: default by the tunnel       (as wg-quick)
   32766  everything                     main

So our own sockets, which are bound to a WAN's address and device and carry the mark, leave by
their WAN; so do answers of other programs that were spoken to on it. The same rules let the check
of incoming packets' way back (rp_filter) find the WAN. Specific routes of the operator always win.

All of it carries our protocol number and a name, table or mark made from the tunnel's name: several
tunnels live side by side, and `clean_up` finds what a killed daemon left without its help.
"""

import contextlib
import re
from collections.abc import Iterable, Sequence
from hashlib import blake2s
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Final

from multiwanbond.core.settings import Prefix
from multiwanbond.errors import PrivilegeError

from .kernel import (
    DEFAULT_METRIC,
    EVERY_BIT,
    LOCAL_TABLE,
    MAIN_TABLE,
    Interface,
    Kernel,
    Route,
    Rule,
)
from .overlaps import OTHER_ADDRESS, OverlapError, Surroundings
from .sysctl import Restorer
from .undo import Undo
from .wans import FoundWan

# Chosen by us: before the kernel's own rules (32766), behind those that people number by hand.
_WAN_SPECIFIC: Final = 7700
_WAN_DEFAULT: Final = 7701
_BYPASS: Final = 7708
_NAME_SERVERS: Final = 7709
_TUNNEL_SPECIFIC: Final = 7710
_TUNNEL_DEFAULT: Final = 7711
_BLOCK: Final = frozenset({_NAME_SERVERS, _TUNNEL_SPECIFIC, _TUNNEL_DEFAULT})
_EVERYTHING: Final[dict[int, Prefix]] = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}
_TABLES: Final = 77_000_000
_TABLES_PER_TUNNEL: Final = 1000
_NUMBERS: Final = 10_000
_GROUPS: Final = (
    (ip_network("224.0.0.0/4"), MAIN_TABLE, 7700),
    (ip_network("ff00::/8"), LOCAL_TABLE, 1),
)
"""Groups, the table their route belongs in, and its metric: behind the operator's own route with
IPv4, before the other interfaces' 256 with IPv6."""

_ALIAS: Final = "multiwanbond"
_STRICT, _LOOSE = "1", "2"
_ARP: Final = (("arp_ignore", "0", "1"), ("arp_announce", "01", "2"))
"""Settings, the values of them that several interfaces in one network do not bear, and ours."""
_LAST_RESORT: Final = 4_278_198_272
"""The metric of what holds when nothing else does; behind any that a person or DHCP gives."""
_UDP, _TCP = 17, 6
_NAME_SERVICES: Final = ((_UDP, 53), (_TCP, 53), (_TCP, 853))
"""DNS (RFC 1035) and DNS over TLS (RFC 7858)."""


def number_of(tunnel: str) -> int:
    """Return the tunnel's number, 0 to 9999: always the same for the same name.

    Names that differ in a final number only ("mwb0", "mwb1") never share one; others do once in
    ten thousand.
    """
    match = re.fullmatch(r"(.*?)([0-9]{0,3})", tunnel)
    assert match is not None, "every string matches"
    digest = blake2s(match[1].encode(), digest_size=4).digest()
    return (int.from_bytes(digest, "big") + int(match[2] or 0)) % _NUMBERS


class TunnelRouting:
    """All changes of one tunnel; every one of them is on the `Undo` before it is made."""

    def __init__(self, tunnel: str, kernel: Kernel, directory: Path) -> None:
        number = number_of(tunnel)
        self.tunnel: Final = tunnel
        # The lowest and the highest byte: Kubernetes, Tailscale, mwan3 and Cilium keep their own
        # marks in the bits between.
        self.mark: Final = (1 + (number >> 8)) << 24 | number & 0xFF
        """The mark that keeps our own sockets out of the tunnel."""
        self._kernel = kernel
        self._first_table = _TABLES + number * _TABLES_PER_TUNNEL
        self._sysctls = Restorer(kernel, directory / f"{tunnel}.sysctl")

    # The device

    def configure_tun(self, addresses: Sequence[Interface], mtu: int, undo: Undo) -> list[str]:
        """Give the device its MTU and addresses and set it up; return what had to be left out.

        What is done to the device goes with it, whose closing the caller has put on `undo`.

        Raises:
            OverlapError: an address is in a network the machine is in; nothing has changed.
        """
        skipped = self._refuse_or_skip(addresses)
        # Of all WANs, in the end: some are changed when another WAN comes.
        undo.push("settings of interfaces", self._sysctls.close)
        self._kernel.set_link(self.tunnel, mtu=mtu, alias=_ALIAS)
        self._prepare_ipv6(any(address.version == 6 for address in addresses))
        for address in addresses:
            if address not in skipped:
                self._kernel.add_address(self.tunnel, address)
        self._kernel.set_link(self.tunnel, is_up=True)
        self._loosen(self.tunnel, undo)
        return [f"address {address}: this kernel has no IPv6" for address in skipped]

    def _refuse_or_skip(self, addresses: Sequence[Interface]) -> list[Interface]:
        surroundings = Surroundings(self._kernel, tunnel=self.tunnel)
        for wanted in addresses:
            for overlap in surroundings.in_the_way_of(wanted):
                overlap.refuse()
        return [] if self._has_ipv6() else [a for a in addresses if a.version == 6]

    def _prepare_ipv6(self, is_wanted: bool) -> None:
        """Let the device have the IPv6 addresses we give it, and no others."""
        conf = f"net/ipv6/conf/{self.tunnel}"
        # No link-local address: it would send router solicitations into the tunnel for ever. That
        # is a nuisance and no more where we may not change it, as in a container.
        if self._kernel.read_sysctl(f"{conf}/addr_gen_mode") is not None:
            with contextlib.suppress(PrivilegeError):
                self._kernel.write_sysctl(f"{conf}/addr_gen_mode", "1")
        if is_wanted and self._kernel.read_sysctl(f"{conf}/disable_ipv6") == "1":
            self._kernel.write_sysctl(f"{conf}/disable_ipv6", "0")

    def _has_ipv6(self) -> bool:
        return self._kernel.read_sysctl("net/ipv6/conf/all/disable_ipv6") is not None

    # Into the tunnel

    def route_tunnel(self, prefixes: Iterable[Prefix], undo: Undo) -> list[str]:
        """Send these destinations into the tunnel; return what had to be left out.

        A default route is not put into the main table, where it would fight with the WANs'; it gets
        a table of its own that is asked unless main has something more specific.

        Raises:
            OverlapError: the machine is in one of these networks.
        """
        skipped = []
        surroundings = Surroundings(self._kernel, tunnel=self.tunnel)
        for prefix in prefixes:
            for overlap in surroundings.in_the_way_of_route(prefix):
                overlap.refuse()
            if prefix.version == 6 and not self._has_ipv6():
                skipped.append(f"route {prefix}: this kernel has no IPv6")
            elif prefix.prefixlen == 0:
                self._route_everything(prefix, undo)
            else:
                self._add_route(self._tunnel_route(prefix, MAIN_TABLE), undo)
        return skipped

    def _route_everything(self, prefix: Prefix, undo: Undo) -> None:
        self._add_route(self._tunnel_route(prefix, self._first_table), undo)
        self._ask_table(prefix.version, undo)

    def _ask_table(self, version: int, undo: Undo) -> None:
        """Let all but our own packets go by the tunnel's table, unless main is more specific."""
        for priority, table, suppress in (
            (_TUNNEL_SPECIFIC, MAIN_TABLE, 0),
            (_TUNNEL_DEFAULT, self._first_table, None),
        ):
            rule = Rule(
                version=version,
                priority=priority,
                table=table,
                mark=self.mark,
                mark_mask=EVERY_BIT,
                is_inverted=True,
                suppress_prefixlen=suppress,
            )
            self._add_rule(rule, undo)

    def block(self, undo: Undo) -> None:
        """Refuse what would go by a default route and does not go by the tunnel.

        It holds for both IP versions, for this machine and those behind it, and for questions to
        name servers in the WANs' own networks. It outlives a daemon that is killed, until
        `clean_up`. Doing it again is fine.
        """
        for version in (4, 6):
            if version == 6 and not self._has_ipv6():
                continue
            refusal = Route(
                prefix=_EVERYTHING[version],
                interface="lo",
                table=self._first_table,
                metric=_LAST_RESORT,
                is_refusal=True,
            )
            self._add_route(refusal, undo)
            self._ask_table(version, undo)
            for transport, port in _NAME_SERVICES:
                # The mark is only a label: an inverted rule would hold for all that is not both
                # unmarked and a question. Our own sockets have left by rule 7701 already.
                rule = Rule(
                    version=version,
                    priority=_NAME_SERVERS,
                    table=self._first_table,
                    mark=self.mark,
                    transport=transport,
                    port=port,
                )
                self._add_rule(rule, undo)

    def _tunnel_route(self, prefix: Prefix, table: int) -> Route:
        metric = DEFAULT_METRIC[prefix.version]
        return Route(prefix=prefix, interface=self.tunnel, table=table, metric=metric)

    def bypass(self, target: Prefix | str, undo: Undo) -> None:
        """Keep packets out of the tunnel's default route.

        Args:
            target: a network they go to, or an interface they come in by.
            undo: gets the reversals.
        """
        versions = (4, 6) if isinstance(target, str) else (target.version,)
        for version in versions:
            if version == 6 and not self._has_ipv6():
                continue
            rule = Rule(
                version=version,
                priority=_BYPASS,
                table=MAIN_TABLE,
                mark=self.mark,  # only a label (the mask is 0)
                destination=None if isinstance(target, str) else target,
                incoming=target if isinstance(target, str) else None,
            )
            self._add_rule(rule, undo)

    def route_multicast(self, undo: Undo) -> None:
        """Send packets to groups into the tunnel, unless their sender names an interface or the
        operator has a better route.

        IPv6 has such a route for every interface in the table "local", which is asked first.
        """
        for prefix, table, metric in _GROUPS:
            if prefix.version == 4 or self._has_ipv6():
                self._add_route(
                    Route(prefix=prefix, interface=self.tunnel, table=table, metric=metric), undo
                )

    # Out by a WAN

    def warning_of(self, interface: str) -> str | None:
        """Return what to say about a WAN that came after the tunnel; None if all is well.

        Raises:
            OverlapError: the WAN has the tunnel's own address. What programs send from that would
                leave by the WAN, past the tunnel.
        """
        there = self._kernel.addresses()
        inside = [each.address for each in there if each.interface == self.tunnel]
        for each in there:
            if each.interface == interface and each.address.ip in {own.ip for own in inside}:
                raise OverlapError(
                    f"The interface {interface} has {each.address}, the address of {self.tunnel}.",
                    OTHER_ADDRESS,
                )
        surroundings = Surroundings(self._kernel, tunnel=self.tunnel, interface=interface)
        overlaps = (each for own in inside for each in surroundings.in_the_way_of(own))
        return next((f"{each.problem} {each.remedy}" for each in overlaps if each.is_harmful), None)

    def route_wan(self, wan_id: int, found: FoundWan, undo: Undo) -> None:
        """Let what comes from the WAN's address leave by the WAN.

        Doing it again is fine: what is there already stays, what is missing is added.
        """
        version = ip_address(found.local_host).version
        table = self._first_table + wan_id
        route = Route(
            prefix=_EVERYTHING[version],
            interface=found.interface,
            table=table,
            gateway=found.gateway,
            metric=DEFAULT_METRIC[version],
        )
        self._add_route(route, undo)
        for priority, target, suppress in (
            (_WAN_SPECIFIC, MAIN_TABLE, 0),
            (_WAN_DEFAULT, table, None),
        ):
            rule = Rule(
                version=version,
                priority=priority,
                table=target,
                # Only a label (the mask is 0), so that another tunnel over the same WAN has a rule
                # of its own, and does not lose it when this one goes.
                mark=self.mark,
                source=found.local_host,
                suppress_prefixlen=suppress,
            )
            self._add_rule(rule, undo)
        self._loosen(found.interface, undo)
        if version == 4:
            self._keep_apart(found.interface, undo)

    def _keep_apart(self, interface: str, undo: Undo) -> None:
        """Let the interfaces in this one's network speak for their own addresses only (ARP).

        Otherwise each of two in one LAN answers for the other's address as well, and what comes to
        that goes to whichever answered first: not to the WAN whose socket waits for it.
        """
        there = [each for each in self._kernel.addresses() if each.address.version == 4]
        own = [each.address.network for each in there if each.interface == interface]
        sharing = {
            each.interface
            for each in there
            if any(each.address.network.overlaps(network) for network in own)
        }
        if len(sharing) < 2:
            return
        for name in sorted(sharing):
            for setting, unbearable, value in _ARP:
                key = f"net/ipv4/conf/{name}/{setting}"
                keys = (f"net/ipv4/conf/all/{setting}", key)  # the larger holds
                if max(self._kernel.read_sysctl(each) or "0" for each in keys) in unbearable:
                    # In a container without the permission they may be two LANs all the same.
                    with contextlib.suppress(PrivilegeError):
                        self._sysctls.set(key, value, undo)

    def _loosen(self, interface: str, undo: Undo) -> None:
        """Make the check of incoming packets' way back accept a way by any interface (RFC 3704).

        The strict check drops a WAN's packets where two WANs have the same address (LTE sticks do)
        or a specific route leads to the server by another one. It is in force if either of the two
        settings says so and none says "loose".
        """
        own = f"net/ipv4/conf/{interface}/rp_filter"
        values = {self._kernel.read_sysctl(key) for key in ("net/ipv4/conf/all/rp_filter", own)}
        if _STRICT in values and _LOOSE not in values:
            self._sysctls.set(own, _LOOSE, undo)

    # Steps

    def _add_route(self, route: Route, undo: Undo) -> None:
        undo.push(str(route), lambda: self._kernel.delete_route(route))
        self._kernel.add_route(route)

    def _add_rule(self, rule: Rule, undo: Undo) -> None:
        undo.push(str(rule), lambda: self._kernel.delete_rule(rule))
        self._kernel.add_rule(rule)

    # After a crash

    def clean_up(self, *, keeps_block: bool = False) -> list[str]:
        """Remove all that a daemon of this tunnel left; return what that was, in words.

        The caller makes sure that no daemon of this tunnel runs (`lock`).

        Args:
            keeps_block: leave what `block` did.
        """
        # The same rules lead into a tunnel that blocks nothing: there they are left over, too.
        keeps_block = keeps_block and self._is_blocking()
        removed = []
        for rule in self._kernel.tagged_rules():
            if rule.mark == self.mark and not (keeps_block and rule.priority in _BLOCK):
                self._kernel.delete_rule(rule)
                removed.append(str(rule))
        for route in self._kernel.tagged_routes():
            # By its interface only in main: a table is one tunnel's, and an interface of this name
            # may be another tunnel's WAN.
            is_into_tunnel = route.table == MAIN_TABLE and route.interface == self.tunnel
            if keeps_block and route.is_refusal:
                continue
            if is_into_tunnel or self._owns_table(route.table):
                self._kernel.delete_route(route)
                removed.append(str(route))
        for link in self._kernel.links():
            if (link.name, link.kind, link.alias) == (self.tunnel, "tun", _ALIAS):
                self._kernel.delete_link(link.name)
                removed.append(f"interface {link.name}")
        return removed + self._sysctls.restore_all()

    def _is_blocking(self) -> bool:
        return any(
            route.is_refusal and self._owns_table(route.table)
            for route in self._kernel.tagged_routes()
        )

    def _owns_table(self, table: int) -> bool:
        return self._first_table <= table < self._first_table + _TABLES_PER_TUNNEL
