"""What is done for other hosts: the switches, the table, and that all of it is taken back."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest

from multiwanbond.config.gateway import Forward, PortForward, Target, Transport
from multiwanbond.config.traffic_notations import PortRange
from multiwanbond.errors import PlatformError
from multiwanbond.linux.fake_kernel import FakeKernel
from multiwanbond.linux.gateway import Gateway, GatewayWish
from multiwanbond.linux.kernel import Kernel
from multiwanbond.linux.netlink import Netlink
from multiwanbond.linux.undo import Undo

from .namespaces import namespaces, skip_without_kernel

SERVER = GatewayWish(
    is_server=True,
    forward=Forward.AUTO,
    masquerade=True,
    client_to_client=False,
    port_forwards=(
        PortForward(port=PortRange(443, 443), to=Target(ip_address("10.77.0.2"), 8443)),
        PortForward(
            port=PortRange(5000, 5010), to=Target(ip_address("fd77::2")), protocol=Transport.BOTH
        ),
    ),
    addresses=(ip_interface("10.77.0.1/24"), ip_interface("fd77::1/64")),
)
CLIENT = replace(SERVER, is_server=False, port_forwards=())


@pytest.fixture(params=[pytest.param("kernel", marks=pytest.mark.netns), "fake"])
def kernel(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    """A kernel with an interface "eth0" that listens to routers."""
    if request.param == "fake":
        fake = FakeKernel()
        fake.add_link("eth0")
        yield fake
        return
    skip_without_kernel()
    with namespaces(1) as [namespace]:
        namespace.ip("link", "add", "eth0", "type", "veth", "peer", "name", "far")
        with namespace.entered():
            yield Netlink()


def switches(kernel: Kernel) -> list[str | None]:
    keys = (
        "net/ipv4/ip_forward",
        "net/ipv6/conf/all/forwarding",
        "net/ipv6/conf/eth0/accept_ra",
    )
    return [kernel.read_sysctl(key) for key in keys]


@pytest.mark.parametrize(
    "wish", [SERVER, replace(CLIENT, forward=Forward.ON)], ids=["at a server", "at a client"]
)
def test_what_is_done_for_others_is_taken_back(
    kernel: Kernel, tmp_path: Path, wish: GatewayWish
) -> None:
    gateway = Gateway("mwb-0", kernel, tmp_path)
    before = switches(kernel)
    undo = Undo()

    gateway.apply(wish, ["eth0"], undo)
    during = switches(kernel), kernel.firewall_tables()
    failures = undo.run()

    assert during == (["1", "1", "2"], [gateway.table])
    assert failures == []
    assert (switches(kernel), kernel.firewall_tables()) == (before, [])
    assert list(tmp_path.iterdir()) == []


def test_the_next_start_takes_back_what_a_killed_daemon_left(
    kernel: Kernel, tmp_path: Path
) -> None:
    before = switches(kernel)
    Gateway("mwb0", kernel, tmp_path).apply(SERVER, [], Undo())

    removed = Gateway("mwb0", kernel, tmp_path).clean_up()

    assert "net/ipv4/ip_forward = 0" in removed
    assert (switches(kernel), kernel.firewall_tables()) == (before, [])


def test_a_client_that_is_no_router_is_left_alone(kernel: Kernel, tmp_path: Path) -> None:
    undo = Undo()
    before = switches(kernel)

    Gateway("mwb0", kernel, tmp_path).apply(CLIENT, ["eth0"], undo)

    assert (switches(kernel), kernel.firewall_tables(), len(undo)) == (before, [], 0)


def test_a_client_that_is_a_router_already_stays_one_afterwards(
    kernel: Kernel, tmp_path: Path
) -> None:
    kernel.write_sysctl("net/ipv4/ip_forward", "1")
    undo = Undo()

    Gateway("mwb0", kernel, tmp_path).apply(CLIENT, ["eth0"], undo)
    during = kernel.firewall_tables()
    undo.run()

    assert len(during) == 1
    assert kernel.firewall_tables() == []
    assert kernel.read_sysctl("net/ipv4/ip_forward") == "1"


def test_what_is_no_longer_wished_for_goes(kernel: Kernel, tmp_path: Path) -> None:
    gateway, undo = Gateway("mwb0", kernel, tmp_path), Undo()
    gateway.apply(SERVER, [], undo)

    gateway.apply(replace(SERVER, forward=Forward.OFF), [], undo)

    assert kernel.firewall_tables() == []


@pytest.mark.netns
def test_a_table_the_kernel_refuses_changes_nothing(tmp_path: Path) -> None:
    skip_without_kernel()
    with namespaces(1) as [namespace], namespace.entered():
        kernel = Netlink()
        kernel.set_firewall_table("ours", "chain c {\n  accept\n}\n")

        with pytest.raises(PlatformError, match=r"nftables' table ours failed: .*syntax error"):
            kernel.set_firewall_table("ours", "chain c {\n  nonsense\n}\n")

        assert kernel.firewall_tables() == ["ours"]
        kernel.delete_firewall_table("ours")
        assert kernel.firewall_tables() == []
