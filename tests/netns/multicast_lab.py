"""Hosts behind both ends of a bond that send to groups and join them, with real sockets."""

import base64
import copy
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address

from multiwanbond.core.handshake import public_key_of
from multiwanbond.lab.bond import Bond, Daemon
from multiwanbond.lab.namespaces import Namespace
from multiwanbond.lab.topology import Topology

PORT = 5007
GROUPS = {4: "239.77.1.1", 6: "ff05::77:1"}
ENABLED = {"multicast_enabled": True}


class Lan:
    """A host on an Ethernet of one end: `lan0` there, `eth0` at the host."""

    def __init__(self, lab: Topology, end: Namespace, number: int, *, name: str = "") -> None:
        self.end = end
        self.host = lab.run.namespace(f"host{name or number}")
        self.prefixes = [f"192.168.{number}.0/24", f"fd{number}::/64"]
        self.addresses = {4: f"192.168.{number}.2", 6: f"fd{number}::2"}
        end.configure([f"link add lan0 type veth peer name eth0 netns {self.host.name}"])
        end.configure(
            [
                "link set lan0 up",
                f"addr add 192.168.{number}.1/24 dev lan0",
                f"addr add fd{number}::1/64 dev lan0 nodad",
            ]
        )
        self.host.configure(
            [
                "link set eth0 up",
                f"addr add 192.168.{number}.2/24 dev eth0",
                f"addr add fd{number}::2/64 dev eth0 nodad",
                f"route add default via 192.168.{number}.1",
                f"route add ::/0 via fd{number}::1",
            ]
        )
        # A link-local address is not there at once, and MLD needs one.
        wait_for(lambda: "fe80" in end.run("ip", "-6", "addr", "show", "dev", "lan0").stdout)
        wait_for(
            lambda: "tentative" not in end.run("ip", "-6", "addr", "show", "dev", "lan0").stdout
        )


class SecondClient:
    """A client beside the lab's, in a namespace of its own, of the lab's server."""

    def __init__(self, lab: Topology, bond: Bond) -> None:
        self.namespace = lab.run.namespace("second")
        lab.server.configure(
            [f"link add second type veth peer name wan1 netns {self.namespace.name}"]
        )
        lab.server.configure(["link set second up", "addr add 10.92.0.1/24 dev second"])
        self.namespace.configure(
            [
                "link set wan1 up",
                "addr add 10.92.0.2/24 dev wan1",
                "route add default via 10.92.0.1",
            ]
        )
        key = os.urandom(32)
        file = bond.client.config.with_name("second.key")
        file.touch(mode=0o600)
        file.write_text(base64.b64encode(key).decode())
        document = copy.deepcopy(bond.client.document)
        document["wans"] = [{"id": 1, "interface": "wan1"}]
        document["tunnel"]["address"] = ["10.77.0.3/24", "fd77::3/64"]
        document["security"]["private_key_file"] = str(file)
        secret = document["security"]["peers"][0]["preshared_key"]
        bond.server.document["security"]["peers"].append(
            {
                "name": "second",
                "public_key": base64.b64encode(public_key_of(key)).decode(),
                "preshared_key": secret,
                "allowed_ips": ["10.77.0.3/32", "fd77::3/128"],
            }
        )
        directory = bond.client.config.parent
        self.daemon = Daemon(self.namespace, directory, "second", document, lab.run.undo)


def wait_for(holds: Callable[[], bool], *, timeout: float = 10.0) -> bool:
    """Return whether `holds()` became true in time."""
    give_up = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.05)
    return True


def start(bond: Bond, *, behind_client: Sequence[str], behind_server: Sequence[str]) -> None:
    """Start both daemons, with what is behind each end routed through the bond."""
    peer = bond.server.document["security"]["peers"][0]
    peer["allowed_ips"] += behind_client
    bond.client.document["tunnel"]["routes"] = list(behind_server)
    for daemon in bond.daemons:
        daemon.write_config()
    bond.start()
    bond.wait_connected()


@contextmanager
def member(
    namespace: Namespace, version: int, *, device: str = "eth0", group: str | None = None
) -> Iterator[socket.socket]:
    """Yield a socket that has joined a group."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    index = _index(namespace, device).to_bytes(4, "little")
    joined = ip_address(group or GROUPS[version]).packed
    with namespace.socket(socket.SOCK_DGRAM, family=family) as inbox:
        inbox.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        inbox.bind(("", PORT))
        if version == 4:
            request = joined + bytes(4) + index
            inbox.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        else:
            inbox.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, joined + index)
        inbox.settimeout(0.2)
        yield inbox


def send(
    namespace: Namespace,
    version: int,
    data: bytes,
    *,
    device: str | None = "eth0",
    hops: int = 16,
    group: str | None = None,
) -> None:
    """Send one datagram to a group; `device` None lets the kernel choose."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with namespace.socket(socket.SOCK_DGRAM, family=family) as outbox:
        level = socket.IPPROTO_IP if version == 4 else socket.IPPROTO_IPV6
        limit = socket.IP_MULTICAST_TTL if version == 4 else socket.IPV6_MULTICAST_HOPS
        outbox.setsockopt(level, limit, hops)
        if device is not None:
            index = _index(namespace, device).to_bytes(4, "little")
            if version == 4:
                outbox.setsockopt(level, socket.IP_MULTICAST_IF, bytes(8) + index)
            else:
                outbox.setsockopt(level, socket.IPV6_MULTICAST_IF, index)
        outbox.sendto(data, (group or GROUPS[version], PORT))


def arrives(
    inbox: socket.socket, sender: Namespace, version: int, *, timeout: float = 10.0, **how: object
) -> bool:
    """Return whether something sent again and again gets there, once all have heard of it."""
    give_up = time.monotonic() + timeout
    while time.monotonic() < give_up:
        send(sender, version, b"are you there?", **how)  # type: ignore[arg-type]  # passed on
        try:
            inbox.recv(2000)
            time.sleep(0.3)  # whatever else is under way
            drain(inbox)
            return True
        except TimeoutError:
            pass
    return False


def drain(inbox: socket.socket) -> list[bytes]:
    """Return all that has arrived, and what does within a fifth of a second."""
    found = []
    try:
        while True:
            found.append(inbox.recv(2000))
    except TimeoutError:
        return found


def _index(namespace: Namespace, device: str) -> int:
    return int(namespace.run("cat", f"/sys/class/net/{device}/ifindex").stdout)
