"""A program with a bond in it, without any capability, and a daemon at the other end."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from multiwanbond.lab.topology import Topology

from .conftest import BuildBond
from .inner import echo

pytestmark = pytest.mark.netns

COUNT = 300
WITHOUT_CAPABILITIES = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")


def octets_sent(lab: Topology, device: str) -> int:
    """Bytes that left by an interface of the client."""
    return int(lab.client.run("cat", f"/sys/class/net/{device}/statistics/tx_bytes").stdout)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_a_program_without_capabilities_talks_to_any_udp_socket_behind_a_daemon(
    lab: Topology, build_bond: BuildBond
) -> None:
    bond = build_bond(lab)
    bond.server.start()
    bond.server.wait_ready()
    program = (sys.executable, "-m", "tests.netns.library_end", str(bond.client.config), str(COUNT))

    with echo(lab):  # a plain UDP socket at the server
        done = lab.client.run(
            *WITHOUT_CAPABILITIES,
            "env",
            f"PYTHONPATH={Path(__file__).parents[2]}",
            f"PATH={os.environ['PATH']}",
            *program,
        )
    sent = [octets_sent(lab, wan.device) for wan in lab.wans]

    assert done.stdout == f"{COUNT} Up,Up,Up\n"
    assert min(sent) > 20_000  # bytes: every line is used
