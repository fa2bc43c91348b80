"""Netlink facts that only a kernel can show: refusals in words, several gateways, no privileges."""

import os
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from multiwanbond.errors import PlatformError
from multiwanbond.linux.kernel import Route, Rule
from multiwanbond.linux.netlink import Netlink
from tests.linux.namespaces import Namespace, namespaces, skip_without_kernel

pytestmark = pytest.mark.netns


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    skip_without_kernel()
    with namespaces(1) as [made]:
        for number in (0, 1):
            made.ip("link", "add", f"d{number}", "type", "veth", "peer", "name", f"far{number}")
            made.ip("link", "set", f"d{number}", "up")
            made.ip("link", "set", f"far{number}", "up")
            made.ip("address", "add", f"192.0.{number + 2}.7/24", "dev", f"d{number}")
        with made.entered():
            yield made


def test_a_route_over_several_gateways_is_a_route_for_each(namespace: Namespace) -> None:
    hops = ["nexthop", "via", "192.0.2.1", "nexthop", "via", "192.0.3.1"]
    namespace.ip("route", "add", "default", *hops)

    routes = Netlink().default_routes()

    assert [(r.interface, r.gateway) for r in routes] == [("d0", "192.0.2.1"), ("d1", "192.0.3.1")]


def test_routes_that_lead_nowhere_are_not_listed(namespace: Namespace) -> None:
    namespace.ip("route", "add", "unreachable", "default", "metric", "9")

    assert Netlink().default_routes() == []


def test_a_gateway_outside_the_network_of_its_interface_is_taken(namespace: Namespace) -> None:
    route = Route(prefix=ip_network("0.0.0.0/0"), interface="d0", gateway="10.64.64.64", metric=5)

    Netlink().add_route(route)

    assert Netlink().tagged_routes() == [route]


def test_rules_and_routes_are_seen_by_the_ip_command(namespace: Namespace) -> None:
    netlink = Netlink()
    netlink.add_route(
        Route(
            prefix=ip_network("0.0.0.0/0"),
            interface="d0",
            table=77_000_001,
            gateway="192.0.2.1",
            metric=0,
        )
    )
    netlink.add_rule(
        Rule(version=4, priority=7700, table=254, source="192.0.2.7", suppress_prefixlen=0)
    )
    netlink.add_rule(
        Rule(
            version=4,
            priority=7711,
            table=77_000_001,
            mark=0x01000007,
            mark_mask=0xFFFFFFFF,
            is_inverted=True,
        )
    )

    rules = namespace.ip("rule").splitlines()
    routes = namespace.ip("route", "show", "table", "77000001").splitlines()

    assert [" ".join(rule.split()) for rule in rules[1:3]] == [
        "7700: from 192.0.2.7 lookup main suppress_prefixlength 0 proto 77",
        "7711: not from all fwmark 0x1000007 lookup 77000001 proto 77",
    ]
    assert [route.strip() for route in routes] == [
        "default via 192.0.2.1 dev d0 proto 77 onlink",
    ]


def test_a_refusal_says_why_and_how_to_look(namespace: Namespace) -> None:
    route = Route(
        prefix=ip_network("10.0.0.0/8"), interface="d0", gateway="224.0.0.1", metric=0, table=77
    )

    with pytest.raises(PlatformError, match="invalid gateway") as caught:
        Netlink().add_route(route)

    assert caught.value.remedy == "See 'ip -4 route show table 77'."


def test_temporary_addresses_are_not_for_wans(namespace: Namespace) -> None:
    namespace.ip("address", "add", "2001:db8::7/64", "dev", "d0", "nodad", "preferred_lft", "0")
    namespace.ip("address", "add", "2001:db8::8/64", "dev", "d0", "nodad")

    usable = {
        str(there.address.ip)
        for there in Netlink().addresses()
        if there.is_usable and there.address.version == 6
    }

    assert usable == {"2001:db8::8"}


UNPRIVILEGED = """
import os
from ipaddress import ip_interface
from multiwanbond.errors import PrivilegeError
from multiwanbond.linux.kernel import Rule
from multiwanbond.linux.netlink import Netlink
os.setgroups([]); os.setgid(65534); os.setuid(65534)
netlink = Netlink()
for step in (
    lambda: netlink.set_link("d0", mtu=1400),
    lambda: netlink.add_address("d0", ip_interface("10.0.0.1/24")),
    lambda: netlink.add_rule(Rule(version=4, priority=7700, table=254)),
    lambda: netlink.write_sysctl("net/ipv4/conf/d0/rp_filter", "2"),
):
    try:
        step()
    except PrivilegeError as error:
        print(error.problem)
"""


def test_without_privileges_nothing_is_changed_and_all_is_said(namespace: Namespace) -> None:
    result = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED], capture_output=True, text=True, check=False
    )

    assert result.stderr == ""
    assert [line.partition(" not permitted")[0] for line in result.stdout.splitlines()] == [
        "Setting interface d0 mtu 1400 is",
        "Setting address 10.0.0.1/24 on d0 is",
        "Setting rule 7700: from all table 254 is",
        "Setting net/ipv4/conf/d0/rp_filter to 2 is",
    ]
    assert "mtu 1500" in namespace.ip("link", "show", "d0")


def test_no_descriptor_is_left_open(namespace: Namespace) -> None:
    netlink = Netlink()
    netlink.links()
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(20):
        netlink.tagged_rules()

    assert len(os.listdir("/proc/self/fd")) == before
