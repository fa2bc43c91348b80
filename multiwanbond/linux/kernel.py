"""What we read from and write to the kernel's network configuration, as plain values.

`netlink.Netlink` does it for real; `fake_kernel.FakeKernel` in memory.
"""

from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from typing import Final, Protocol

from multiwanbond.core.settings import Prefix

Interface = IPv4Interface | IPv6Interface
"""An address and the network it is in: 10.77.0.2/24."""

ROUTE_PROTOCOL: Final = 77
"""Marks every route and rule of ours, so that they can be found and removed by anyone, at any
time. Not assigned in <linux/rtnetlink.h> nor /etc/iproute2/rt_protos."""

MAIN_TABLE: Final = 254
LOCAL_TABLE: Final = 255

DEFAULT_METRIC: Final = {4: 0, 6: 1024}
"""The metric the kernel gives a route that asks for none, by IP version."""

EVERY_BIT: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One network interface."""

    index: int
    name: str
    mtu: int
    is_up: bool
    """The operator wants it up."""
    has_carrier: bool
    """There is something at the other end of the cable."""
    is_point_to_point: bool
    """There are no neighbours to look up: what is sent on it needs no gateway."""
    kind: str = ""
    """Which driver of virtual interfaces made it ("tun"); empty for hardware."""
    alias: str = ""
    """What its maker wrote on it."""
    mac: str = ""
    """Its hardware address, as aa:bb:cc:dd:ee:ff; empty where it has none."""
    driver: str = ""
    """What moves its hardware; empty where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAddress:
    """An address of this machine."""

    interface: str
    address: Interface
    is_usable: bool = True
    """False for addresses of link scope, and for those still or no longer not to be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One way to a destination; a route over several gateways is one of these for each."""

    prefix: Prefix
    interface: str
    table: int = MAIN_TABLE
    gateway: str | None = None
    """None: destinations are neighbours, or the interface leads to one place only."""
    metric: int
    protocol: int = ROUTE_PROTOCOL
    source: str | None = None
    """The address of ours the kernel prefers for packets that have none yet."""
    is_refusal: bool = False
    """Packets go nowhere, and their sender is told so; the interface is "lo"."""

    def __str__(self) -> str:
        if self.is_refusal:
            return f"unreachable {self.prefix} table {self.table}"
        via = f" via {self.gateway}" if self.gateway else ""
        table = f" table {self.table}" if self.table != MAIN_TABLE else ""
        return f"route {self.prefix}{via} dev {self.interface}{table}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Sends packets that match all of its conditions to a routing table."""

    version: int
    """IP version, 4 or 6."""
    priority: int
    """Rules are asked in ascending order."""
    table: int
    mark: int = 0
    mark_mask: int = 0
    """The bits of a packet's mark that must equal `mark`'s. 0 matches every packet, and `mark` is
    nothing but a label on the rule."""
    is_inverted: bool = False
    """The rule holds for packets that do not match."""
    source: str | None = None
    """A single address the packet must come from."""
    destination: Prefix | None = None
    """The network the packet must go to."""
    incoming: str | None = None
    """The interface the packet must have come in by."""
    transport: int | None = None
    """The packet's IP protocol."""
    port: int | None = None
    """The port it goes to; only with `transport`."""
    suppress_prefixlen: int | None = None
    """Routes with prefixes this short are not seen: 0 hides the default route."""
    protocol: int = ROUTE_PROTOCOL

    def __str__(self) -> str:
        negation = "not " if self.is_inverted else ""
        source = f"from {self.source or 'all'}"
        source += f" to {self.destination}" if self.destination else ""
        source += f" iif {self.incoming}" if self.incoming else ""
        source += f" ipproto {self.transport}" if self.transport is not None else ""
        source += f" dport {self.port}" if self.port is not None else ""
        mark = f" fwmark {self.mark:#x}/{self.mark_mask:#x}" if self.mark else ""
        suppress = (
            f" suppress_prefixlength {self.suppress_prefixlen}"
            if self.suppress_prefixlen is not None
            else ""
        )
        return f"rule {self.priority}: {negation}{source}{mark} table {self.table}{suppress}"


class Kernel(Protocol):
    """Reads, and writes that are read back.

    Every write raises PrivilegeError where it is not permitted and PlatformError where it failed;
    its text names the thing and the `ip` command that shows it. Adding what is there already, and
    equal, succeeds; so does deleting what is not there.
    """

    def links(self) -> list[Link]: ...
    def set_link(
        self,
        name: str,
        *,
        mtu: int | None = None,
        is_up: bool | None = None,
        alias: str | None = None,
    ) -> None: ...
    def delete_link(self, name: str) -> None: ...

    def addresses(self) -> list[HostAddress]: ...
    def add_address(self, interface: str, address: Interface) -> None: ...
    def delete_address(self, interface: str, address: Interface) -> None: ...

    def default_routes(self) -> list[Route]:
        """Return the default routes of all tables that lead somewhere, best metric first."""

    def tagged_routes(self) -> list[Route]:
        """Return the routes that carry `ROUTE_PROTOCOL`, of all tables."""

    def add_route(self, route: Route) -> None: ...
    def delete_route(self, route: Route) -> None: ...

    def tagged_rules(self) -> list[Rule]:
        """Return the rules that carry `ROUTE_PROTOCOL`, of both IP versions."""

    def add_rule(self, rule: Rule) -> None: ...
    def delete_rule(self, rule: Rule) -> None: ...

    def read_sysctl(self, key: str) -> str | None:
        """Return a setting by its path below /proc/sys; None if this kernel has no such thing."""

    def write_sysctl(self, key: str, value: str) -> None: ...

    def firewall_tables(self) -> list[str]:
        """Return the names of the tables of nftables, of the family inet."""

    def set_firewall_table(self, name: str, rules: str) -> None:
        """Make a table consist of these rules (nft's language) and of no others."""

    def delete_firewall_table(self, name: str) -> None: ...
