"""Plugins in real daemons: an ACL across a bond, a filter that crashes, figures over HTTP."""

import socket
import textwrap
import time
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from multiwanbond.lab.bench_run import connected_bond
from multiwanbond.lab.bond import SERVER_INNER_IPV4, Bond, Document
from multiwanbond.lab.namespaces import inside
from multiwanbond.lab.topology import Topology

pytestmark = pytest.mark.netns

OPEN, CLOSED = 7001, 7002
METADATA = "Metadata-Version: 2.1\nName: mwb-crashing\nVersion: 1\n"


def arrives(lab: Topology, port: int) -> bool:
    """Whether a datagram from the client arrives at a port of the server within a second."""
    with (
        closing(lab.server.socket(socket.SOCK_DGRAM)) as far,
        closing(lab.client.socket(socket.SOCK_DGRAM)) as near,
    ):
        far.bind((SERVER_INNER_IPV4, port))
        far.settimeout(0.2)
        for _ in range(5):
            near.sendto(b"knock", (SERVER_INNER_IPV4, port))
            try:
                return far.recv(100) == b"knock"
            except TimeoutError:
                continue
    return False


def plugin(bond: Bond, name: str) -> dict[str, Any]:
    status = bond.client.status()
    assert status is not None
    return next(dict(each) for each in status["plugins"] if each["name"] == name)


@pytest.mark.usefixtures("kernel")
def test_an_acl_drops_a_port_and_prometheus_tells_of_the_rest(lab: Topology) -> None:
    def adjust(document: Document) -> None:
        if document["mode"] == "client":
            rule = {"action": "deny", "protocols": ["udp"], "destination_ports": [CLOSED]}
            document["plugins"] = [
                {"name": "acl", "options": {"rules": [rule]}},
                {"name": "prometheus", "options": {"listen": "127.0.0.1:9400", "interval": "1s"}},
            ]

    connected_bond(lab, adjust)

    assert arrives(lab, OPEN)
    assert not arrives(lab, CLOSED)
    lab.client.configure(["link set lo up"])
    time.sleep(1.5)
    with inside(lab.client.name), urllib.request.urlopen("http://127.0.0.1:9400/metrics") as page:
        text = page.read().decode()
    assert "mwb_peer_connected" in text
    assert 'state="Up"' in text


@pytest.mark.usefixtures("kernel")
def test_a_filter_that_crashes_is_disabled_and_packets_go_on(
    lab: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is installed as any package is: a module, and its metadata with the entry point."""
    (tmp_path / "mwb_crashing.py").write_text(
        textwrap.dedent(
            """
            from multiwanbond.plugins.api import PacketFilter

            class Crashing(PacketFilter):
                def outbound(self, bursts):
                    raise RuntimeError("as it was told to")
            """
        )
    )
    metadata = tmp_path / "mwb_crashing-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(METADATA)
    (metadata / "entry_points.txt").write_text(
        "[multiwanbond.plugins]\ncrashing = mwb_crashing:Crashing\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")

    def adjust(document: Document) -> None:
        if document["mode"] == "client":
            document["plugins"] = [{"name": "crashing"}]

    bond = connected_bond(lab, adjust)

    assert arrives(lab, OPEN)
    assert plugin(bond, "crashing")["state"] == "disabled"
    assert plugin(bond, "crashing")["reason"] == "RuntimeError: as it was told to"
