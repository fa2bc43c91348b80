"""Sockets of a program that may not change routes."""

from ipaddress import ip_interface, ip_network
from socket import AF_INET
from typing import Any

import pytest

from multiwanbond.api.network import UnprivilegedNetwork
from multiwanbond.core.datagram import Address
from multiwanbond.daemon.machine import WanWish
from multiwanbond.errors import PlatformError, PrivilegeError
from multiwanbond.linux.fake_kernel import FakeKernel
from multiwanbond.linux.kernel import MAIN_TABLE, Route
from multiwanbond.linux.undo import Undo
from multiwanbond.linux.wans import FoundWan

LOCAL = Address("192.0.2.1", 0)


def kernel() -> FakeKernel:
    made = FakeKernel()
    made.add_link("eth0")
    made.add_address("eth0", ip_interface("192.0.2.1/24"))
    made.add_route(
        Route(
            prefix=ip_network("0.0.0.0/0"),
            interface="eth0",
            table=MAIN_TABLE,
            gateway="192.0.2.254",
            metric=100,
            protocol=3,
        )
    )
    return made


class Sockets:
    """Notes what is opened; may refuse to bind to interfaces."""

    def __init__(self, *, refuses_devices: bool = False) -> None:
        self.refuses_devices = refuses_devices
        self.devices: list[str | None] = []

    def open(self, *, device: str | None = None, **_rest: Any) -> Any:
        self.devices.append(device)
        if device is not None and self.refuses_devices:
            raise PrivilegeError("Not permitted.", "Run as root.")
        return object()


def test_a_socket_is_bound_to_its_wans_interface() -> None:
    sockets = Sockets()
    network = UnprivilegedNetwork(tunnel="mwb0", kernel=kernel(), open_socket=sockets.open)

    network.open_udp(family=AF_INET, local=LOCAL, device="eth0")

    assert sockets.devices == ["eth0"]


def test_where_that_takes_privileges_the_address_must_do() -> None:
    sockets = Sockets(refuses_devices=True)
    network = UnprivilegedNetwork(tunnel="mwb0", kernel=kernel(), open_socket=sockets.open)

    network.open_udp(family=AF_INET, local=LOCAL, device="eth0")

    assert sockets.devices == ["eth0", None]


def test_a_wan_may_be_named_by_its_interface_or_its_address() -> None:
    network = UnprivilegedNetwork(tunnel="mwb0", kernel=kernel())
    eth0 = FoundWan(interface="eth0", gateway="192.0.2.254", local_host="192.0.2.1")

    assert network.locate(WanWish(id=1, name="a", interface="eth0"), 4) == eth0
    assert network.locate(WanWish(id=1, name="a", local_host="192.0.2.1"), 4) == eth0
    assert network.discover() == [eth0]


def test_every_loopback_address_is_ours_though_no_interface_lists_it() -> None:
    network = UnprivilegedNetwork(tunnel="mwb0", kernel=kernel())

    found = network.locate(WanWish(id=1, name="a", local_host="127.0.0.9"), 4)

    assert (found.interface, found.local_host) == ("lo", "127.0.0.9")
    with pytest.raises(PlatformError, match=r"No interface has the address 127\.0\.0\.9"):
        network.locate(WanWish(id=1, name="a", local_host="127.0.0.9"), 6)


def test_nothing_is_changed_for_a_wan() -> None:
    made, undo = kernel(), Undo()
    network = UnprivilegedNetwork(tunnel="mwb0", kernel=made)
    before = made.default_routes()

    network.route_wan(1, network.discover()[0], undo)

    assert len(undo) == 0
    assert made.default_routes() == before
    assert made.tagged_routes() == []
