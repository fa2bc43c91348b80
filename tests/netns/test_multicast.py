"""Multicast between hosts behind both ends: carried where wanted, off by default, loop-free."""

import time

import pytest

from multiwanbond.lab.bond import Bond
from multiwanbond.lab.topology import Topology, line

from .conftest import BuildBond, BuildLab
from .kernel_state import kernel_state
from .multicast_lab import (
    ENABLED,
    GROUPS,
    Lan,
    SecondClient,
    arrives,
    drain,
    member,
    send,
    start,
    wait_for,
)

pytestmark = pytest.mark.netns

BOTH = [4, 6]


@pytest.fixture
def lab(build_lab: BuildLab) -> Topology:
    return build_lab([line(50, 0.01), line(50, 0.02)])


def enabled(build_bond: BuildBond, lab: Topology) -> Bond:
    bond = build_bond(lab)
    for daemon in bond.daemons:
        daemon.document["session"] |= ENABLED
    return bond


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize("direction", ["up", "down"])
def test_hosts_behind_both_ends_exchange_packets_to_groups(
    lab: Topology, build_bond: BuildBond, version: int, direction: str
) -> None:
    near, far = Lan(lab, lab.client, 10), Lan(lab, lab.server, 20)
    bond = enabled(build_bond, lab)
    start(bond, behind_client=near.prefixes, behind_server=far.prefixes)
    sender, receiver = (near, far) if direction == "up" else (far, near)
    words = [b"%d" % number for number in range(20)]

    with member(receiver.host, version) as inbox:
        has_arrived = arrives(inbox, sender.host, version)
        for word in words:
            send(sender.host, version, word)
        heard = drain(inbox)

    assert has_arrived
    assert heard == words
    status = bond.client.status()
    assert status is not None
    assert status["multicast"]["interfaces"] == ["lan0"]


@pytest.mark.parametrize("version", BOTH)
def test_a_host_that_joins_and_leaves_is_followed(
    lab: Topology, build_bond: BuildBond, version: int
) -> None:
    near, far = Lan(lab, lab.client, 10), Lan(lab, lab.server, 20)
    bond = enabled(build_bond, lab)
    start(bond, behind_client=near.prefixes, behind_server=far.prefixes)
    group = GROUPS[version]

    def is_wanted() -> bool:
        status = bond.client.status()
        return status is not None and group in status["multicast"]["wanted_there"]

    with member(far.host, version):
        has_joined = wait_for(is_wanted)
    has_left = wait_for(lambda: not is_wanted())
    before = lab.statistics()["wan1"]["to_server"]["delivered"]
    for _ in range(200):
        send(near.host, version, bytes(1000))
    after = lab.statistics()["wan1"]["to_server"]["delivered"]

    assert has_joined
    assert has_left
    assert after - before < 100  # probes and feedback


@pytest.mark.parametrize(
    ("version", "setting"),
    [(4, "net.ipv4.conf.eth0.force_igmp_version=2"), (6, "net.ipv6.conf.eth0.force_mld_version=1")],
    ids=["IGMPv2", "MLDv1"],
)
def test_a_host_that_speaks_an_older_version_is_heard(
    lab: Topology, build_bond: BuildBond, version: int, setting: str
) -> None:
    near, far = Lan(lab, lab.client, 10), Lan(lab, lab.server, 20)
    far.host.run("sysctl", "-w", setting)
    bond = enabled(build_bond, lab)
    start(bond, behind_client=near.prefixes, behind_server=far.prefixes)

    with member(far.host, version) as inbox:
        has_arrived = arrives(inbox, near.host, version)
    has_left = wait_for(
        lambda: (
            (status := bond.server.status()) is not None and not status["multicast"]["wanted_here"]
        )
    )

    assert has_arrived
    assert has_left


@pytest.mark.parametrize("version", BOTH)
def test_programs_of_both_ends_need_no_interface_to_use_a_group(
    lab: Topology, build_bond: BuildBond, version: int
) -> None:
    bond = enabled(build_bond, lab)
    start(bond, behind_client=[], behind_server=[])

    with member(lab.server, version, device="mwb1") as inbox:
        assert arrives(inbox, lab.client, version, device=None)
    with member(lab.client, version, device="mwb0") as inbox:
        assert arrives(inbox, lab.server, version, device=None)


def test_the_server_serves_several_clients_and_passes_on_what_one_of_them_sends(
    lab: Topology, build_bond: BuildBond
) -> None:
    bond = enabled(build_bond, lab)
    far = Lan(lab, lab.server, 20)
    second = SecondClient(lab, bond)
    start(bond, behind_client=[], behind_server=far.prefixes)
    second.daemon.start()
    second.daemon.wait_ready()

    with (
        member(lab.client, 4, device="mwb0") as first_inbox,
        member(second.namespace, 4, device="mwb0") as second_inbox,
    ):
        reached = [arrives(inbox, far.host, 4) for inbox in (first_inbox, second_inbox)]
        drain(first_inbox)
        send(far.host, 4, b"to all")
        from_host = [drain(inbox) for inbox in (first_inbox, second_inbox)]
        send(lab.client, 4, b"to the other", device="mwb0")
        from_client = [drain(inbox) for inbox in (first_inbox, second_inbox)]

    assert reached == [True, True]
    assert from_host == [[b"to all"], [b"to all"]]
    # The first by its own kernel, which hands a group's packets to the sender's programs, too.
    assert from_client == [[b"to the other"], [b"to the other"]]
    status = bond.server.status()
    assert status is not None
    assert status["multicast"]["relayed_packets"] == 1


def test_a_packet_with_one_hop_to_go_stays_on_its_lan(lab: Topology, build_bond: BuildBond) -> None:
    near, far = Lan(lab, lab.client, 10), Lan(lab, lab.server, 20)
    bond = enabled(build_bond, lab)
    start(bond, behind_client=near.prefixes, behind_server=far.prefixes)

    with member(far.host, 4) as inbox:
        assert arrives(inbox, near.host, 4)
        for hops in (1, 2, 3, 4):
            send(near.host, 4, b"%d" % hops, hops=hops)
        heard = drain(inbox)

    # One for the client's router, one for the server's.
    assert heard == [b"3", b"4"]


@pytest.mark.parametrize("version", BOTH)
def test_nothing_crosses_by_default(lab: Topology, build_bond: BuildBond, version: int) -> None:
    near, far = Lan(lab, lab.client, 10), Lan(lab, lab.server, 20)
    bond = build_bond(lab)
    start(bond, behind_client=near.prefixes, behind_server=far.prefixes)

    with member(far.host, version) as inbox, member(lab.server, version, device="mwb1") as other:
        assert not arrives(inbox, near.host, version, timeout=2.0)
        assert not arrives(other, lab.client, version, device="mwb0", timeout=2.0)
    assert lab.client.run("cat", "/proc/net/ip_mr_vif").stdout.count("\n") == 1


def test_a_network_that_both_ends_share_does_not_multiply_packets(
    lab: Topology, build_bond: BuildBond
) -> None:
    near, far = Lan(lab, lab.client, 10), Lan(lab, lab.server, 20)
    # A cable between the two LANs, beside the bond.
    for end, name in ((near, "client"), (far, "server")):
        end.end.configure(
            [
                "link add br0 type bridge mcast_snooping 0",
                "link set br0 up",
                f"addr del {end.addresses[4][:-1]}1/24 dev lan0",
                "link set lan0 master br0",
                f"addr add {end.addresses[4][:-1]}1/24 dev br0",
            ]
        )
        if name == "client":
            end.end.configure([f"link add cable type veth peer name cable netns {far.end.name}"])
        end.end.configure(["link set cable master br0", "link set cable up"])
    bond = enabled(build_bond, lab)
    start(bond, behind_client=near.prefixes[:1], behind_server=far.prefixes[:1])
    words = [b"%d" % number for number in range(50)]

    with member(far.host, 4) as inbox, member(near.host, 4) as other:
        assert arrives(inbox, near.host, 4)
        drain(other)
        for word in words:
            send(near.host, 4, word, hops=64)
            time.sleep(0.01)
        heard, heard_beside = drain(inbox), drain(other)

    # One copy by the cable and one by the bond at most; a loop would bring thirty.
    stopped = [
        status["multicast"]["looped_packets"] for d in bond.daemons if (status := d.status())
    ]
    assert sum(stopped) >= len(words)
    for each in (heard, heard_beside):
        assert set(each) == set(words)
        assert len(each) <= 2 * len(words)


def test_the_machine_is_left_as_it_was_found_even_by_a_killed_daemon(
    lab: Topology, build_bond: BuildBond
) -> None:
    near, far = Lan(lab, lab.client, 10), Lan(lab, lab.server, 20)
    ends = (lab.client, lab.server)
    before = [kernel_state(end) for end in ends]
    routers = [_router(end) for end in ends]
    bond = enabled(build_bond, lab)
    start(bond, behind_client=near.prefixes, behind_server=far.prefixes)
    with member(far.host, 4) as inbox:
        assert arrives(inbox, near.host, 4)
    during = [_router(end) for end in ends]

    bond.client.kill()
    bond.client.mwb("down")
    bond.server.stop()

    assert [kernel_state(end) for end in ends] == before
    assert [_router(end) for end in ends] == routers
    assert all(one != other for one, other in zip(during, routers, strict=True))


def test_a_second_multicast_router_on_the_machine_is_named_as_the_obstacle(
    lab: Topology, build_bond: BuildBond
) -> None:
    bond = enabled(build_bond, lab)
    start(bond, behind_client=[], behind_server=[])
    bond.client.document["tunnel"] |= {"name": "mwb7", "address": ["10.99.0.2/24"]}
    bond.client.document["control"]["socket"] += ".second"
    bond.client.write_config()

    done = bond.client.mwb("run", check=False)

    assert done.returncode == 69
    assert "Another program is this host's multicast router for IPv4." in done.stderr
    assert "session.multicast_enabled: false" in done.stderr


def _router(end: object) -> list[str]:
    files = ("/proc/net/ip_mr_vif", "/proc/net/ip6_mr_vif", "/proc/net/ip_mr_cache")
    forwarding = "/proc/sys/net/ipv4/conf/all/mc_forwarding"
    return [end.run("cat", file).stdout.split("\n")[0:8] for file in (*files, forwarding)]  # type: ignore[attr-defined]
