"""Parity between real daemons, over a line on which nothing can be sent again in time."""

from typing import Any

import pytest

from multiwanbond.lab.bench_dataplane import Datagrams, carry
from multiwanbond.lab.bench_run import connected_bond
from multiwanbond.lab.bond import SERVER_INNER_IPV4, Daemon, Document
from multiwanbond.lab.topology import Topology, line

pytestmark = pytest.mark.netns

LOSS = 0.05
CALL = Datagrams(size=120, rate=150.0)


def peer_of(daemon: Daemon) -> dict[str, Any]:
    status = daemon.status()
    assert status is not None
    (peer,) = status["peers"]
    return dict(peer)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("is_enabled", [False, True])
def test_parity_makes_up_for_most_of_what_a_line_loses(*, is_enabled: bool) -> None:
    def adjust(document: Document) -> None:
        document["fec"] = {
            "enabled": is_enabled,
            "redundancy": 0.5,
            "data_shards": 8,
            "parity_shards": 4,
        }

    with Topology([line(20, 0.6, loss=LOSS)], purpose="fec") as lab:
        bond = connected_bond(lab, adjust)
        bond.wait_state(1, "Degraded")  # for its length: until then little is known of it

        lost = carry(lab, SERVER_INNER_IPV4, CALL, seconds=8.0).loss

        assert lost is not None
        sender, receiver = peer_of(bond.client), peer_of(bond.server)
        if is_enabled:
            assert lost < 0.2 * LOSS
            assert sender["parity_datagrams"] > 400
            assert receiver["recovered_packets"] > 25
        else:
            assert lost > 0.5 * LOSS
            assert sender["parity_datagrams"] == receiver["recovered_packets"] == 0
