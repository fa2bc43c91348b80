"""`mwb doctor` finds what is wrong, and says what to do."""

import json
from typing import Any

import pytest

from multiwanbond.lab.bond import Bond, path_of
from multiwanbond.lab.topology import Topology

from .conftest import BuildBond

pytestmark = pytest.mark.netns


def findings(bond: Bond, end: str = "client", *, code: int = 0) -> dict[str, list[str]]:
    """The texts that `mwb doctor` has at one end, by their level."""
    daemon = bond.client if end == "client" else bond.server
    done = daemon.mwb("doctor", "--json", check=False)
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, list[str]] = {}
    entries: list[dict[str, Any]] = json.loads(done.stdout)
    for each in entries:
        found.setdefault(each["level"], []).append(f"{each['text']} {each['remedy']}".strip())
    return found


def test_without_a_daemon_the_server_is_called_over_every_wan(
    lab: Topology, build_bond: BuildBond
) -> None:
    bond = build_bond(lab)
    bond.server.start()
    bond.server.wait_ready()

    good = findings(bond)["good"]

    for name in ("Fibre", "LTE", "DSL"):
        assert any(text.startswith(f"WAN {name}: 198.51.100.1:9000 answers") for text in good)


def test_a_wan_over_which_the_server_cannot_be_reached_is_named(
    lab: Topology, build_bond: BuildBond
) -> None:
    bond = build_bond(lab)
    bond.server.start()
    bond.server.wait_ready()
    lab.black_out(2)

    found = findings(bond, code=1)

    (bad,) = found["bad"]
    assert bad.startswith("WAN LTE: 198.51.100.1:9000 does not answer. Does the server run")
    assert any(text.startswith("WAN Fibre:") for text in found["good"])


def test_beside_a_daemon_it_is_the_daemon_that_is_asked(bond: Bond) -> None:
    before = (bond.client.status() or {})["peers"][0]["handshakes"]

    good = findings(bond)["good"]

    assert any("server by Fibre: Up" in text for text in good)
    assert (bond.client.status() or {})["peers"][0]["handshakes"] == before


def test_another_firewall_that_drops_what_is_forwarded_is_found(bond: Bond) -> None:
    chain = "chain FORWARD {\ntype filter hook forward priority 0; policy drop;\n}"
    drop = f"table ip filter {{\n{chain}\n}}\n"
    bond.server.namespace.run("nft", "-f", "-", text_in=drop)

    (warning,) = findings(bond, "server")["warning"]

    assert "'ip filter FORWARD' drops" in warning


def test_two_wans_behind_one_gateway_may_share_a_line(lab: Topology, build_bond: BuildBond) -> None:
    gateway = lab.wan(1).gateway_ipv4
    lab.client.configure(
        [
            f"route del default via {lab.wan(2).gateway_ipv4}",
            f"route add {gateway}/32 dev wan2 metric 9",
            f"route add default via {gateway} dev wan2 metric 200",
        ]
    )
    bond = build_bond(lab)

    found = findings(bond, code=1)

    assert any(
        f"wan1 and wan2 have the same gateway, {gateway}" in text for text in found["warning"]
    )


def test_a_line_that_is_narrower_than_its_interface_says_is_named(
    bond: Bond, lab: Topology
) -> None:
    lab.change(1, mtu=1400)
    bond.client.namespace.run("ping", "-c20", "-i0.1", "-s1390", "-W1", "10.77.0.1", check=False)
    bond.wait_until(
        lambda status: path_of(status, 1)["mtu"] == 1400 and path_of(status, 1)["carries_packets"],
        20.0,
        "narrow",
    )

    notes = findings(bond)["note"]

    assert "Fibre carries packets of 1400 bytes at most." in notes
