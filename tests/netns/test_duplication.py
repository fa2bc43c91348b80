"""Duplicated packets between daemons, over lines on which nothing can be sent again in time."""

import pytest

from multiwanbond.lab.bench_dataplane import PORT, Datagrams, carry
from multiwanbond.lab.bench_run import connected_bond
from multiwanbond.lab.bond import SERVER_INNER_IPV4, Document
from multiwanbond.lab.topology import Topology, line

pytestmark = pytest.mark.netns

LOSS = 0.05
VIDEO = Datagrams(size=1200, rate=250.0)
"""More than the copies that nobody asks for may take."""


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize(
    ("is_wanted", "duplicated_port"),
    [(False, PORT), (False, PORT + 1), (True, None)],
    ids=["its class", "another class", "everything"],
)
def test_what_is_duplicated_loses_far_less_than_any_line(
    *, is_wanted: bool, duplicated_port: int | None
) -> None:
    is_duplicated = is_wanted or duplicated_port == PORT

    def adjust(document: Document) -> None:
        document.setdefault("session", {})["duplicate_packets"] = is_wanted
        if duplicated_port is not None:
            rule = {"name": "video", "ports": [duplicated_port], "duplicate": True}
            document["classes"] = [rule]

    with Topology([line(20, 0.6, loss=LOSS)] * 2, purpose="dup") as lab:
        connected_bond(lab, adjust)

        lost = carry(lab, SERVER_INNER_IPV4, VIDEO, seconds=8.0).loss

    assert lost is not None
    assert (lost < 0.2 * LOSS) == is_duplicated
