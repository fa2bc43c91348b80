"""Networks inside the tunnel that are outside as well: refused, warned of, or nobody's business."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from multiwanbond.lab.bond import Bond
from multiwanbond.lab.topology import SERVER_IPV4, Topology

from .conftest import BuildBond
from .inner import ping_through
from .kernel_state import kernel_state
from .sticks import Sticks
from .test_bond import download
from .test_doctor import findings

pytestmark = pytest.mark.netns


@pytest.fixture
def sticks(kernel: None) -> Iterator[Sticks]:
    with Sticks() as lab:
        yield lab


def add_lan(lab: Topology, address: str) -> None:
    """Give the client another interface, with this address."""
    lab.client.configure(
        [
            "link add lan0 type veth peer name lan0-far",
            "link set lan0 addrgenmode none",
            "link set lan0-far addrgenmode none up",
            f"addr add {address} dev lan0",
            "link set lan0 up",
        ]
    )


def up(bond: Bond) -> tuple[int, str]:
    """The exit code of the client's `mwb up`, and what it says."""
    log = bond.client.config.with_suffix(".up.log")
    done = bond.client.mwb("up", "--log", str(log), check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("lan", "routes", "said"),
    [
        ("10.77.0.9/24", (), "The tunnel address 10.77.0.2/24 is in the network 10.77.0.0/24 of "
         "lan0, which has 10.77.0.9/24"),
        ("192.168.7.1/24", ("192.168.7.0/24",), "192.168.7.0/24 is to be routed into the tunnel, "
         "and is in the network 192.168.7.0/24 of lan0"),
    ],
    ids=["address", "route"],
)  # fmt: skip
def test_an_overlap_with_a_lan_is_refused_with_its_reason(
    lab: Topology, build_bond: BuildBond, lan: str, routes: tuple[str, ...], said: str
) -> None:
    add_lan(lab, lan)
    bond = build_bond(lab, routes=routes)
    bond.server.start()
    bond.server.wait_ready()
    before = kernel_state(lab.client)

    code, text = up(bond)

    assert code == 78, text
    assert said in text
    assert kernel_state(lab.client) == before
    assert any(said in each for each in findings(bond, code=1)["bad"])
    assert f"Note: {said}" in bond.client.mwb("check").stdout


def test_a_wan_within_a_wide_network_of_the_tunnel_is_nobodys_business(
    lab: Topology, build_bond: BuildBond
) -> None:
    bond = build_bond(lab, routes=("10.0.0.0/8",))

    bond.start()
    bond.wait_connected()

    assert ping_through(lab)
    assert "warning" not in findings(bond)


def test_a_server_within_a_network_of_the_tunnel_is_reached_by_the_wans(
    lab: Topology, build_bond: BuildBond
) -> None:
    bond = build_bond(lab, routes=("198.51.100.0/24",))

    bond.start()
    bond.wait_connected()
    for wan in lab.wans:
        bond.wait_state(wan.number, "Up")
    with closing(download(lab, size=2_000_000, host=SERVER_IPV4)) as transfer:
        assert transfer.wait(20).is_intact

    # Other programs' packets to that address did go through the tunnel, and ours did not.
    status = bond.client.status() or {}
    assert status["peers"][0]["received_bytes"] > 2_000_000
    assert status["peers"][0]["sent_packets"] < 20_000


def test_a_wan_that_comes_with_the_tunnels_network_is_used_and_warned_of(
    sticks: Sticks, build_bond: BuildBond
) -> None:
    bond = build_bond(sticks)
    bond.start()
    bond.wait_connected()

    renumber(sticks, "10.77.0.9")

    bond.wait_until(lambda status: bool(status["wans"][1]["warning"]), 10.0, "warned")
    bond.wait_state(2, "Up")
    bond.wait_state(1, "Up")
    said = "The tunnel address 10.77.0.2/24 is in the network 10.77.0.0/24 of wan2"
    assert said in bond.client.log.read_text()
    assert said in bond.client.mwb("status").stdout
    assert ping_through(sticks)


def test_a_wan_that_comes_with_the_tunnels_address_waits_and_the_other_goes_on(
    sticks: Sticks, build_bond: BuildBond
) -> None:
    bond = build_bond(sticks)
    bond.start()
    bond.wait_connected()

    renumber(sticks, "10.77.0.2")

    bond.wait_until(
        lambda status: "the address of mwb0" in str(status["wans"][1]["waiting_for"]),
        10.0,
        "waiting",
    )
    bond.wait_state(1, "Up")
    rules = sticks.client.run("ip", "rule").stdout
    assert "from 10.77.0.2" not in rules  # what programs send from it must not leave by the WAN
    assert bond.client.is_running


def renumber(sticks: Sticks, host: str) -> None:
    """Let the second stick give another network, 10.77.0.0/24."""
    sticks.sticks[1].configure(["addr flush dev lan0", "addr add 10.77.0.1/24 dev lan0"])
    sticks.client.configure(
        [
            "addr flush dev wan2",
            f"addr add {host}/24 dev wan2",
            "route add default via 10.77.0.1 dev wan2 metric 200",
        ]
    )
