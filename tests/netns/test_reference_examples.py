"""Every configuration that the reference prints makes a bond, with addresses and keys filled in."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from multiwanbond.lab.bond import SERVER_INNER_IPV4, Bond, Document
from multiwanbond.lab.topology import SERVER_IPV4, Topology, line
from multiwanbond.lab.traffic import Transfer

pytestmark = pytest.mark.netns

EXAMPLES = sorted((Path(__file__).parents[1] / "reference").glob("*.json"))
ENDPOINT = f"{SERVER_IPV4}:9000"
SIZE = 3_000_000


@pytest.fixture
def three_lines(kernel: None) -> Iterator[Topology]:
    with Topology([line(50, 0.01), line(30, 0.03), line(20, 0.05)], purpose="ref") as lab:
        yield lab


def filled_in(example: Document, own: Document, lab: Topology) -> Document:
    """The example as it is printed, with what it leaves to the reader."""
    document: dict[str, Any] = {**own, **example}
    document["session"] = {**example.get("session", {}), "remote_endpoint": ENDPOINT}
    document["session"].pop("local_endpoint", None)
    wans = example.get("wans") or own["wans"]
    document["wans"] = [
        {**wan, "local_addr": lab.wans[number].client_ipv4, "remote_addr": ENDPOINT}
        for number, wan in enumerate(wans)
    ]
    return document


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_of_the_reference_carries_a_download(file: Path, three_lines: Topology) -> None:
    example = json.loads(file.read_text())
    bond = Bond(three_lines)
    bond.client.document = filled_in(example, bond.client.document, three_lines)
    bond.server.document["session"] = {
        **{key: each for key, each in example.get("session", {}).items() if "endpoint" not in key},
        "local_endpoint": "0.0.0.0:9000",
    }
    for section in ("routing", "fec"):
        if section in example:
            bond.server.document[section] = example[section]
    for daemon in bond.daemons:
        daemon.write_config()

    bond.start()
    bond.wait_connected()

    transfer = Transfer(three_lines.server, three_lines.client, host=SERVER_INNER_IPV4, size=SIZE)
    with closing(transfer):
        assert transfer.wait(30).is_intact
    status = bond.client.status()
    assert status is not None
    names = [wan["name"] for wan in status["wans"]]
    assert names == [wan["name"] for wan in bond.client.document["wans"]]
