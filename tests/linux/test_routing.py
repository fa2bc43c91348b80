"""What a tunnel changes in the routing, and that it takes all of it back."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any, Protocol

import pytest

from multiwanbond.core.settings import Prefix
from multiwanbond.errors import PlatformError
from multiwanbond.linux.fake_kernel import FakeKernel
from multiwanbond.linux.kernel import Kernel, Route, Rule
from multiwanbond.linux.netlink import Netlink
from multiwanbond.linux.overlaps import OverlapError
from multiwanbond.linux.routing import TunnelRouting, number_of
from multiwanbond.linux.tun import TunDevice
from multiwanbond.linux.undo import Undo
from multiwanbond.linux.wans import FoundWan

from .failing import FailingKernel
from .namespaces import Namespace, namespaces, skip_without_kernel

ADDRESSES = [ip_interface("10.77.0.2/24"), ip_interface("fd77::2/64")]
EVERYTHING: list[Prefix] = [ip_network("0.0.0.0/0"), ip_network("::/0")]
ROUTES: list[Prefix] = [*EVERYTHING, ip_network("10.50.0.0/16"), ip_network("fd50::/48")]
FIBRE = FoundWan(interface="eth0", gateway="192.0.2.1", local_host="192.0.2.7")
LTE = FoundWan(interface="eth1", gateway=None, local_host="198.51.100.7")
FIBRE6 = FoundWan(interface="eth0", gateway="fe80::1", local_host="2001:db8::7")


class Bench(Protocol):
    """A machine with two uplinks, eth0 and eth1, that checks ways back strictly."""

    kernel: Kernel

    def open_tun(self, undo: Undo) -> None: ...
    def state(self) -> Any: ...


class MemoryBench:
    def __init__(self) -> None:
        self.memory = FakeKernel()
        self.kernel: Kernel = self.memory
        for name, host in (("eth0", "192.0.2.7/24"), ("eth1", "198.51.100.7/24")):
            self.memory.add_link(name)
            self.memory.add_address(name, ip_interface(host))
        self.memory.write_sysctl("net/ipv4/conf/all/rp_filter", "1")

    def open_tun(self, undo: Undo) -> None:
        undo.push("interface mwb0", lambda: self.memory.delete_link("mwb0"))
        self.memory.add_link("mwb0", kind="tun", is_up=False)

    def state(self) -> Any:
        return self.memory.state()


class RealBench:
    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        self.kernel: Kernel = Netlink()
        for name, host in (("eth0", "192.0.2.7/24"), ("eth1", "198.51.100.7/24")):
            namespace.ip("link", "add", name, "type", "veth", "peer", "name", f"{name}-far")
            namespace.ip("link", "set", name, "up")
            namespace.ip("link", "set", f"{name}-far", "up")
            namespace.ip("address", "add", host, "dev", name)
        namespace.ip("address", "add", "2001:db8::7/64", "dev", "eth0", "nodad")
        namespace.ip("route", "add", "default", "via", "192.0.2.1")
        self.kernel.write_sysctl("net/ipv4/conf/all/rp_filter", "1")

    def open_tun(self, undo: Undo) -> None:
        tun = TunDevice("mwb0")
        undo.push("interface mwb0", tun.close)

    def state(self) -> Any:
        shown = [["-4", "rule"], ["-6", "rule"]]
        shown += [[family, "route", "show", "table", "all"] for family in ("-4", "-6")]
        filters = [
            self.kernel.read_sysctl(f"net/ipv4/conf/{name}/rp_filter")
            for name in ("all", "eth0", "eth1")
        ]
        # Link-local and multicast routes come and go by themselves for a while.
        lines = [
            line
            for arguments in shown
            for line in self.namespace.ip(*arguments).splitlines()
            if "fe80" not in line and "multicast" not in line
        ]
        return sorted(lines), filters, sorted(link.name for link in self.kernel.links())


@pytest.fixture(params=[pytest.param("kernel", marks=pytest.mark.netns), "fake"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "fake":
        yield MemoryBench()
        return
    skip_without_kernel()
    with namespaces(1) as [namespace], namespace.entered():
        yield RealBench(namespace)


def bring_up(kernel: Kernel, open_tun: Callable[[Undo], None], directory: Path, undo: Undo) -> None:
    """Everything that a client with a full tunnel over two WANs changes."""
    routing = TunnelRouting("mwb0", kernel, directory)
    open_tun(undo)
    routing.configure_tun(ADDRESSES, 1400, undo)
    for wan_id, found in enumerate((FIBRE, LTE), 1):
        routing.route_wan(wan_id, found, undo)
    routing.route_wan(1, FIBRE6, undo)
    routing.block(undo)
    routing.route_tunnel(ROUTES, undo)
    for target in (ip_network("10.60.0.0/16"), ip_network("fd60::/32"), "eth1"):
        routing.bypass(target, undo)


def test_what_is_brought_up_can_be_taken_back(bench: Bench, tmp_path: Path) -> None:
    before = bench.state()

    with Undo() as undo:
        bring_up(bench.kernel, bench.open_tun, tmp_path, undo)
        during = bench.state()
        kept = undo.take()
    failures = kept.run()

    assert failures == []
    assert during != before
    assert bench.state() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_done_first", [False, True], ids=["before it acts", "after it acted"])
def test_a_failure_of_any_write_leaves_everything_as_it_was(
    bench: Bench, tmp_path: Path, is_done_first: bool
) -> None:
    before = bench.state()

    for writes_left in itertools.count():
        failing = FailingKernel(bench.kernel, writes_left=writes_left, is_done_first=is_done_first)
        undo = Undo()
        with suppress(PlatformError):
            bring_up(failing, bench.open_tun, tmp_path, undo)
        failing.disarm()
        failures = undo.run()

        assert failures == []
        assert bench.state() == before, f"after a failure of write {writes_left}"
        assert list(tmp_path.iterdir()) == []
        if not failing.has_failed:
            break

    assert writes_left > 20  # every write has failed once


def test_what_a_killed_daemon_left_is_found_by_the_name_alone(bench: Bench, tmp_path: Path) -> None:
    before = bench.state()
    device = Undo()  # the kernel deletes the device of a killed process

    def open_tun(undo: Undo) -> None:
        bench.open_tun(device)

    bring_up(bench.kernel, open_tun, tmp_path, Undo())
    device.run()

    removed = TunnelRouting("mwb0", bench.kernel, tmp_path).clean_up()

    assert bench.state() == before
    assert any("route 0.0.0.0/0 via 192.0.2.1 dev eth0" in line for line in removed)
    assert "net/ipv4/conf/eth0/rp_filter = 0" in removed
    assert TunnelRouting("mwb0", bench.kernel, tmp_path).clean_up() == []


def test_a_clean_up_leaves_other_tunnels_alone(bench: Bench, tmp_path: Path) -> None:
    undo = Undo()
    bring_up(bench.kernel, bench.open_tun, tmp_path, undo)
    before = bench.state()

    removed = TunnelRouting("mwb1", bench.kernel, tmp_path).clean_up()

    assert removed == []
    assert bench.state() == before
    undo.run()


def test_two_tunnels_over_one_wan_do_not_share_rules(bench: Bench, tmp_path: Path) -> None:
    one, other = Undo(), Undo()
    TunnelRouting("mwb0", bench.kernel, tmp_path).route_wan(1, FIBRE, one)
    with_one = bench.state()

    TunnelRouting("mwb1", bench.kernel, tmp_path).route_wan(1, FIBRE, other)
    other.run()

    assert bench.state()[0] == with_one[0]
    one.run()


def test_routing_a_wan_again_puts_back_what_was_lost(bench: Bench, tmp_path: Path) -> None:
    routing, undo = TunnelRouting("mwb0", bench.kernel, tmp_path), Undo()
    routing.route_wan(1, FIBRE, undo)
    before = bench.state()
    [route] = bench.kernel.tagged_routes()
    bench.kernel.delete_route(route)

    routing.route_wan(1, FIBRE, undo)

    assert bench.state() == before
    assert undo.run() == []


def test_a_full_tunnel_leaves_the_main_table_alone(bench: Bench, tmp_path: Path) -> None:
    undo = Undo()
    bring_up(bench.kernel, bench.open_tun, tmp_path, undo)

    by_tunnel = [route for route in bench.kernel.tagged_routes() if route.interface == "mwb0"]

    assert {str(route.prefix) for route in by_tunnel if route.table == 254} == {
        "10.50.0.0/16", "fd50::/48",
    }  # fmt: skip
    assert len({route.table for route in by_tunnel if not route.prefix.prefixlen}) == 1
    undo.run()


def test_a_tunnel_address_in_the_network_of_a_wan_is_refused(bench: Bench, tmp_path: Path) -> None:
    undo = Undo()
    bench.open_tun(undo)
    before = bench.state()
    routing = TunnelRouting("mwb0", bench.kernel, tmp_path)

    with pytest.raises(OverlapError, match=r"network 192\.0\.2\.0/24 of eth0") as refusal:
        routing.configure_tun([ip_interface("192.0.2.99/24")], 1400, undo)

    assert refusal.value.exit_code == 78
    assert bench.state() == before
    undo.run()


def test_a_route_into_the_tunnel_to_the_network_of_a_lan_is_refused(
    bench: Bench, tmp_path: Path
) -> None:
    undo = Undo()
    before = bench.state()
    routing = TunnelRouting("mwb0", bench.kernel, tmp_path)

    with pytest.raises(OverlapError, match=r"198\.51\.100\.0/24 is to be routed .* eth1"):
        routing.route_tunnel([ip_network("198.51.100.0/24")], undo)

    assert bench.state() == before


def test_a_wan_that_comes_with_the_tunnels_network_is_warned_of(
    bench: Bench, tmp_path: Path
) -> None:
    undo = Undo()
    bench.open_tun(undo)
    routing = TunnelRouting("mwb0", bench.kernel, tmp_path)
    routing.configure_tun(ADDRESSES, 1400, undo)
    bench.kernel.add_address("eth1", ip_interface("10.77.0.9/24"))

    assert routing.warning_of("eth0") is None
    assert "network 10.77.0.0/24 of eth1" in (routing.warning_of("eth1") or "")
    undo.run()


def test_a_wan_that_comes_with_the_tunnels_address_is_refused(bench: Bench, tmp_path: Path) -> None:
    undo = Undo()
    bench.open_tun(undo)
    routing = TunnelRouting("mwb0", bench.kernel, tmp_path)
    routing.configure_tun(ADDRESSES, 1400, undo)
    bench.kernel.add_address("eth1", ip_interface("10.77.0.2/16"))

    with pytest.raises(OverlapError, match=r"eth1 has 10\.77\.0\.2/16, the address of mwb0"):
        routing.warning_of("eth1")
    undo.run()


def test_a_route_that_is_there_already_is_refused(bench: Bench, tmp_path: Path) -> None:
    undo = Undo()
    bench.open_tun(undo)
    routing = TunnelRouting("mwb0", bench.kernel, tmp_path)
    routing.configure_tun(ADDRESSES, 1400, undo)
    there = Route(prefix=ip_network("10.50.0.0/16"), interface="eth0", metric=0, protocol=4)
    bench.kernel.add_route(there)
    before = bench.state()
    tunnel_routes = Undo()

    with pytest.raises(PlatformError, match=r"already another route 10\.50\.0\.0/16 dev mwb0"):
        routing.route_tunnel([ip_network("10.50.0.0/16")], tunnel_routes)
    tunnel_routes.run()

    assert bench.state() == before
    undo.run()


@pytest.mark.parametrize(
    ("all_interfaces", "own", "after"),
    [("1", "0", "2"), ("0", "1", "2"), ("0", "0", "0"), ("2", "1", "1"), ("1", "2", "2")],
)
def test_only_a_strict_check_of_ways_back_is_loosened(
    bench: Bench, tmp_path: Path, all_interfaces: str, own: str, after: str
) -> None:
    bench.kernel.write_sysctl("net/ipv4/conf/all/rp_filter", all_interfaces)
    bench.kernel.write_sysctl("net/ipv4/conf/eth0/rp_filter", own)
    undo = Undo()

    TunnelRouting("mwb0", bench.kernel, tmp_path).route_wan(1, FIBRE, undo)
    during = bench.kernel.read_sysctl("net/ipv4/conf/eth0/rp_filter")
    undo.run()

    assert during == after
    assert bench.kernel.read_sysctl("net/ipv4/conf/eth0/rp_filter") == own


def test_wans_in_one_network_answer_for_their_own_addresses_only(
    bench: Bench, tmp_path: Path
) -> None:
    bench.kernel.add_address("eth1", ip_interface("192.0.2.8/24"))
    twin = FoundWan(interface="eth1", gateway="192.0.2.1", local_host="192.0.2.8")
    before = bench.state(), arp(bench.kernel)
    routing, undo = TunnelRouting("mwb0", bench.kernel, tmp_path), Undo()

    for wan_id, found in enumerate((FIBRE, twin), 1):
        routing.route_wan(wan_id, found, undo)
    during = arp(bench.kernel)
    undo.run()

    assert during == {"eth0": ("1", "2"), "eth1": ("1", "2")}
    assert (bench.state(), arp(bench.kernel)) == before


def test_wans_in_networks_of_their_own_are_left_as_they_are(bench: Bench, tmp_path: Path) -> None:
    undo = Undo()
    before = arp(bench.kernel)

    for wan_id, found in enumerate((FIBRE, LTE), 1):
        TunnelRouting("mwb0", bench.kernel, tmp_path).route_wan(wan_id, found, undo)

    assert arp(bench.kernel) == before
    undo.run()


def test_what_was_set_for_a_wan_that_came_later_is_put_back_with_the_tunnel(
    bench: Bench, tmp_path: Path
) -> None:
    before = bench.state(), arp(bench.kernel)
    routing, undo = TunnelRouting("mwb0", bench.kernel, tmp_path), Undo()
    bench.open_tun(undo)
    routing.configure_tun(ADDRESSES, 1400, undo)
    routing.route_wan(1, FIBRE, undo)
    bench.kernel.add_address("eth1", ip_interface("192.0.2.8/24"))

    again = Undo()
    routing.route_wan(1, FIBRE, again)
    again.commit()
    bench.kernel.delete_address("eth1", ip_interface("192.0.2.8/24"))
    undo.run()

    assert (bench.state(), arp(bench.kernel)) == before


def arp(kernel: Kernel) -> dict[str, tuple[str | None, ...]]:
    return {
        name: tuple(
            kernel.read_sysctl(f"net/ipv4/conf/{name}/{setting}")
            for setting in ("arp_ignore", "arp_announce")
        )
        for name in ("eth0", "eth1")
    }


def test_without_ipv6_in_the_kernel_its_parts_are_left_out_and_named(tmp_path: Path) -> None:
    kernel, undo = FakeKernel(has_ipv6=False), Undo()
    kernel.add_link("mwb0", kind="tun", is_up=False)
    routing = TunnelRouting("mwb0", kernel, tmp_path)

    skipped = routing.configure_tun(ADDRESSES, 1400, undo) + routing.route_tunnel(ROUTES, undo)

    assert skipped == [
        "address fd77::2/64: this kernel has no IPv6",
        "route ::/0: this kernel has no IPv6",
        "route fd50::/48: this kernel has no IPv6",
    ]
    assert {rule.version for rule in kernel.tagged_rules()} == {4}


def test_ipv6_that_is_switched_off_is_switched_on_for_the_tunnel_only(tmp_path: Path) -> None:
    kernel = FakeKernel()
    kernel.add_link("mwb0", kind="tun", is_up=False)
    kernel.write_sysctl("net/ipv6/conf/mwb0/disable_ipv6", "1")

    TunnelRouting("mwb0", kernel, tmp_path).configure_tun(ADDRESSES, 1400, Undo())

    assert kernel.read_sysctl("net/ipv6/conf/mwb0/disable_ipv6") == "0"


def test_a_device_that_is_not_ours_survives_the_clean_up(tmp_path: Path) -> None:
    kernel = FakeKernel()
    kernel.add_link("mwb0", kind="tun")

    removed = TunnelRouting("mwb0", kernel, tmp_path).clean_up()

    assert removed == []
    assert "mwb0" in {link.name for link in kernel.links()}


def test_a_device_of_ours_that_was_left_is_removed(tmp_path: Path) -> None:
    kernel = FakeKernel()
    kernel.add_link("mwb0", kind="tun")
    routing = TunnelRouting("mwb0", kernel, tmp_path)
    routing.configure_tun(ADDRESSES, 1400, Undo())

    removed = routing.clean_up()

    assert removed == ["interface mwb0"]


def test_tunnels_with_numbered_names_never_share_a_number(tmp_path: Path) -> None:
    numbers = {number_of(f"mwb{n}") for n in range(1000)}

    assert len(numbers) == 1000
    assert all(0 <= number < 10_000 for number in numbers)
    assert len({TunnelRouting(f"mwb{n}", FakeKernel(), tmp_path).mark for n in range(1000)}) == 1000


def test_marks_stay_out_of_the_bits_that_others_use(tmp_path: Path) -> None:
    used_by_others = 0x00FFFF00  # Tailscale ff0000, Kubernetes c000, mwan3 3f00, Cilium f00

    marks = [TunnelRouting(f"mwb{n}", FakeKernel(), tmp_path).mark for n in range(1000)]

    assert all(mark and not mark & used_by_others for mark in marks)


def test_rules_read_like_the_command_that_shows_them() -> None:
    rule = Rule(version=4, priority=7700, table=254, source="192.0.2.7", suppress_prefixlen=0)

    assert str(rule) == "rule 7700: from 192.0.2.7 table 254 suppress_prefixlength 0"


def test_groups_lead_into_the_tunnel_while_it_is_a_multicast_router(
    bench: Bench, tmp_path: Path
) -> None:
    before = bench.state()
    routing = TunnelRouting("mwb0", bench.kernel, tmp_path)

    with Undo() as undo:
        bench.open_tun(undo)
        routing.configure_tun(ADDRESSES, 1400, undo)
        routing.route_multicast(undo)
        routed = {
            (str(route.prefix), route.interface)
            for route in bench.kernel.tagged_routes()
            if route.prefix.is_multicast
        }
        kept = undo.take()
    failures = kept.run()

    assert routed == {("224.0.0.0/4", "mwb0"), ("ff00::/8", "mwb0")}
    assert failures == []
    assert bench.state() == before


def test_a_block_outlives_a_killed_daemon_until_it_is_cleaned_up(
    bench: Bench, tmp_path: Path
) -> None:
    before = bench.state()
    routing = TunnelRouting("mwb0", bench.kernel, tmp_path)
    routing.block(Undo())
    blocked = bench.state()
    routing.route_wan(1, FIBRE, Undo())

    TunnelRouting("mwb0", bench.kernel, tmp_path).clean_up(keeps_block=True)
    kept = bench.state()
    TunnelRouting("mwb0", bench.kernel, tmp_path).block(Undo())
    again = bench.state()
    TunnelRouting("mwb0", bench.kernel, tmp_path).clean_up()

    assert blocked != before
    assert (kept, again) == (blocked, blocked)
    assert bench.state() == before


def test_keeping_a_block_keeps_nothing_of_a_tunnel_that_blocks_nothing(
    bench: Bench, tmp_path: Path
) -> None:
    before = bench.state()
    routing = TunnelRouting("mwb0", bench.kernel, tmp_path)
    device = Undo()
    bench.open_tun(device)
    routing.configure_tun(ADDRESSES, 1400, Undo())
    routing.route_tunnel([ip_network("0.0.0.0/0"), ip_network("::/0")], Undo())
    device.run()

    removed = TunnelRouting("mwb0", bench.kernel, tmp_path).clean_up(keeps_block=True)

    assert removed
    assert bench.state() == before
