"""The whole start of a daemon over the kernel's fake, with every single write failing in turn."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Interface, ip_interface, ip_network
from pathlib import Path
from socket import AddressFamily
from typing import Any

import pytest
import trio

from multiwanbond.config.model import OnFailure
from multiwanbond.config.notations import InterfaceAddress
from multiwanbond.core.datagram import Address
from multiwanbond.daemon.app import run_daemon
from multiwanbond.daemon.linux_machine import LinuxMachine
from multiwanbond.daemon.machine import WanWish
from multiwanbond.errors import PlatformError
from multiwanbond.linux.fake import FakeHost, FakeNetwork, FakeTun, FakeUdpSocket
from multiwanbond.linux.fake_kernel import FakeKernel
from multiwanbond.linux.kernel import MAIN_TABLE, Route, Rule
from multiwanbond.linux.undo import Undo

from .machine import FakeWatch
from .sites import SERVER, WANS, client_plan
from .waiting import wait_until

MOST_WRITES = 100
"""More than a start ever makes; the walk ends where no write is left to fail."""


class FaultyKernel(FakeKernel):
    """A kernel whose n-th write fails: either it does nothing, or it is done all the same."""

    def __init__(self, *, failing: int = 0, is_done_all_the_same: bool = False) -> None:
        self._failing = 0
        self._writes = 0
        self._is_done = is_done_all_the_same
        super().__init__()
        for name, hosts in WANS.items():
            self.add_link(name)
            self.add_address(name, ip_interface(f"{hosts[0]}/24"))
            gateway = str(IPv4Interface(f"{hosts[0]}/24").network[254])
            self.add_route(
                Route(
                    prefix=ip_network("0.0.0.0/0"),
                    interface=name,
                    table=MAIN_TABLE,
                    gateway=gateway,
                    metric=100 + len(name),
                    protocol=3,
                )
            )
        self.write_sysctl("net/ipv4/conf/all/rp_filter", "1")
        self._writes = 0
        self._failing = failing

    @property
    def has_failed(self) -> bool:
        return 0 < self._failing <= self._writes

    def _count(self, what: str, *, is_before: bool) -> None:
        if is_before:
            self._writes += 1
        if self._writes == self._failing and is_before is not self._is_done:
            raise PlatformError(f"Setting {what} failed: injected.", "")

    def set_link(self, name: str, **changes: Any) -> None:
        self._count(f"interface {name}", is_before=True)
        super().set_link(name, **changes)
        self._count(f"interface {name}", is_before=False)

    def add_address(self, interface: str, address: InterfaceAddress) -> None:
        self._count(f"address {address}", is_before=True)
        super().add_address(interface, address)
        self._count(f"address {address}", is_before=False)

    def add_route(self, route: Route) -> None:
        self._count(str(route), is_before=True)
        super().add_route(route)
        self._count(str(route), is_before=False)

    def add_rule(self, rule: Rule) -> None:
        self._count(str(rule), is_before=True)
        super().add_rule(rule)
        self._count(str(rule), is_before=False)


class KernelTun(FakeTun):
    """A TUN device whose interface is in a `FakeKernel`."""

    def __init__(self, name: str, kernel: FakeKernel) -> None:
        super().__init__(name)
        self._kernel = kernel
        kernel.add_link(name, kind="tun", is_up=False)

    def close(self) -> None:
        super().close()
        self._kernel.delete_link(self.name)


class HalfFakeMachine(LinuxMachine):
    """The real machine, but for devices and sockets."""

    def __init__(self, host: FakeHost, kernel: FaultyKernel, directory: Path) -> None:
        super().__init__("mwb0", kernel=kernel, directory=directory)
        self.kernel = kernel
        self.host = host

    def check(self) -> None:
        """Need no privileges."""

    def open_tun(self, *, wants_offload: bool) -> Any:
        return KernelTun("mwb0", self.kernel)

    def open_udp(
        self,
        *,
        family: AddressFamily,
        local: Address,
        device: str | None = None,
        wants_gso: bool = True,
    ) -> Any:
        opened: FakeUdpSocket = self.host.open_socket(family=family, local=local, device=device)
        return opened

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[Any]:
        yield FakeWatch()


async def start_and_stop(machine: HalfFakeMachine, folder: Path) -> None:
    """Run a client until a write has failed, or all of it stands; then stop it."""
    async with trio.open_nursery() as nursery:
        plan = client_plan(folder, on_failure=OnFailure.BLOCK)  # which changes most
        tunnel = await nursery.start(run_daemon, plan, machine)
        await wait_until(lambda: machine.kernel.has_failed or _stands(machine.kernel))
        tunnel.stop()


def _stands(kernel: FakeKernel) -> bool:
    return len(kernel.tagged_routes()) == 5 and len(kernel.tagged_rules()) == 14


@pytest.mark.parametrize("is_done_all_the_same", [False, True])
async def test_a_start_whose_every_write_fails_in_turn_leaves_the_kernel_as_it_was(
    tmp_path: Path, is_done_all_the_same: bool
) -> None:
    failing = 0
    for failing in range(1, MOST_WRITES):
        kernel = FaultyKernel(failing=failing, is_done_all_the_same=is_done_all_the_same)
        machine = HalfFakeMachine(FakeNetwork().add_host(WANS), kernel, tmp_path / "run")
        before = kernel.state()

        try:
            await start_and_stop(machine, tmp_path)
        except* PlatformError:
            assert kernel.has_failed

        assert kernel.state() == before, f"write {failing} left something behind"
        assert os.listdir(tmp_path) == []
        assert machine.host.sockets == []
        if not kernel.has_failed:
            break

    assert 10 < failing < MOST_WRITES - 1, "the walk did not reach the end"


def test_what_a_killed_daemon_leaves_is_removed_by_the_next_clean_up(tmp_path: Path) -> None:
    kernel = FaultyKernel()
    machine = HalfFakeMachine(FakeNetwork().add_host(WANS), kernel, tmp_path)
    before = kernel.state()
    tun = machine.open_tun(wants_offload=True)
    undo = Undo()
    machine.configure_tun([ip_interface("10.77.0.2/24")], 1440, undo)
    machine.route_tunnel([ip_network("0.0.0.0/0")], undo)
    for wan_id, found in enumerate(machine.discover(), start=1):
        machine.route_wan(wan_id, found, undo)
    undo.commit()  # forgotten with its process
    tun.close()  # as the kernel closes a dead process's descriptors

    removed = machine.clean_up()

    assert len(removed) >= 8
    assert kernel.state() == before
    assert list(tmp_path.iterdir()) == []


async def test_names_resolve_or_have_no_addresses() -> None:
    machine = LinuxMachine("mwb0", kernel=FakeKernel())

    assert Address("127.0.0.1", 9000) in await machine.resolve("localhost", 9000)
    assert await machine.resolve("no-such-name.invalid", 9000) == []
    assert await machine.resolve("a" * 64 + ".invalid", 9000) == []


def test_an_absent_interface_has_no_mtu() -> None:
    machine = LinuxMachine("mwb0", kernel=FaultyKernel())

    assert machine.interface_mtu("eth0") == 1500
    with pytest.raises(PlatformError, match="eth7"):
        machine.interface_mtu("eth7")


def test_a_wan_is_located_and_all_are_discovered() -> None:
    machine = LinuxMachine("mwb0", kernel=FaultyKernel())

    found = machine.locate(WanWish(id=1, name="LTE", interface="wwan0"), 4)

    assert (found.interface, found.local_host) == ("wwan0", "203.0.113.1")
    assert {there.interface for there in machine.discover()} == set(WANS)
    assert SERVER.host not in {there.local_host for there in machine.discover()}
