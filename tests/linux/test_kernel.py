"""The contract of the kernel's network configuration, held by the real one and the fake."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest

from multiwanbond.errors import PlatformError
from multiwanbond.linux.fake_kernel import FakeKernel
from multiwanbond.linux.kernel import Kernel, Route, Rule
from multiwanbond.linux.netlink import Netlink

from .namespaces import namespaces, skip_without_kernel


@pytest.fixture(params=[pytest.param("kernel", marks=pytest.mark.netns), "fake"])
def kernel(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    """A kernel with one interface besides lo, "d0", that is up."""
    if request.param == "fake":
        fake = FakeKernel()
        fake.add_link("d0", kind="veth")
        yield fake
        return
    skip_without_kernel()
    with namespaces(1) as [namespace]:
        namespace.ip("link", "add", "d0", "type", "veth", "peer", "name", "d1")
        namespace.ip("link", "set", "d0", "up")
        namespace.ip("link", "set", "d1", "up")
        with namespace.entered():
            yield Netlink()


ROUTES = [
    Route(prefix=ip_network("10.9.0.0/16"), interface="d0", metric=0),
    Route(prefix=ip_network("0.0.0.0/0"), interface="d0", table=77_000_001, metric=0),
    Route(
        prefix=ip_network("0.0.0.0/0"),
        interface="d0",
        table=77_000_002,
        gateway="192.0.2.1",
        metric=0,
    ),
    Route(prefix=ip_network("fd09::/48"), interface="d0", metric=1024),
    Route(
        prefix=ip_network("::/0"),
        interface="d0",
        table=77_000_001,
        gateway="fe80::1",
        metric=1024,
    ),
    Route(
        prefix=ip_network("0.0.0.0/0"),
        interface="d0",
        table=77_000_003,
        gateway="fe80::1",
        metric=0,
    ),
    Route(
        prefix=ip_network("0.0.0.0/0"),
        interface="lo",
        table=77_000_004,
        metric=4_278_198_272,
        is_refusal=True,
    ),
    Route(
        prefix=ip_network("::/0"),
        interface="lo",
        table=77_000_004,
        metric=4_278_198_272,
        is_refusal=True,
    ),
]

RULES = [
    Rule(version=4, priority=7700, table=254, source="192.0.2.7", suppress_prefixlen=0, mark=7),
    Rule(version=4, priority=7701, table=77_000_001, source="192.0.2.7", mark=7),
    Rule(
        version=4,
        priority=7711,
        table=77_000_000,
        mark=0x01000007,
        mark_mask=0xFFFFFFFF,
        is_inverted=True,
    ),
    Rule(version=6, priority=7700, table=254, source="fd00::7", suppress_prefixlen=0, mark=7),
    Rule(version=4, priority=7709, table=77_000_000, mark=7, transport=17, port=53),
    Rule(version=6, priority=7709, table=77_000_000, mark=7, transport=6, port=853),
]


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_a_route_is_there_once_added_and_gone_once_deleted(kernel: Kernel, route: Route) -> None:
    kernel.add_route(route)
    kernel.add_route(route)
    during = kernel.tagged_routes()
    kernel.delete_route(route)
    kernel.delete_route(route)

    assert during == [route]
    assert kernel.tagged_routes() == []


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_rule_is_there_once_added_and_gone_once_deleted(kernel: Kernel, rule: Rule) -> None:
    kernel.add_rule(rule)
    kernel.add_rule(rule)
    during = kernel.tagged_rules()
    kernel.delete_rule(rule)
    kernel.delete_rule(rule)

    assert during == [rule]
    assert kernel.tagged_rules() == []


def test_rules_that_differ_only_in_their_label_live_side_by_side(kernel: Kernel) -> None:
    other = replace(RULES[0], mark=8)
    kernel.add_rule(RULES[0])
    kernel.add_rule(other)

    kernel.delete_rule(RULES[0])

    assert kernel.tagged_rules() == [other]


def test_a_route_of_somebody_else_is_neither_taken_over_nor_deleted(kernel: Kernel) -> None:
    foreign = Route(prefix=ip_network("0.0.0.0/0"), interface="d0", metric=0, protocol=4)
    kernel.add_route(foreign)
    ours = replace(foreign, protocol=77)

    with pytest.raises(PlatformError, match=r"already another route 0\.0\.0\.0/0"):
        kernel.add_route(ours)
    kernel.delete_route(ours)

    assert kernel.default_routes() == [foreign]
    assert kernel.tagged_routes() == []


def test_default_routes_come_best_first(kernel: Kernel) -> None:
    worse = Route(prefix=ip_network("0.0.0.0/0"), interface="d0", metric=200)
    better = replace(worse, metric=100)
    kernel.add_route(worse)
    kernel.add_route(better)

    assert kernel.default_routes() == [better, worse]


@pytest.mark.parametrize("text", ["10.77.0.2/24", "10.77.0.2/32", "fd77::2/64"])
def test_an_address_is_there_once_added_and_gone_once_deleted(kernel: Kernel, text: str) -> None:
    address = ip_interface(text)

    kernel.add_address("d0", address)
    kernel.add_address("d0", address)
    during = [a for a in kernel.addresses() if a.address == address]
    kernel.delete_address("d0", address)
    kernel.delete_address("d0", address)

    assert [(a.interface, a.is_usable) for a in during] == [("d0", True)]
    assert not [a for a in kernel.addresses() if a.address == address]


def test_a_link_takes_mtu_alias_and_state(kernel: Kernel) -> None:
    kernel.set_link("d0", mtu=1400, alias="multiwanbond", is_up=False)

    [link] = [link for link in kernel.links() if link.name == "d0"]
    assert (link.mtu, link.alias, link.is_up, link.kind) == (1400, "multiwanbond", False, "veth")


def test_a_deleted_link_takes_its_routes_along(kernel: Kernel) -> None:
    kernel.add_route(ROUTES[1])

    kernel.delete_link("d0")
    kernel.delete_link("d0")
    kernel.delete_route(ROUTES[1])

    assert kernel.tagged_routes() == []
    assert "d0" not in {link.name for link in kernel.links()}


def test_what_is_on_no_interface_is_refused_by_name(kernel: Kernel) -> None:
    with pytest.raises(PlatformError, match="no interface 'eth7'"):
        kernel.add_route(replace(ROUTES[0], interface="eth7"))
    with pytest.raises(PlatformError, match="no interface 'eth7'"):
        kernel.add_address("eth7", ip_interface("10.0.0.1/24"))
    with pytest.raises(PlatformError, match="no interface 'eth7'"):
        kernel.set_link("eth7", is_up=True)


def test_a_route_by_an_interface_that_is_down_fails(kernel: Kernel) -> None:
    kernel.set_link("d0", is_up=False)

    with pytest.raises(PlatformError, match="is not up"):
        kernel.add_route(ROUTES[0])


def test_settings_are_read_and_written(kernel: Kernel) -> None:
    kernel.write_sysctl("net/ipv4/conf/d0/rp_filter", "2")

    assert kernel.read_sysctl("net/ipv4/conf/d0/rp_filter") == "2"
    assert kernel.read_sysctl("net/ipv4/conf/eth7/rp_filter") is None
