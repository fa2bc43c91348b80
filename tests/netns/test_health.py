"""How soon a silent line is noticed on this kernel, and what both ends know of each line."""

import time
from contextlib import closing

import pytest

from multiwanbond.lab.bond import Bond, path_of
from multiwanbond.lab.topology import Topology

from .test_bond import download, wait_received

pytestmark = pytest.mark.netns


@pytest.mark.parametrize("load", ["idle", "loaded"])
def test_a_silent_line_is_down_within_a_second(lab: Topology, bond: Bond, load: str) -> None:
    for wan in lab.wans:
        bond.wait_state(wan.number, "Up", "Degraded")
    took = []
    for number in range(4):
        if load == "idle":
            time.sleep(6 + 0.2 * number)  # the bond is idle after five
            took.append(_seconds_until_down(lab, bond))
        else:
            with closing(download(lab, size=100_000_000)) as transfer:
                wait_received(transfer, 10_000_000)
                took.append(_seconds_until_down(lab, bond))
        lab.restore(1)
        bond.wait_state(1, "Up", "Degraded", timeout=5.0)

    print(f"{load}: Down after {', '.join(f'{each:.2f}' for each in sorted(took))} s")
    assert max(took) < 1.0 + SLACK


SLACK = 0.3
"""Seconds for asking, and for a machine that does other things as well."""


def _seconds_until_down(lab: Topology, bond: Bond) -> float:
    """Black the first WAN out; return after how long the client said that it is Down."""
    cut_at = time.monotonic()
    lab.black_out(1)
    bond.wait_state(1, "Down", timeout=5.0)
    asked_at = time.monotonic()
    since = float(path_of(bond.client.status(), 1)["state_since_s"])
    return asked_at - cut_at - since


def test_status_tells_latency_jitter_loss_bandwidth_and_state_of_both_directions(
    lab: Topology, bond: Bond
) -> None:
    lab.change(2, "to_client", loss=0.05)
    with closing(download(lab, size=60_000_000)) as transfer:
        wait_received(transfer, 30_000_000)
        time.sleep(1.5)
        path = path_of(bond.client.status(), 2)
        transfer.wait(60)

    view = path["peer_view"]
    assert view["loss_pct"] > path["loss_pct"]
    assert view["capacity_mbit"] > 1
    assert 35 < path["rtt_ms"] < 500
    assert 35 < view["rtt_ms"] < 500
    assert path["jitter_ms"] is not None
    assert view["jitter_ms"] is not None
    assert path["rate_down_mbit"] > 1
    assert {path["state"], view["state"]} <= {"Up", "Degraded"}
