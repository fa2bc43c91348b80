"""Several servers: a router goes on by another one when its server dies, and returns."""

import os
import time
from base64 import b64encode

import pytest

from multiwanbond.core.handshake import public_key_of
from multiwanbond.lab.bond import PORT, Bond, Daemon
from multiwanbond.lab.topology import SERVER_IPV4, Topology

from .inner import ping_through
from .kernel_state import kernel_state

pytestmark = pytest.mark.netns

SPARE_IPV4 = "198.51.100.130"


@pytest.fixture
def spare(lab: Topology, bond: Bond) -> Daemon:
    """A second server, behind the first one's machine; to be told to the client."""
    namespace = lab.run.namespace("spare")
    lab.server.configure(
        [
            f"link add spare0 type veth peer name eth0 netns {namespace.name}",
            "addr add 198.51.100.129/30 dev spare0",
            "link set spare0 up",
        ]
    )
    lab.server.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    namespace.configure(
        [
            f"addr add {SPARE_IPV4}/30 dev eth0",
            "link set eth0 up",
            "route add default via 198.51.100.129",
        ]
    )
    directory = bond.server.config.parent
    key = os.urandom(32)
    key_file = directory / "spare.key"
    key_file.touch(mode=0o600)
    key_file.write_text(b64encode(key).decode())
    security = {**bond.server.document["security"], "private_key_file": str(key_file)}
    document = {**bond.server.document, "security": security}
    daemon = Daemon(namespace, directory, "spare", document, lab.run.undo)
    daemon.start()
    daemon.wait_ready()
    (known,) = bond.client.document["security"]["peers"]
    bond.client.document["security"]["peers"] = [
        known,
        {
            **known,
            "name": "spare",
            "public_key": b64encode(public_key_of(key)).decode(),
            "endpoint": f"{SPARE_IPV4}:{PORT}",
        },
    ]
    bond.client.document["tunnel"]["routes"] = ["0.0.0.0/0", "::/0"]
    bond.client.write_config()
    return daemon


def used(bond: Bond) -> str:
    status = bond.client.status()
    return str(status["peers"][0]["name"]) if status else ""


def seconds_until_used(bond: Bond, name: str, limit: float) -> float:
    begun = time.monotonic()
    bond.wait_until(
        lambda status: bool(status["is_ready"]) and status["peers"][0]["name"] == name,
        limit,
        f"with {name}",
    )
    return time.monotonic() - begun


def test_a_router_goes_on_by_its_second_server_and_returns_to_the_first(
    lab: Topology, bond: Bond, spare: Daemon
) -> None:
    bond.client.mwb("reload")
    used_before = used(bond)

    bond.server.kill()
    seconds_until_used(bond, "spare", 30)
    pings_by_spare = ping_through(lab)
    shown = bond.client.mwb("status").stdout

    bond.server.start()
    seconds_until_used(bond, "server", 120)
    pings_by_first = ping_through(lab)

    assert used_before == "server"
    assert len(pings_by_spare) == 5
    assert f"spare at {SPARE_IPV4}:{PORT} (in use)" in shown
    assert f"server at {SERVER_IPV4}:{PORT}" in shown
    assert len(pings_by_first) == 5


def test_a_router_that_starts_while_its_first_server_is_dead_uses_the_second(
    lab: Topology, bond: Bond, spare: Daemon
) -> None:
    bond.client.stop()
    untouched = kernel_state(lab.client)
    bond.server.kill()

    bond.client.start()
    seconds_until_used(bond, "spare", 40)
    pings = ping_through(lab)
    bond.client.stop()

    assert len(pings) == 5
    assert kernel_state(lab.client) == untouched
