"""Compressed segments between real kernels: TCP finds every byte where it was, on either end."""

import socket
import threading
from pathlib import Path

import pytest

from multiwanbond.lab.bench_run import connected_bond
from multiwanbond.lab.bond import SERVER_INNER_IPV4, SERVER_INNER_IPV6, Document
from multiwanbond.lab.topology import Topology, line

pytestmark = pytest.mark.netns

CORE = Path(__file__).parents[2] / "multiwanbond" / "core"
TEXT = b"".join(path.read_bytes() for path in sorted(CORE.glob("*.py")))
PORT = 5000
LIMIT = 60.0


def upload(lab: Topology, host: str) -> bytes:
    """Send the text by TCP through the tunnel; return what the server read."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    arrived = bytearray()

    def read() -> None:
        with listener, listener.accept()[0] as there:
            there.settimeout(LIMIT)
            while data := there.recv(65_536):
                arrived.extend(data)

    listener = lab.server.socket(family=family)
    listener.settimeout(LIMIT)
    listener.bind((host, PORT))
    listener.listen()
    reader = threading.Thread(target=read)
    reader.start()
    with lab.client.socket(family=family) as here:
        here.settimeout(LIMIT)
        here.connect((host, PORT))
        here.sendall(TEXT)
    reader.join(LIMIT)
    return bytes(arrived)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("host", [SERVER_INNER_IPV4, SERVER_INNER_IPV6])
def test_text_is_half_as_long_on_the_line_and_whole_behind_it(host: str) -> None:
    def adjust(document: Document) -> None:
        document["session"]["compression"] = "zstd"

    with Topology([line(4, 0.02)], purpose="compression") as lab:
        bond = connected_bond(lab, adjust)

        arrived = upload(lab, host)

        status = bond.client.status()
        assert status is not None
        (peer,) = status["peers"]
        assert arrived == TEXT
        assert peer["compressed_packets"] > 0.8 * len(TEXT) / 1400
        assert sum(path["sent_bytes"] for path in peer["paths"]) < 0.7 * len(TEXT)
