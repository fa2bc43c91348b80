"""A kernel whose n-th write fails, before or after it took effect."""

from ipaddress import IPv4Interface, IPv6Interface

from multiwanbond.errors import PlatformError
from multiwanbond.linux.kernel import HostAddress, Kernel, Link, Route, Rule

Interface = IPv4Interface | IPv6Interface


class FailingKernel:
    """Passes everything on to `kernel` until `writes_left` has run out, and fails once."""

    def __init__(self, kernel: Kernel, *, writes_left: int, is_done_first: bool) -> None:
        self._kernel = kernel
        self._writes_left = writes_left
        self._is_done_first = is_done_first
        self.has_failed = False

    def disarm(self) -> None:
        """Let everything succeed from now on."""
        self._writes_left = -2

    def _fails_now(self) -> bool:
        self._writes_left -= 1
        self.has_failed = self.has_failed or self._writes_left == -1
        return self._writes_left == -1

    def _end(self, fails: bool) -> None:
        if fails:
            raise PlatformError("The injected failure happened.", "It is part of the test.")

    def set_link(
        self,
        name: str,
        *,
        mtu: int | None = None,
        is_up: bool | None = None,
        alias: str | None = None,
    ) -> None:
        fails = self._fails_now()
        if not fails or self._is_done_first:
            self._kernel.set_link(name, mtu=mtu, is_up=is_up, alias=alias)
        self._end(fails)

    def delete_link(self, name: str) -> None:
        self._kernel.delete_link(name)

    def add_address(self, interface: str, address: Interface) -> None:
        fails = self._fails_now()
        if not fails or self._is_done_first:
            self._kernel.add_address(interface, address)
        self._end(fails)

    def delete_address(self, interface: str, address: Interface) -> None:
        self._kernel.delete_address(interface, address)

    def add_route(self, route: Route) -> None:
        fails = self._fails_now()
        if not fails or self._is_done_first:
            self._kernel.add_route(route)
        self._end(fails)

    def delete_route(self, route: Route) -> None:
        self._kernel.delete_route(route)

    def add_rule(self, rule: Rule) -> None:
        fails = self._fails_now()
        if not fails or self._is_done_first:
            self._kernel.add_rule(rule)
        self._end(fails)

    def delete_rule(self, rule: Rule) -> None:
        self._kernel.delete_rule(rule)

    def write_sysctl(self, key: str, value: str) -> None:
        fails = self._fails_now()
        if not fails or self._is_done_first:
            self._kernel.write_sysctl(key, value)
        self._end(fails)

    def set_firewall_table(self, name: str, rules: str) -> None:
        fails = self._fails_now()
        if not fails or self._is_done_first:
            self._kernel.set_firewall_table(name, rules)
        self._end(fails)

    def delete_firewall_table(self, name: str) -> None:
        self._kernel.delete_firewall_table(name)

    def firewall_tables(self) -> list[str]:
        return self._kernel.firewall_tables()

    def links(self) -> list[Link]:
        return self._kernel.links()

    def addresses(self) -> list[HostAddress]:
        return self._kernel.addresses()

    def default_routes(self) -> list[Route]:
        return self._kernel.default_routes()

    def tagged_routes(self) -> list[Route]:
        return self._kernel.tagged_routes()

    def tagged_rules(self) -> list[Rule]:
        return self._kernel.tagged_rules()

    def read_sysctl(self, key: str) -> str | None:
        return self._kernel.read_sysctl(key)
