"""The daemon as the systemd unit runs it: a user of its own, one capability, and little else."""

import json
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from multiwanbond.lab.bond import Bond
from multiwanbond.lab.topology import Topology
from tests.packaging.conftest import built_package
from tests.packaging.machine import Machine
from tests.packaging.service import Service

from .conftest import BuildBond
from .inner import ping_through
from .kernel_state import kernel_state

pytestmark = pytest.mark.netns

CONFIG = "/etc/multiwanbond/home.yaml"
EVERYTHING = ("0.0.0.0/0", "::/0")


@pytest.fixture
def bond(lab: Topology, build_bond: BuildBond) -> Bond:
    """A bond that uses all that a client does to its machine."""
    return build_bond(lab, routes=EVERYTHING, client={"gateway": {"forward": "on"}})


@pytest.fixture
def machine(lab: Topology, bond: Bond) -> Iterator[Machine]:
    """The client's machine, with our package and the bond's configuration as mwb join leaves it."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing: it tells which system calls the unit allows")
    package = built_package()
    with Machine(lab.client.name) as machine:
        machine.install(package)
        key = Path(bond.client.document["security"]["private_key_file"])
        document = {**bond.client.document}
        document["security"] = {**document["security"], "private_key_file": "home.key"}
        del document["control"]
        for name, text in {"home.yaml": json.dumps(document), "home.key": key.read_text()}.items():
            (machine.root / "etc/multiwanbond" / name).write_text(text)
            machine.run("chmod", "640", f"/etc/multiwanbond/{name}")
        yield machine


class Manager:
    """The end of NOTIFY_SOCKET where systemd would be."""

    def __init__(self, machine: Machine) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = machine.root / "run/notify"
        self._socket.bind(str(path))
        path.chmod(0o666)
        self._socket.settimeout(20)

    def wait_for(self, message: str) -> None:
        while not self._socket.recv(500).decode().startswith(message):
            pass

    def close(self) -> None:
        self._socket.close()


def test_a_bond_lives_and_dies_with_no_more_rights_than_the_unit_gives(
    lab: Topology, bond: Bond, machine: Machine
) -> None:
    before = kernel_state(lab.client)
    service, manager = Service(machine, "home"), Manager(machine)
    environment = ["NOTIFY_SOCKET=/run/notify", "WATCHDOG_USEC=1000000"]
    bond.server.start()

    with bond.client.log.open("a") as log:
        daemon = machine.start(
            "env", *environment, *service.command("ExecStart"), stderr=log.fileno()
        )
    manager.wait_for("READY=1")
    wait_pings(lab)
    manager.wait_for("WATCHDOG=1")
    status = json.loads(machine.run("mwb", "status", "--json", "-c", CONFIG).stdout)
    table = machine.run("nft", "list", "tables").stdout
    rights = Path(f"/proc/{daemon.pid}/status").read_text()

    assert len(status["peers"][0]["paths"]) == 3
    assert "multiwanbond" in table
    assert "CapEff:\t0000000000001000" in rights  # bit 12, CAP_NET_ADMIN
    assert "Uid:\t0" not in rights
    assert "Seccomp:\t2" in rights

    machine.run(*service.command("ExecReload"))
    daemon.kill()
    daemon.wait()
    assert kernel_state(lab.client) != before
    machine.run(*service.command("ExecStopPost"))
    manager.close()

    assert kernel_state(lab.client) == before
    log_text = bond.client.log.read_text()
    assert "not permitted" not in log_text
    assert "Could not" not in log_text


def test_an_orderly_end_leaves_nothing_either(lab: Topology, bond: Bond, machine: Machine) -> None:
    before = kernel_state(lab.client)
    service = Service(machine, "home")
    bond.server.start()
    with bond.client.log.open("a") as log:
        daemon = machine.start(*service.command("ExecStart"), stderr=log.fileno())
    wait_pings(lab)

    machine.run("mwb", "down", "-c", CONFIG)  # by root

    assert daemon.wait(10) == 0
    assert kernel_state(lab.client) == before


FORBIDDEN = (
    "open('/etc/multiwanbond/new', 'w')",
    "open('/root')",
    "os.chown('/run/multiwanbond', os.getuid(), os.getgid())",
    "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)",
    "mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)",
)


def test_the_confinement_of_these_tests_is_real(machine: Machine) -> None:
    service = Service(machine, "home")
    tries = "".join(
        f"try: {attempt}; print('done')\nexcept PermissionError: print('refused')\n"
        f"except OSError as exc: print(exc.strerror)\n"
        for attempt in FORBIDDEN
    )

    script = f"import mmap, os, socket\n{tries}"
    said = machine.run(*service.confined("/usr/bin/python3", "-c", script)).stdout

    assert said.splitlines() == ["Read-only file system", *["refused"] * 5]


def wait_pings(lab: Topology, timeout: float = 15.0) -> None:
    """Return when the tunnel carries packets."""
    give_up = time.monotonic() + timeout
    while not ping_through(lab, count=1):
        assert time.monotonic() < give_up
