"""A metered WAN of a real kernel: what it carries is counted, kept, and followed by both ends."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from multiwanbond.lab.bond import Bond, path_of
from multiwanbond.lab.topology import Topology, Wan, line

from .conftest import BuildBond, BuildLab
from .test_bond import download

pytestmark = pytest.mark.netns

METERED = 2
MB = 1_000_000


@pytest.fixture
def lab(build_lab: BuildLab) -> Topology:
    return build_lab([line(30, 0.005), line(30, 0.01)])


@pytest.fixture
def bond(lab: Topology, build_bond: BuildBond) -> Bond:
    return build_bond(lab)


def use_quota(bond: Bond, quota: str, **more: str) -> None:
    """Write the client's file with that quota of the second WAN."""
    document = bond.client.document
    document["wans"][1] |= {"quota": quota, **more}
    document["control"].setdefault("state_directory", str(bond.client.config.parent / "state"))
    bond.client.write_config()


def quota_of(status: Any) -> dict[str, Any]:
    (quota,) = status["quotas"]
    return dict(quota)


def is_in_reserve(bond: Bond) -> list[bool]:
    """What the client, and what the server, says of the metered WAN."""
    statuses = bond.client.status(), bond.server.status()
    return [path_of(status, METERED)["in_reserve"] for status in statuses]


def carried(lab: Topology, wan: Wan) -> int:
    """Return the bytes that the interface of a WAN has carried, as the kernel counts them."""
    kinds = ("tx_bytes", "rx_bytes")
    files = [f"/sys/class/net/{wan.device}/statistics/{kind}" for kind in kinds]
    return sum(int(lab.client.run("cat", file).stdout) for file in files)


def fetch(lab: Topology, size: int) -> None:
    with closing(download(lab, size=size)) as transfer:
        assert transfer.wait(30).is_intact


def test_a_used_up_quota_makes_a_reserve_at_both_ends_and_outlives_a_restart(
    lab: Topology, bond: Bond
) -> None:
    use_quota(bond, "4MB")
    bond.start()
    bond.wait_connected()
    bond.wait_state(METERED, "Up")

    fetch(lab, 20 * MB)
    bond.wait_until(lambda _: is_in_reserve(bond) == [True, True], 10.0, "in reserve")
    used_up = carried(lab, lab.wans[1])
    fetch(lab, 10 * MB)
    more = carried(lab, lab.wans[1]) - used_up
    quota = quota_of(bond.client.status())
    printed = bond.client.mwb("status").stdout
    bond.client.stop()
    bond.client.start()
    bond.wait_connected()
    bond.wait_until(lambda _: is_in_reserve(bond) == [True, True], 10.0, "in reserve again")
    again = quota_of(bond.client.status())
    use_quota(bond, "1GB")
    bond.client.mwb("reload")
    bond.wait_until(lambda _: is_in_reserve(bond) == [False, False], 10.0, "used again")

    assert more < 0.2 * MB
    # The kernel counts 14 bytes of Ethernet around each packet as well.
    assert quota["used_bytes"] == pytest.approx(used_up + more, rel=0.1)
    assert "WAN wan2: " in printed
    assert "%: in reserve until " in printed
    assert again["used_bytes"] >= quota["used_bytes"]
    assert "WAN wan2 has used up its quota of 4MB" in bond.client.log.read_text()


def test_a_used_up_quota_takes_the_wan_out_if_that_is_wanted(lab: Topology, bond: Bond) -> None:
    use_quota(bond, "2MB", quota_action="off")
    bond.start()
    bond.wait_connected()
    bond.wait_state(METERED, "Up")

    fetch(lab, 10 * MB)
    bond.wait_until(lambda status: len(status["peers"][0]["paths"]) == 1, 10.0, "without it")

    fetch(lab, 1 * MB)
    assert quota_of(bond.client.status())["is_used_up"]


def test_a_directory_that_cannot_be_written_does_not_stop_the_tunnel(
    lab: Topology, bond: Bond, tmp_path: Path
) -> None:
    (tmp_path / "no directory").touch()
    bond.client.document["control"]["state_directory"] = str(tmp_path / "no directory")
    use_quota(bond, "2MB")
    bond.start()
    bond.wait_connected()
    bond.wait_state(METERED, "Up")

    fetch(lab, 10 * MB)
    bond.wait_until(lambda _: is_in_reserve(bond) == [True, True], 10.0, "in reserve")
    bond.wait_until(lambda status: not quota_of(status)["is_kept"], 15.0, "found not to be kept")

    assert bond.client.log.read_text().count("cannot be written") == 1
