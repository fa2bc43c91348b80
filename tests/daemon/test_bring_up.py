"""A bring-up leaves the machine ready, or as it was."""

from dataclasses import replace
from pathlib import Path

import pytest

from multiwanbond.config.notations import HostPort
from multiwanbond.daemon.bring_up import bring_up, fitting_mtu, tear_down
from multiwanbond.daemon.machine import MulticastWish
from multiwanbond.errors import PlatformError

from .machine import FakeMachine
from .sites import Sites, client_plan, server_plan

STEPS = ["check", "lock", "clean up", "mtu of", "tun mwb0", "address", "up mwb0"]


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    """A client's machine with two WANs."""
    return Sites(tmp_path).client


def test_a_bring_up_changes_the_machine_in_order_and_tear_down_reverses_it(
    machine: FakeMachine, tmp_path: Path
) -> None:
    standing = bring_up(client_plan(tmp_path), machine)
    brought_up = list(machine.standing)
    tear_down(standing.undo)

    assert brought_up == ["lock mwb0", "address 10.77.0.2/24", "up mwb0 mtu 1440"]
    assert [entry for entry in machine.log if entry.startswith("undo")] == [
        f"undo {change}" for change in reversed(brought_up)
    ]
    assert machine.standing == []


@pytest.mark.parametrize("step", STEPS)
def test_a_bring_up_that_fails_at_any_step_leaves_nothing_behind(
    machine: FakeMachine, tmp_path: Path, step: str
) -> None:
    machine.fails_at = step

    with pytest.raises(PlatformError, match=step):
        bring_up(client_plan(tmp_path), machine)

    assert machine.standing == []
    assert list(tmp_path.iterdir()) == []


def test_a_control_socket_that_cannot_be_made_takes_the_tunnel_back(
    machine: FakeMachine, tmp_path: Path
) -> None:
    (tmp_path / "client.sock").write_text("in the way")

    with pytest.raises(PlatformError, match=r"client\.sock"):
        bring_up(client_plan(tmp_path), machine)

    assert machine.standing == []
    assert machine.tun is not None


def test_leftovers_are_removed_before_anything_is_made(
    machine: FakeMachine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    machine.leftovers = ["ip rule 100"]

    standing = bring_up(client_plan(tmp_path), machine)

    assert "Removed what an earlier daemon left: ip rule 100." in caplog.text
    assert machine.log.index("clean up") < machine.log.index("tun mwb0")
    tear_down(standing.undo)


@pytest.mark.parametrize(
    ("host", "mtu"), [("198.51.100.1", 1440), ("2001:db8::1", 1420), ("vps.example.net", 1420)]
)
def test_the_mtu_leaves_room_for_the_headers_of_the_servers_address(
    machine: FakeMachine, tmp_path: Path, host: str, mtu: int
) -> None:
    plan = client_plan(tmp_path, remote=HostPort(host, 9000))

    assert fitting_mtu(plan, machine) == mtu


def test_the_mtu_is_that_of_the_narrowest_wan(machine: FakeMachine, tmp_path: Path) -> None:
    machine.mtus["wwan0"] = 1400

    assert fitting_mtu(client_plan(tmp_path), machine) == 1340
    assert fitting_mtu(client_plan(tmp_path, is_discovering=True), machine) == 1340


def test_an_mtu_that_the_operator_set_wins(tmp_path: Path) -> None:
    standing = bring_up(server_plan(tmp_path), Sites(tmp_path).server)

    assert standing.mtu == 1400
    tear_down(standing.undo)


def test_a_step_that_cannot_be_undone_does_not_stop_the_others(
    machine: FakeMachine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    standing = bring_up(client_plan(tmp_path), machine)

    def refuse() -> None:
        raise PlatformError("device busy", "")

    standing.undo.push("ip rule 100", refuse)
    tear_down(standing.undo)

    assert "Could not undo ip rule 100: device busy" in caplog.text
    assert machine.standing == []


def test_a_machine_that_cannot_carry_multicast_is_left_as_it_was(
    machine: FakeMachine, tmp_path: Path
) -> None:
    wish = MulticastWish(interfaces=None, wans=())

    with pytest.raises(PlatformError, match="no multicast router"):
        bring_up(replace(client_plan(tmp_path), multicast=wish), machine)

    assert machine.standing == []
