"""Which interfaces have hosts: not the tunnel, not a WAN, unless the operator says so."""

from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest

from multiwanbond.linux.fake_kernel import FakeKernel
from multiwanbond.linux.kernel import Route
from multiwanbond.linux.lans import LanFinder
from multiwanbond.linux.multicast import own_groups


@pytest.fixture
def kernel() -> FakeKernel:
    """A router: two WANs, a LAN, a tunnel, and a cable nobody uses."""
    kernel = FakeKernel()
    for name, address in (
        ("fibre", "192.0.2.7/24"),
        ("lte", "198.51.100.7/24"),
        ("lan", "10.0.0.1/24"),
    ):
        kernel.add_link(name)
        kernel.add_address(name, ip_interface(address))
    kernel.add_address("lan", ip_interface("fe80::1/64"))
    kernel.add_link("spare")
    kernel.add_link("mwb0", kind="tun", is_point_to_point=True)
    kernel.add_address("mwb0", ip_interface("10.77.0.2/24"))
    default = ip_network("0.0.0.0/0")
    kernel.add_route(
        Route(prefix=default, interface="fibre", gateway="192.0.2.1", metric=100, protocol=3)
    )
    return kernel


def find(
    kernel: FakeKernel, names: tuple[str, ...] | None = None, wans: tuple[str, ...] = ()
) -> list[str]:
    return [lan.name for lan in LanFinder(kernel, tunnel="mwb0", names=names, wans=wans).find()]


def test_an_interface_with_an_address_and_no_default_route_has_hosts(kernel: FakeKernel) -> None:
    assert find(kernel) == ["lte", "lan"]


@pytest.mark.parametrize("wan", ["lte", "198.51.100.7"])
def test_a_wan_of_the_configuration_has_none(kernel: FakeKernel, wan: str) -> None:
    assert find(kernel, wans=(wan,)) == ["lan"]


def test_the_operator_may_name_any_interface_but_the_tunnel(kernel: FakeKernel) -> None:
    finder = LanFinder(kernel, tunnel="mwb0", names=("fibre", "mwb0", "eth9"), wans=("fibre",))

    assert [lan.name for lan in finder.find()] == ["fibre"]
    assert finder.missing() == ["eth9"]
    assert find(kernel, names=()) == []


def test_routers_of_a_lan_know_us_by_our_address_there(kernel: FakeKernel) -> None:
    [lan] = LanFinder(kernel, tunnel="mwb0", names=None, wans=("lte",)).find()

    assert lan.address(4) == ip_interface("10.0.0.1/24").ip.packed
    assert lan.address(6) == ip_interface("fe80::1/64").ip.packed


def test_what_programs_have_joined_is_read_from_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "igmp").write_text(
        "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"
        "1\tlo        :     1      V3\n"
        "\t\t\t\t010000E0     1 0:00000000\t\t0\n"
        "4\teth0      :     2      V3\n"
        "\t\t\t\t01014DEF     1 0:00000000\t\t0\n"
        "\t\t\t\t010000E0     1 0:00000000\t\t0\n"
    )
    (tmp_path / "igmp6").write_text(
        "4    eth0            ff050000000000000000000000770001     1 00000004 0\n"
    )

    found = own_groups(tmp_path)

    assert found[1] == {bytes([224, 0, 0, 1])}
    assert bytes([239, 77, 1, 1]) in found[4]
    assert ip_interface("ff05::77:1").ip.packed in found[4]
