"""What overlaps with the tunnel's networks, and what of it does harm."""

from ipaddress import ip_interface, ip_network

import pytest

from multiwanbond.linux.fake_kernel import FakeKernel
from multiwanbond.linux.kernel import Route
from multiwanbond.linux.overlaps import Overlap, Surroundings


def machine(address: str, gateway: str | None = None) -> FakeKernel:
    """A machine with one interface beside its tunnel mwb0."""
    kernel = FakeKernel()
    for name in ("eth0", "mwb0"):
        kernel.add_link(name)
    kernel.add_address("eth0", ip_interface(address))
    kernel.add_address("mwb0", ip_interface("10.77.0.2/24"))
    if gateway is not None:
        everything = ip_network("0.0.0.0/0")
        kernel.add_route(
            Route(prefix=everything, interface="eth0", gateway=gateway, metric=0, protocol=4)
        )
    return kernel


def of_address(kernel: FakeKernel, wanted: str) -> list[Overlap]:
    return list(Surroundings(kernel, tunnel="mwb0").in_the_way_of(ip_interface(wanted)))


@pytest.mark.parametrize(
    ("there", "gateway", "wanted", "said"),
    [
        ("10.77.0.2/24", None, "10.77.0.2/24", "is that of eth0 already"),
        ("10.77.0.2/16", None, "10.77.0.2/24", "is that of eth0 already"),
        ("10.77.0.9/24", None, "10.77.0.2/24", "its neighbours would be"),
        ("10.77.0.9/16", None, "10.77.0.2/24", "its neighbours would be"),
        ("10.77.9.9/16", "10.77.0.1", "10.77.0.2/24", "its neighbours would be"),
        ("10.77.0.9/24", None, "10.77.0.2/16", "the tunnel's other end would be"),
        ("fd77::9/64", None, "fd77::2/64", "its neighbours would be"),
    ],
    ids=lambda value: None,
)
def test_what_takes_somebodys_way_does_harm(
    there: str, gateway: str | None, wanted: str, said: str
) -> None:
    (overlap,) = of_address(machine(there, gateway), wanted)

    assert overlap.is_harmful
    assert f"The tunnel address {wanted} is" in overlap.problem
    assert "eth0" in overlap.problem
    assert said in overlap.problem


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ("10.77.9.9/16", "10.77.0.2/24"),  # part of a large network, where nobody is known to be
        ("10.77.9.9/24", "10.77.0.2/16"),  # and the other way round
    ],
)
def test_a_narrower_network_within_a_wider_one_is_only_mentioned(there: str, wanted: str) -> None:
    (overlap,) = of_address(machine(there), wanted)

    assert not overlap.is_harmful
    assert "overlaps" in overlap.problem


def test_networks_apart_and_those_of_the_other_ip_version_are_not_mentioned() -> None:
    assert of_address(machine("10.78.0.9/24"), "10.77.0.2/24") == []
    assert of_address(machine("fd77::9/64"), "10.77.0.2/24") == []


@pytest.mark.parametrize(
    ("there", "gateway", "prefix", "does_harm"),
    [
        ("192.168.1.5/24", None, "192.168.1.0/24", [True]),  # the same network at both ends
        ("192.168.1.5/24", None, "192.168.1.0/28", [False]),  # may be meant
        ("192.168.1.200/24", "192.168.1.1", "192.168.1.0/28", [False]),
        ("192.168.1.200/24", None, "192.168.1.0/28", []),
        ("10.1.2.3/24", "10.1.2.1", "10.0.0.0/8", []),  # as with any tunnel
        ("10.1.2.3/24", "10.1.2.1", "0.0.0.0/0", []),
        ("10.1.2.3/32", None, "10.1.2.3/32", []),  # our own address stays our own
    ],
    ids=lambda value: None,
)
def test_a_route_does_harm_that_is_to_a_network_the_machine_is_in(
    there: str, gateway: str | None, prefix: str, does_harm: list[bool]
) -> None:
    surroundings = Surroundings(machine(there, gateway), tunnel="mwb0")

    found = list(surroundings.in_the_way_of_route(ip_network(prefix)))

    assert [overlap.is_harmful for overlap in found] == does_harm


def test_one_interface_can_be_looked_at_alone() -> None:
    kernel = machine("10.77.0.9/24")
    kernel.add_link("wwan0")

    only = Surroundings(kernel, tunnel="mwb0", interface="wwan0")

    assert list(only.in_the_way_of(ip_interface("10.77.0.2/24"))) == []
