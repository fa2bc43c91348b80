"""`mwb check` says what a configuration means, and what about it may surprise."""

from multiwanbond.config.summary import remarks, summarise

from .files import CLIENT, OTHER_KEY, PEER_KEY, read


def test_a_client_reads_its_wans_and_routes_in_plain_words() -> None:
    configuration = read(
        "wans: [{id: 1, name: Fibre, type: fiber, interface: eth0},"
        f" {{id: 2, local_addr: 10.0.0.1, enabled: no}}]\n{CLIENT}"
    )

    said = "\n".join(summarise(configuration))

    assert "This is a client; its server is vps at vps.example.net:9000." in said
    assert "WAN 1, Fibre (fiber): by eth0; " in said
    assert "a failure is noticed in about 600ms" in said
    assert "WAN 2, WAN 2: not enabled" in said
    assert "Into the tunnel goes: only its own network" in said


def test_a_client_reads_the_order_of_its_servers() -> None:
    second = (
        f"    - {{name: spare, public_key: '{OTHER_KEY}', endpoint: 'spare.example.net:9000'}}\n"
    )

    said = "\n".join(summarise(read(CLIENT + second)))

    assert "its server is vps at vps.example.net:9000." in said
    assert "While that one does not answer: spare at spare.example.net:9000" in said


def test_a_server_reads_where_it_listens_and_who_is_behind_whom() -> None:
    configuration = read(
        "mode: server\nsession: {local_endpoint: '[::]:9000'}\ntunnel: {address: [10.77.0.1/24]}\n"
        f"security: {{peers: [{{name: home, public_key: '{PEER_KEY}',"
        " allowed_ips: [10.77.0.2/32, 192.168.1.0/24]}]}"
    )

    said = "\n".join(summarise(configuration))

    assert "it listens on UDP [::]:9000." in said
    assert "Client home: behind it 10.77.0.2/32, 192.168.1.0/24" in said
    assert "Into the tunnel goes: 192.168.1.0/24" in said


def test_ipv6_routed_without_an_ipv6_address_is_remarked_on() -> None:
    configuration = read(CLIENT.replace("10.77.0.0/24]", "0.0.0.0/0, '::/0']"))

    (remark,) = remarks(configuration)

    assert "IPv6 is routed into the tunnel, but tunnel.address has none" in remark


def test_ipv6_beside_a_tunnel_for_all_of_ipv4_is_remarked_on() -> None:
    configuration = read(CLIENT.replace("10.77.0.0/24]", "0.0.0.0/0]"))

    (remark,) = remarks(configuration)

    assert "All of IPv4 goes through the tunnel, IPv6 does not" in remark


def test_wans_of_a_server_are_remarked_on() -> None:
    configuration = read("mode: server\nwans: [{id: 1, interface: eth0}]")

    (remark,) = remarks(configuration)

    assert "wans is not used by a server" in remark


def test_an_ordinary_client_causes_no_remark() -> None:
    assert list(remarks(read(CLIENT))) == []
