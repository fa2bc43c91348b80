"""Which uplinks are found, and what is said where one is not."""

import re
from ipaddress import ip_interface, ip_network

import pytest

from multiwanbond.errors import PlatformError
from multiwanbond.linux.fake_kernel import FakeKernel
from multiwanbond.linux.kernel import Route
from multiwanbond.linux.netlink import Netlink
from multiwanbond.linux.wans import FoundWan, Uplinks

from .namespaces import namespaces, skip_without_kernel

DHCP, RA = 16, 9  # protocol numbers of other people's routes


def default(interface: str, gateway: str | None, metric: int, *, table: int = 254) -> Route:
    is_ipv6 = gateway is not None and ":" in gateway
    return Route(
        prefix=ip_network("::/0" if is_ipv6 else "0.0.0.0/0"),
        interface=interface,
        gateway=gateway,
        metric=metric,
        table=table,
        protocol=RA if is_ipv6 else DHCP,
    )


@pytest.fixture
def kernel() -> FakeKernel:
    """A router with fibre (both IP versions), an LTE stick, and a LAN."""
    kernel = FakeKernel()
    for name, hosts in (
        ("eth0", ["192.0.2.7/24", "fe80::7/64", "2001:db8::7/64"]),
        ("wwan0", ["192.168.8.100/24"]),
        ("lan0", ["10.0.0.1/24"]),
    ):
        kernel.add_link(name)
        for host in hosts:
            kernel.add_address(name, ip_interface(host))
    kernel.add_route(default("wwan0", "192.168.8.1", 200))
    kernel.add_route(default("eth0", "192.0.2.1", 100))
    kernel.add_route(default("eth0", "fe80::1", 1024))
    return kernel


FIBRE = FoundWan(interface="eth0", gateway="192.0.2.1", local_host="192.0.2.7")
FIBRE6 = FoundWan(interface="eth0", gateway="fe80::1", local_host="2001:db8::7")
LTE = FoundWan(interface="wwan0", gateway="192.168.8.1", local_host="192.168.8.100")


def locate(
    kernel: FakeKernel,
    interface: str | None = None,
    local_host: str | None = None,
    version: int = 4,
) -> FoundWan:
    uplinks = Uplinks(kernel, tunnel="mwb0")
    return uplinks.locate(interface=interface, local_host=local_host, version=version)


def test_interfaces_with_a_default_route_are_uplinks_best_first(kernel: FakeKernel) -> None:
    assert Uplinks(kernel, tunnel="mwb0").discover() == [FIBRE, LTE]


def test_the_tunnel_itself_and_our_own_routes_are_no_uplinks(kernel: FakeKernel) -> None:
    kernel.add_link("mwb0", kind="tun")
    kernel.add_address("mwb0", ip_interface("10.77.0.2/24"))
    kernel.add_route(default("mwb0", None, 0))
    kernel.add_route(Route(prefix=ip_network("0.0.0.0/0"), interface="lan0", metric=0, table=77))

    assert Uplinks(kernel, tunnel="mwb0").discover() == [FIBRE, LTE]


def test_an_interface_without_carrier_is_not_found_now(kernel: FakeKernel) -> None:
    kernel.set_carrier("eth0", is_there=False)

    assert Uplinks(kernel, tunnel="mwb0").discover() == [LTE]
    with pytest.raises(PlatformError, match="'eth0' has no carrier"):
        locate(kernel, "eth0")


def test_an_interface_with_ipv6_only_is_an_uplink() -> None:
    kernel = FakeKernel()
    kernel.add_link("eth0")
    kernel.add_address("eth0", ip_interface("2001:db8::7/64"))
    kernel.add_route(default("eth0", "fe80::1", 1024))

    assert Uplinks(kernel, tunnel="mwb0").discover() == [FIBRE6]


def test_the_source_a_route_prefers_is_the_address_of_the_wan(kernel: FakeKernel) -> None:
    kernel.add_link("eth9")
    for host in ("203.0.113.1/24", "203.0.113.2/24"):
        kernel.add_address("eth9", ip_interface(host))
    kernel.add_route(
        Route(
            prefix=ip_network("0.0.0.0/0"),
            interface="eth9",
            gateway="203.0.113.254",
            metric=50,
            protocol=DHCP,
            source="203.0.113.2",
        )
    )

    assert Uplinks(kernel, tunnel="mwb0").discover()[0].local_host == "203.0.113.2"
    assert locate(kernel, "eth9").local_host == "203.0.113.2"


@pytest.mark.parametrize(
    ("interface", "local_host", "version", "found"),
    [
        ("eth0", None, 4, FIBRE),
        ("eth0", None, 6, FIBRE6),
        (None, "192.168.8.100", 4, LTE),
        ("eth0", "192.0.2.7", 4, FIBRE),
        ("eth0", "192.0.2.7", 6, FIBRE6),
        (None, "2001:db8:0::7", 6, FoundWan(
            interface="eth0", gateway="fe80::1", local_host="2001:db8:0::7")),
    ],
)  # fmt: skip
def test_a_configured_wan_is_found(
    kernel: FakeKernel, interface: str | None, local_host: str | None, version: int, found: FoundWan
) -> None:
    assert locate(kernel, interface, local_host, version) == found


def test_a_gateway_is_also_found_in_other_tables(kernel: FakeKernel) -> None:
    kernel.add_route(default("lan0", "10.0.0.254", 0, table=100))

    assert locate(kernel, "lan0").gateway == "10.0.0.254"


def test_an_interface_without_default_route_has_no_gateway(kernel: FakeKernel) -> None:
    assert locate(kernel, "lan0") == FoundWan(interface="lan0", gateway=None, local_host="10.0.0.1")


@pytest.mark.parametrize(
    ("interface", "local_host", "version", "problem"),
    [
        ("eth7", None, 4, "There is no interface 'eth7'. Present: eth0, lan0, wwan0."),
        (None, "10.9.9.9", 4, "No interface has the address 10.9.9.9. Present: 10.0.0.1 (lan0), "
            "192.0.2.7 (eth0), 192.168.8.100 (wwan0), 2001:db8::7 (eth0)."),
        ("eth0", "10.9.9.9", 4, "'eth0' does not have the address 10.9.9.9. It has: 192.0.2.7,"),
        ("wwan0", None, 6, "The interface 'wwan0' has no IPv6 address (yet)."),
    ],
)  # fmt: skip
def test_what_is_missing_is_said(
    kernel: FakeKernel, interface: str | None, local_host: str | None, version: int, problem: str
) -> None:
    with pytest.raises(PlatformError, match=re.escape(problem)):
        locate(kernel, interface, local_host, version)


def test_an_interface_that_is_down_says_how_to_set_it_up(kernel: FakeKernel) -> None:
    kernel.set_link("eth0", is_up=False)

    with pytest.raises(PlatformError, match=r"'eth0' is down.*ip link set eth0 up"):
        locate(kernel, "eth0")


@pytest.mark.parametrize(
    "pattern",
    ["enx*", "enx0c5b8f27????", "mac:0c:5b:8f:*", "driver:cdc_ether", "mac:0c:5b:8f:27:*"],
)
def test_an_interface_is_known_by_a_pattern_of_name_mac_or_driver(
    kernel: FakeKernel, pattern: str
) -> None:
    for name, mac, driver in (
        ("enx0c5b8f279a64", "0c:5b:8f:27:9a:64", "cdc_ether"),
        ("enp3s0", "70:85:c2:00:00:01", "igb"),
    ):
        kernel.add_link(name, mac=mac, driver=driver)
        kernel.add_address(name, ip_interface("192.168.9.100/24"))

    assert locate(kernel, pattern).interface == "enx0c5b8f279a64"


def test_of_several_that_fit_the_first_that_is_plugged_in_is_taken(kernel: FakeKernel) -> None:
    for number in range(3):
        kernel.add_link(f"usb{number}", driver="rndis_host")
        kernel.add_address(f"usb{number}", ip_interface(f"192.168.4{number}.2/24"))
    kernel.set_carrier("usb0", is_there=False)

    assert locate(kernel, "driver:rndis*").interface == "usb1"


def test_a_pattern_that_fits_nothing_is_named_with_what_is_there(kernel: FakeKernel) -> None:
    with pytest.raises(
        PlatformError, match=r"no interface 'mac:aa:\*'\. Present: eth0, lan0, wwan0"
    ):
        locate(kernel, "mac:aa:*")


def test_an_interface_without_hardware_fits_no_pattern_of_it(kernel: FakeKernel) -> None:
    with pytest.raises(PlatformError):
        locate(kernel, "driver:*")


@pytest.mark.netns
def test_the_kernel_tells_the_mac_address() -> None:
    skip_without_kernel()
    with namespaces(1) as [namespace]:
        mac = "0e:5b:8f:27:9a:64"
        namespace.ip("link", "add", "x0", "address", mac, "type", "veth", "peer", "name", "x1")
        namespace.ip("address", "add", "192.0.2.7/24", "dev", "x0")
        namespace.ip("link", "set", "x0", "up")
        namespace.ip("link", "set", "x1", "up")
        with namespace.entered():
            uplinks = Uplinks(Netlink(), tunnel="mwb0")

        found = uplinks.locate(interface="mac:0e:5b:8f:*", local_host=None, version=4)

    assert (found.interface, found.local_host) == ("x0", "192.0.2.7")
