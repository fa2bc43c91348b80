"""Traffic inside the tunnel: pings, and datagrams that come back."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from multiwanbond.lab.bond import (
    CLIENT_INNER_IPV4,
    CLIENT_INNER_IPV6,
    SERVER_INNER_IPV4,
    SERVER_INNER_IPV6,
)
from multiwanbond.lab.topology import Topology

ECHO_PORT = 7
ENDS = {4: (CLIENT_INNER_IPV4, SERVER_INNER_IPV4), 6: (CLIENT_INNER_IPV6, SERVER_INNER_IPV6)}
"""The client's and the server's address inside the tunnel, by IP version."""


def ping_through(lab: Topology, version: int = 4, *, count: int = 5) -> list[float]:
    """Return the round-trip times in seconds through the tunnel; lost ones are missing."""
    near, far = ENDS[version]
    # From the inner address: the server answers to its own by any way.
    done = lab.client.run(
        "ping", "-n", "-c", str(count), "-i", "0.1", "-W", "2", "-I", near, far, check=False
    )
    return [float(found) / 1000 for found in re.findall(r"time=([\d.]+) ms", done.stdout)]


@contextmanager
def echo(lab: Topology, version: int = 4) -> Iterator[socket.socket]:
    """Yield a UDP socket at the client whose datagrams the server sends back through the tunnel."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    far = lab.server.socket(socket.SOCK_DGRAM, family=family)
    far.bind((ENDS[version][1], ECHO_PORT))
    far.settimeout(0.1)
    has_ended = threading.Event()

    def answer() -> None:
        while not has_ended.is_set():
            try:
                data, source = far.recvfrom(65_536)
            except TimeoutError:
                continue
            far.sendto(data, source)

    thread = threading.Thread(target=answer, name="echo")
    thread.start()
    try:
        with lab.client.socket(socket.SOCK_DGRAM, family=family) as near:
            near.settimeout(2.0)
            near.connect((ENDS[version][1], ECHO_PORT))
            yield near
    finally:
        has_ended.set()
        thread.join()
        far.close()


def echoed(near: socket.socket, size: int, count: int, *, interval: float = 0.002) -> int:
    """Send `count` datagrams of `size` bytes; return how many different ones came back."""
    came_back = set()
    near.setblocking(False)
    for number in range(count):
        near.send(number.to_bytes(4, "big") + bytes(size - 4))
        time.sleep(interval)
        came_back |= _drain(near)
    near.settimeout(1.0)
    try:
        while len(came_back) < count:
            came_back.add(near.recv(65_536)[:4])
    except TimeoutError:
        pass
    return len(came_back)


def _drain(near: socket.socket) -> set[bytes]:
    found = set()
    try:
        while True:
            found.add(near.recv(65_536)[:4])
    except BlockingIOError:
        return found
