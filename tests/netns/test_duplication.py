"""Duplicated packets between daemons, over lines on which nothing can be sent again in time."""

import pytest

from multiwanbond.lab.bench_dataplane import Datagrams, carry
from multiwanbond.lab.bench_run import connected_bond
from multiwanbond.lab.bond import SERVER_INNER_IPV4, Document
from multiwanbond.lab.topology import Topology, line

pytestmark = pytest.mark.netns

LOSS = 0.05
VIDEO = Datagrams(size=1200, rate=250.0)
"""More than the copies that nobody asks for may take."""


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("is_duplicated", [False, True])
def test_what_is_duplicated_loses_far_less_than_any_line(*, is_duplicated: bool) -> None:
    def adjust(document: Document) -> None:
        document.setdefault("session", {})["duplicate_packets"] = is_duplicated

    with Topology([line(20, 0.6, loss=LOSS)] * 2, purpose="dup") as lab:
        connected_bond(lab, adjust)

        lost = carry(lab, SERVER_INNER_IPV4, VIDEO, seconds=8.0).loss

    assert lost is not None
    assert (lost < 0.2 * LOSS) == is_duplicated
