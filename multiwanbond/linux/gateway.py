"""What a tunnel needs of the kernel to carry others' packets: forwarding, NAT, sizes, open ports.

All rules are in one table of nftables whose name is made from the tunnel's. A rule of ours that
accepts could not help against another table's that drops (Docker's and ufw's do): `mwb doctor`
finds those.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from multiwanbond.config.gateway import Forward, PortForward, Transport

from .kernel import Interface, Kernel
from .routing import number_of
from .sysctl import Restorer
from .undo import Undo

_FORWARDING: Final = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}
_ON: Final = "1"
_ACCEPT_RA_UNLESS_ROUTER: Final = "1"
_ACCEPT_RA: Final = "2"
_GROUPS: Final = {4: "224.0.0.0/4", 6: "ff00::/8"}
_FAMILY: Final = {4: "ip", 6: "ip6"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayWish:
    """What is to be done for others."""

    is_server: bool
    forward: Forward
    masquerade: bool
    client_to_client: bool
    port_forwards: tuple[PortForward, ...]
    addresses: tuple[Interface, ...]
    """The tunnel's own."""


class Gateway:
    """The table and the switches of one tunnel."""

    def __init__(self, tunnel: str, kernel: Kernel, directory: Path) -> None:
        """Change nothing yet; `directory` keeps what a killed daemon would have put back."""
        self._tunnel = tunnel
        self._kernel = kernel
        letters = "".join(char if char.isalnum() and char.isascii() else "_" for char in tunnel)
        self.table: Final = f"multiwanbond_{letters}_{number_of(tunnel):04}"
        self._sysctls = Restorer(kernel, directory / f"{tunnel}.forwarding")
        self._rules: str | None = None
        self._has_reversal = False

    def apply(self, wish: GatewayWish, wans: Sequence[str], undo: Undo) -> bool:
        """Make the kernel do what is wished for; whether it changed what it did before.

        Args:
            wish: replaces any earlier one.
            wans: interfaces that are WANs now.
            undo: gets the reversals, once.

        Raises:
            PrivilegeError, PlatformError: the table is as it was.
        """
        rules = "".join(f"  {line}\n" for line in self._lines(wish, wans))
        if rules == self._rules:
            return False
        if not rules:
            self._kernel.delete_firewall_table(self.table)
        else:
            if not self._has_reversal:
                self._has_reversal = True
                undo.push(f"table {self.table}", self._delete_table)
            self._kernel.set_firewall_table(self.table, rules)
        if self._is_router_by(wish):
            self._turn_forwarding_on(undo)
        self._rules = rules
        return True

    def clean_up(self) -> list[str]:
        """Remove what a killed daemon left; return what that was, in words."""
        removed = []
        if self.table in self._kernel.firewall_tables():
            self._kernel.delete_firewall_table(self.table)
            removed.append(f"nftables' table {self.table}")
        return removed + self._sysctls.restore_all()

    def _delete_table(self) -> None:
        self._kernel.delete_firewall_table(self.table)

    # Switches

    def _is_router_by(self, wish: GatewayWish) -> bool:
        """True if it is we who make the machine forward."""
        return wish.forward is Forward.ON or (wish.is_server and wish.forward is Forward.AUTO)

    def _forwards(self, wish: GatewayWish) -> bool:
        if wish.forward is Forward.OFF:
            return False
        return self._is_router_by(wish) or any(
            self._kernel.read_sysctl(key) == _ON for key in _FORWARDING.values()
        )

    def _turn_forwarding_on(self, undo: Undo) -> None:
        for link in self._kernel.links():
            # A router ignores the advertisements of others, and would lose its own default route
            # when it expires (<kernel>/Documentation/networking/ip-sysctl.rst, accept_ra).
            key = f"net/ipv6/conf/{link.name}/accept_ra"
            if (
                link.name not in {"lo", self._tunnel}
                and self._kernel.read_sysctl(key) == _ACCEPT_RA_UNLESS_ROUTER
            ):
                self._sysctls.set(key, _ACCEPT_RA, undo)
        for key in _FORWARDING.values():
            self._sysctls.set(key, _ON, undo)

    # Rules

    def _lines(self, wish: GatewayWish, wans: Sequence[str]) -> Iterator[str]:
        """Yield the table's content; nothing where nothing is to be done."""
        if not self._forwards(wish):
            return
        yield "chain forward {"
        yield "  type filter hook forward priority filter; policy accept;"
        if wish.is_server and not wish.client_to_client:
            yield f'  iifname "{self._tunnel}" oifname "{self._tunnel}" drop'
        # What goes into the tunnel, at either end: so both directions are told (RFC 4459, 3.2).
        yield (
            f'  oifname "{self._tunnel}" tcp flags & (syn | rst) == syn '
            "tcp option maxseg size set rt mtu"
        )
        yield "}"
        yield "chain prerouting {"
        yield "  type nat hook prerouting priority dstnat; policy accept;"
        yield from (
            f"  {rule}" for each in wish.port_forwards for rule in self._opening(each, wish)
        )
        yield "}"
        yield "chain postrouting {"
        yield "  type nat hook postrouting priority srcnat; policy accept;"
        yield from (f"  {rule}" for rule in self._translations(wish, wans))
        yield "}"

    def _opening(self, wanted: PortForward, wish: GatewayWish) -> Iterator[str]:
        """Yield the rules of one open port."""
        host, port = wanted.to
        first, last = wanted.port
        ports = f"{first}" if first == last else f"{first}-{last}"
        target = f"[{host}]" if host.version == 6 and port else f"{host}"
        # From the Internet on a server; on a client from the server.
        origin = "!=" if wish.is_server else "=="
        for protocol in _protocols(wanted.protocol):
            yield (
                f'iifname {origin} "{self._tunnel}" fib daddr type local '
                f"{protocol} dport {ports} meta nfproto ipv{host.version} "
                f"dnat {_FAMILY[host.version]} to {target}{f':{port}' if port else ''}"
            )

    def _translations(self, wish: GatewayWish, wans: Sequence[str]) -> Iterator[str]:
        if not wish.masquerade:
            return
        if wish.is_server:
            yield f'iifname "{self._tunnel}" oifname != "{self._tunnel}" masquerade'
            return
        for version in sorted({address.version for address in wish.addresses}):
            family = _FAMILY[version]
            own = ", ".join(str(each.ip) for each in wish.addresses if each.version == version)
            # The server refuses what comes from any other address.
            yield (
                f'oifname "{self._tunnel}" {family} saddr != {{ {own} }} '
                f"{family} daddr != {_GROUPS[version]} masquerade"
            )
        if self._is_router_by(wish) and wans:
            yield f"oifname {{ {_quoted(wans)} }} fib saddr type != local masquerade"


def _protocols(wanted: Transport) -> tuple[str, ...]:
    match wanted:
        case Transport.TCP:
            return ("tcp",)
        case Transport.UDP:
            return ("udp",)
        case Transport.BOTH:
            return ("tcp", "udp")


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in sorted(names))
