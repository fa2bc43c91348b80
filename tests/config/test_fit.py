"""Settings that contradict each other are found, and no wrong value is blamed twice."""

import pytest

from multiwanbond.config.model import Mode

from .files import CLIENT, OTHER_KEY, PEER_KEY, complaint, complaints, read


@pytest.mark.parametrize(
    ("wans", "expected"),
    [
        (
            "[{id: 1, interface: a}, {id: 1, interface: b}]",
            "wans[1].id: is the same as that of wans[0]",
        ),
        (
            "[{id: 1, name: x, interface: a}, {id: 2, name: x, interface: b}]",
            "wans[1].name: is the same as that of wans[0]",
        ),
        (
            "[{id: 1, local_addr: 10.0.0.1}, {id: 2, local_addr: 10.0.0.1}]",
            "wans[1].local_addr: is the same as that of wans[0]",
        ),
        (
            "[{id: 1, interface: a, local_addr: 10.0.0.1}, {id: 2, local_addr: 10.0.0.1}]",
            "wans[1].local_addr: is the same as that of wans[0]",
        ),
        (
            "[{id: 1, interface: a}, {id: 2, interface: a}]",
            "wans[1].interface: 'a' is already used by wans[0]",
        ),
        ("[{id: 1, name: x}]", "wans[0]: says neither interface nor local_addr"),
    ],
)
def test_wans_that_cannot_be_told_apart_are_refused(wans: str, expected: str) -> None:
    assert expected in complaint(f"wans: {wans}\n{CLIENT}")


def test_one_interface_may_carry_two_wans_with_addresses_of_their_own() -> None:
    found = read(
        "wans: [{id: 1, interface: a, local_addr: 10.0.0.1},"
        f" {{id: 2, interface: a, local_addr: 10.0.0.2}}]\n{CLIENT}"
    )

    assert len(found.wans) == 2


def test_two_interfaces_may_have_the_same_address() -> None:
    found = read(
        "wans: [{id: 1, interface: a, local_addr: 192.168.8.100},"
        f" {{id: 2, interface: b, local_addr: 192.168.8.100}}]\n{CLIENT}"
    )

    assert len(found.wans) == 2


@pytest.mark.parametrize(
    ("key", "client"),
    [
        ("session.remote_endpoint", CLIENT.replace("vps.example.net", "10.77.0.1")),
        (
            "wans[0].remote_addr",
            f'wans: [{{id: 1, interface: a, remote_addr: "10.77.0.1:9000"}}]\n{CLIENT}',
        ),
        ("wans[0].local_addr", f"wans: [{{id: 1, local_addr: 10.77.0.1}}]\n{CLIENT}"),
    ],
    ids=["server", "server of a WAN", "WAN"],
)
def test_an_address_outside_the_tunnel_is_not_in_the_tunnels_network(key: str, client: str) -> None:
    expected = f"10.77.0.2/24 has 10.77.0.1 in its network, which is {key}, outside the tunnel"

    assert expected in complaint(client)


def test_a_client_must_know_its_server() -> None:
    found = complaint("mode: client")

    assert "session.remote_endpoint: is missing" in found


def test_a_client_whose_wans_all_know_the_server_needs_no_other_address() -> None:
    found = read("mode: client\nwans: [{id: 1, interface: a, remote_addr: 'vps:9000'}]")

    assert found.session.remote_endpoint is None


def test_a_server_needs_no_remote_endpoint() -> None:
    found = read("wans: [{id: 1, name: x}]", mode=Mode.SERVER)

    assert found.mode is Mode.SERVER


@pytest.mark.parametrize(
    "text",
    [
        "mode: client\nsession: {remote_endpoint: vps}",
        "mode: client\nsession: vps",
        "mode: client\nwans: [{id: x, interface: a, remote_addr: 'vps:9000'}]",
        "mode: client\nsession: {remote_endpoint: 'v:1'}\nwans: [{id: 1, local_addr: x}]",
    ],
)
def test_a_value_that_cannot_be_read_is_not_called_missing_as_well(text: str) -> None:
    assert "missing" not in complaint(text)


SPARE = f"    - {{name: spare, public_key: '{OTHER_KEY}', endpoint: 'spare.example.net:9000'}}\n"


def test_a_client_may_have_several_servers() -> None:
    found = read(CLIENT + SPARE)

    assert [str(each.session.remote_endpoint) for each in found.servers] == [
        "vps.example.net:9000",
        "spare.example.net:9000",
    ]
    assert [each.security.peers for each in found.servers] == [
        (peer,) for peer in found.security.peers
    ]


def test_several_servers_are_behind_the_same_addresses() -> None:
    everything = "allowed_ips: [0.0.0.0/0]"
    text = CLIENT.replace("allowed_ips: [10.77.0.0/24]", everything)

    assert read(text + SPARE.replace("}", f", {everything}}}")).mode is Mode.CLIENT


def test_a_server_alone_may_have_its_own_endpoint() -> None:
    found = read(f"mode: client\nsecurity:\n  peers:\n{SPARE}")

    assert [str(each.session.remote_endpoint) for each in found.servers] == [
        "spare.example.net:9000"
    ]


def test_each_of_several_servers_must_be_somewhere() -> None:
    found = complaint(f"{CLIENT}    - {{public_key: '{OTHER_KEY}'}}\n")

    assert "security.peers[1].endpoint: is missing: each of several servers has its own" in found


def test_a_wan_cannot_lead_to_one_of_several_servers() -> None:
    found = complaint(f"wans: [{{id: 1, interface: a, remote_addr: 'v:1'}}]\n{CLIENT}{SPARE}")

    assert "wans[0].remote_addr: leads to one server" in found


def test_a_server_calls_nobody() -> None:
    found = complaint(f"mode: server\nsecurity:\n  peers:\n{SPARE}")

    assert "security.peers[0].endpoint: says where a server is, but this is one" in found


def test_a_named_spare_server_could_not_be_looked_up_while_everything_is_blocked() -> None:
    text = CLIENT.replace("vps.example.net", "192.0.2.1").replace("10.77.0.0/24", "0.0.0.0/0")
    blocking = text.replace("tunnel: {", "tunnel: {on_failure: block, ")

    found = complaint(blocking + SPARE)

    assert "security.peers[1].endpoint: 'spare.example.net' could not be looked up" in found


def peers(first: str, second: str) -> str:
    return (
        "mode: server\nsecurity:\n  peers:\n"
        f"    - {{name: a, public_key: '{PEER_KEY}', allowed_ips: [{first}]}}\n"
        f"    - {{name: b, public_key: '{OTHER_KEY}', allowed_ips: [{second}]}}\n"
    )


def test_two_peers_cannot_have_the_same_prefix() -> None:
    found = complaint(peers("10.0.0.1/32, 10.0.1.0/24", "10.0.2.0/24, 10.0.1.0/24"))

    assert found.startswith("test.yaml:5:")
    assert "security.peers[1].allowed_ips[1]: 10.0.1.0/24 is already behind the peer 'a'" in found


def test_a_narrower_prefix_may_be_behind_another_peer() -> None:
    found = read(peers("10.0.0.0/8", "10.0.1.0/24"))

    assert len(found.security.peers) == 2


def test_two_peers_cannot_have_the_same_key_or_name() -> None:
    text = peers("10.0.0.1/32", "10.0.0.2/32").replace(OTHER_KEY, PEER_KEY).replace("b,", "a,")

    found = complaints(text)

    assert [line.split(" ")[1] for line in found] == [
        "security.peers[1].name:",
        "security.peers[1].public_key:",
    ]


def test_a_key_is_given_once() -> None:
    found = complaints(
        f"security:\n  private_key: '{PEER_KEY}'\n  private_key_file: private.key\n"
        f"  peers: [{{public_key: '{PEER_KEY}', preshared_key: '{PEER_KEY}',"
        " preshared_key_file: psk}]\n"
    )

    assert "security.private_key_file: private_key is given as well" in found[0]
    assert "security.peers[0].preshared_key_file: preshared_key is given as well" in found[1]


def test_ipv6_needs_a_large_enough_tunnel() -> None:
    found = complaint("tunnel: {address: ['fd77::1/64'], mtu: 1000}")

    assert "tunnel.mtu: 1000 is too small for IPv6" in found


def test_a_route_must_lead_to_a_peer() -> None:
    found = complaint(CLIENT.replace("tunnel: {", "tunnel: {routes: [10.77.0.0/16, 10.9.0.0/16], "))

    assert "tunnel.routes[1]: no peer has 10.9.0.0/16 in its allowed_ips" in found


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("quota_day: 15", "wans[0].quota_day: says nothing without a quota"),
        ("quota_period: day", "wans[0].quota_period: says nothing without a quota"),
        ("quota_action: off", "wans[0].quota_action: says nothing without a quota"),
        (
            "quota: 1GB, quota_period: day, quota_day: 15",
            "wans[0].quota_day: is for quotas of a month, but quota_period is day",
        ),
        ("quota: 1GB, quota_day: 32", "wans[0].quota_day: '32' is out of range"),
        ("quota: 50", "wans[0].quota: expected an amount of data, found '50'"),
    ],
)
def test_what_says_nothing_about_a_quota_is_refused(said: str, expected: str) -> None:
    assert expected in complaint(f"wans: [{{id: 1, interface: a, {said}}}]\n{CLIENT}")


def test_a_quota_is_written_as_providers_do() -> None:
    found = read(f"wans: [{{id: 1, interface: a, quota: 50 GB, quota_day: 15}}]\n{CLIENT}")

    assert found.wans[0].quota == 50e9
