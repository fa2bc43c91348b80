"""Lines that swallow large packets while every interface says 1500, on a real kernel."""

from contextlib import closing
from dataclasses import replace

import pytest

from multiwanbond.lab.bond import SERVER_INNER_IPV4, SERVER_INNER_IPV6, Bond, Document, path_of
from multiwanbond.lab.topology import SERVER_IPV4, SERVER_IPV6, Topology, WanSpec, line

from .conftest import BuildBond, BuildLab
from .inner import echo, echoed
from .test_bond import download, wait_received

pytestmark = pytest.mark.netns


def narrow_line(mbit: float, rtt: float, mtu: int) -> WanSpec:
    spec = line(mbit, rtt)
    assert spec.to_server is not None
    settings = replace(spec.to_server, mtu=mtu)
    return WanSpec(to_server=settings, to_client=settings)


def start(build_bond: BuildBond, lab: Topology, *, outer: str = SERVER_IPV4) -> Bond:
    bond = build_bond(lab, outer_host=outer)
    if outer == SERVER_IPV4:
        # Listening on IPv6 as well, it would leave room for the larger header.
        bond.server.document["session"]["local_endpoint"] = "0.0.0.0:9000"
        bond.server.write_config()
    bond.start()
    bond.wait_connected()
    return bond


def wait_found(bond: Bond, *mtus: int) -> None:
    """Return when the client has found that its lines carry so much."""
    wans = range(1, len(mtus) + 1)
    bond.wait_until(
        lambda status: tuple(found(status, wan) for wan in wans) == mtus, 10, f"at {mtus}"
    )


def found(status: Document | None, wan: int) -> int | None:
    path = path_of(status, wan)
    return path["mtu"] if path.get("mtu_state") == "found" else None


def interface_mtu(bond: Bond) -> tuple[int, int]:
    """The MTUs of the tunnel's interface at the client and at the server."""
    return tuple(  # type: ignore[return-value]  # two of them
        int(daemon.namespace.run("cat", f"/sys/class/net/{name}/mtu").stdout)
        for daemon, name in ((bond.client, "mwb0"), (bond.server, "mwb1"))
    )


@pytest.mark.parametrize(
    ("outer", "mtus", "inner"),
    [
        (SERVER_IPV4, (1492, 1500), 1432),
        (SERVER_IPV4, (1428, 1492), 1368),
        (SERVER_IPV4, (1437, 1437), 1377),
        (SERVER_IPV6, (1428, 1492), 1348),
    ],
    ids=["pppoe", "lte-and-pppoe", "odd", "outer-v6"],
)
def test_a_transfer_fits_lines_that_swallow_more_than_they_say(
    build_lab: BuildLab,
    build_bond: BuildBond,
    outer: str,
    mtus: tuple[int, int],
    inner: int,
) -> None:
    lab = build_lab([narrow_line(50, 0.01, mtus[0]), narrow_line(50, 0.02, mtus[1])])
    bond = start(build_bond, lab, outer=outer)

    with closing(download(lab, size=20_000_000)) as transfer:
        early = transfer.wait(30)
    wait_found(bond, *mtus)
    with closing(download(lab, size=5_000_000, host=SERVER_INNER_IPV6)) as transfer:
        late = transfer.wait(30)

    assert early.is_intact
    assert late.is_intact
    assert interface_mtu(bond) == (inner, inner)
    with echo(lab) as near:
        assert echoed(near, inner - 28, 100) >= 99
        assert echoed(near, 1400, 100) >= 99  # the kernel inside knows, and fragments
    print(f"longest stalls: {early.longest_stall} s, {late.longest_stall} s")
    assert "MTU" in bond.client.mwb("status").stdout


def test_a_limit_that_appears_in_the_middle_of_a_transfer_costs_it_a_moment(
    build_lab: BuildLab, build_bond: BuildBond
) -> None:
    lab = build_lab([line(50, 0.01), line(50, 0.02)])
    bond = start(build_bond, lab)
    wait_found(bond, 1500, 1500)

    with closing(download(lab, size=100_000_000)) as transfer:
        wait_received(transfer, 20_000_000)
        lab.change(1, mtu=1428)
        result = transfer.wait(60)

    print(f"{result.seconds} s, longest stall {result.longest_stall} s")
    assert result.is_intact
    assert result.longest_stall < 2.0
    assert interface_mtu(bond)[1] == 1368
    server = bond.server.status()
    assert server is not None
    assert server["peers"][0]["paths"][0]["mtu"] == 1428
    assert server["peers"][0]["paths"][0]["black_holes"] == 1


def test_a_line_too_narrow_for_the_tunnel_carries_nothing_and_status_says_so(
    build_lab: BuildLab, build_bond: BuildBond
) -> None:
    lab = build_lab([narrow_line(50, 0.01, 1300), line(50, 0.02)])
    bond = start(build_bond, lab)
    wait_found(bond, 1300, 1500)

    with closing(download(lab, size=5_000_000, host=SERVER_INNER_IPV4)) as transfer:
        assert transfer.wait(30).is_intact

    status = bond.client.status()
    assert not path_of(status, 1)["carries_packets"]
    assert path_of(status, 1)["received_bytes"] < 300_000
    assert "carries no packets now: only 1300 bytes" in bond.client.mwb("status").stdout
    assert interface_mtu(bond) == (1440, 1440)
