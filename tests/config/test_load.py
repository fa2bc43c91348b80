"""What is written is what is meant, and every mistake is found, placed and explained at once."""

from ipaddress import IPv4Address, ip_interface, ip_network
from pathlib import Path

import pytest

from multiwanbond.config.load import find_file, load
from multiwanbond.config.model import Configuration, Mode, Offload, WanType
from multiwanbond.config.notations import HostPort
from multiwanbond.core.datagram import Address
from multiwanbond.core.settings import RoutingMode
from multiwanbond.errors import ConfigFileError

from .files import CLIENT, OTHER_KEY, PEER_KEY, complaint, complaints, read, write

DESIGN = f"""\
mode: client
session: {{remote_endpoint: "vps.example.net:9000", reorder_timeout: 50ms}}
wans:
  - {{id: 1, name: Fibre, type: fiber, interface: eth0, gso: off}}
  - {{id: 2, name: LTE, type: lte, local_addr: 192.168.8.100, remote_addr: "[2001:db8::1]:9001"}}
routing: {{mode: per_flow}}
tunnel: {{name: mwb1, address: [10.77.0.2/24], routes: [0.0.0.0/0, "::/0"], mtu: auto}}
security:
  private_key_file: keys/private.key
  peers: [{{name: vps, public_key: "{PEER_KEY}", allowed_ips: [0.0.0.0/0, "::/0"]}}]
control: {{socket: /run/other.sock}}
"""


def test_every_kind_of_value_becomes_its_type() -> None:
    found = read(DESIGN, path="/etc/multiwanbond/config.yaml")

    fibre, lte = found.wans
    assert found.mode is Mode.CLIENT
    assert found.session.remote_endpoint == HostPort("vps.example.net", 9000)
    assert found.session.reorder_timeout == pytest.approx(0.05)
    assert (fibre.type, fibre.interface, fibre.gso) == (WanType.FIBER, "eth0", Offload.OFF)
    assert lte.local_addr == IPv4Address("192.168.8.100")
    assert found.remote_of(fibre) == HostPort("vps.example.net", 9000)
    assert found.remote_of(lte) == HostPort("2001:db8::1", 9001)
    assert found.routing.mode is RoutingMode.PER_FLOW
    assert found.tunnel.address == (ip_interface("10.77.0.2/24"),)
    assert found.tunnel.mtu is None
    assert found.routes == (ip_network("0.0.0.0/0"), ip_network("::/0"))
    assert found.security.private_key_file == Path("/etc/multiwanbond/keys/private.key")
    assert found.control_socket == Path("/run/other.sock")


def test_what_is_not_said_has_its_default() -> None:
    found = read("mode: server")

    assert found == Configuration(mode=Mode.SERVER)
    assert found.session.local_endpoint == Address("0.0.0.0", 9000)
    assert found.control_socket == Path("/run/multiwanbond/mwb0.sock")


def test_the_references_own_file_loads_unchanged() -> None:
    path = Path(__file__).parents[2] / "deploy" / "config.json"

    found = load(path, mode=Mode.CLIENT)

    assert [(wan.id, wan.name, str(wan.local_addr)) for wan in found.wans] == [
        (1, "Primary", "192.168.1.100"),
        (2, "Backup", "192.168.2.100"),
    ]
    assert found.session.remote_endpoint == HostPort("server.example.com", 9000)
    assert found.routing.mode is RoutingMode.ADAPTIVE


def test_the_command_line_overrides_the_mode() -> None:
    found = read(CLIENT, mode=Mode.SERVER)

    assert found.mode is Mode.SERVER


def test_json_may_be_indented_with_tabs() -> None:
    found = read('{\n\t"mode": "server",\n\t"tunnel": {"mtu":\t1400}\n}')

    assert found.tunnel.mtu == 1400


def test_json_may_escape_any_character() -> None:
    found = read('{"wans": [{"id": 1, "name": "\\ud83d\\udef0 \\u00e4"}]}')

    assert found.wans[0].name == "\U0001f6f0 ä"


def test_an_empty_section_and_an_empty_text_say_nothing() -> None:
    found = read('mode: server\nwans:\nsecurity: ~\nsession: {remote_endpoint: ""}')

    assert found == Configuration(mode=Mode.SERVER)


def test_anchors_may_be_used() -> None:
    found = read(
        "mode: server\nsession: {reorder_timeout: &patience 50ms}\nhealth: {max_latency: *patience}"
    )

    assert found.health.max_latency == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("no", False), ("Off", False), ("false", False), ('"true"', True), ("YES", True)],
)
def test_booleans_are_words(text: str, expected: bool) -> None:
    found = read(f"wans: [{{id: 1, interface: eth0, enabled: {text}}}]")

    assert found.wans[0].enabled is expected


def test_numbers_are_decimal_whatever_yaml_thinks() -> None:
    found = read("session: {reorder_buffer: 010}\ntunnel: {name: 1e3}")

    assert found.session.reorder_buffer == 10
    assert found.tunnel.name == "1e3"


def test_routes_are_the_allowed_ips_less_what_the_tunnels_network_brings() -> None:
    found = read(
        "mode: server\n"
        "tunnel: {address: [10.77.0.1/24]}\n"
        "security:\n"
        "  peers:\n"
        f"    - {{public_key: '{PEER_KEY}', allowed_ips: [10.77.0.2/32, 192.168.1.0/24]}}\n"
        f"    - {{public_key: '{OTHER_KEY}', allowed_ips: ['fd00::/64']}}\n"
    )

    assert found.routes == (ip_network("192.168.1.0/24"), ip_network("fd00::/64"))


def test_an_empty_list_of_routes_sets_none() -> None:
    found = read(CLIENT.replace("tunnel: {", "tunnel: {routes: [], "))

    assert found.routes == ()


def test_a_name_stands_in_for_what_has_none() -> None:
    found = read(
        "wans: [{id: 1, interface: eth0}, {id: 2, local_addr: 10.0.0.1}]\n"
        f"security: {{peers: [{{public_key: '{PEER_KEY}'}}]}}"
    )

    assert [wan.label for wan in found.wans] == ["eth0", "WAN 2"]
    assert found.security.peers[0].label == PEER_KEY[:8]


def test_all_mistakes_are_reported_at_once_from_top_to_bottom() -> None:
    found = complaints(
        "mode: cleint\n"
        "wans:\n"
        "  - id: 1\n"
        "    interfce: eth0\n"
        "    health_check_interval: 5\n"
        "    name: a\n"
        "    name: b\n"
        "  - {id: 300, interface: eth1}\n"
        "tunnel: {mtu: small}\n"
    )

    assert found == [
        "test.yaml:1:7: mode: 'cleint' is none of the choices. "
        "Did you mean 'client'? Choose one of client, server.",
        "test.yaml:4:5: wans[0].interfce: unknown key. Did you mean 'interface'?",
        "test.yaml:5:28: wans[0].health_check_interval: expected a duration, found '5'. "
        "Write it like 200ms.",
        "test.yaml:7:5: wans[0].name: is given twice, first on line 6. Remove one of the two.",
        "test.yaml:8:10: wans[1].id: '300' is out of range. Choose 1 to 255.",
        "test.yaml:9:15: tunnel.mtu: expected a number of bytes or auto, found 'small'. "
        "Write it like 1400.",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("remote_endpoint: x", "Did you mean session.remote_endpoint?"),
        ("blah: 1", "unknown key. Known here: mode, session, wans"),
        ("'': 1", "''"),
        ("? [a]\n: 1", "1:3: a list cannot be a key"),
        ("<<: {a: 1}", "merging"),
        ("session: [1]", "session: expected settings, found a list"),
        ("session: client", "session: expected settings, found 'client'"),
        ("- a", "test.yaml:1:1: expected settings, found a list"),
        ("wans: eth0", "wans: expected a list, found 'eth0'. Put '- ' before it"),
        ("wans: [eth0]", "wans[0]: expected settings, found 'eth0'"),
        ("wans: [{name: a}]", "wans[0]: id is missing. Add it: Number of the WAN"),
        ("wans: [{id: 1.5}]", "wans[0].id: expected a whole number, found '1.5'"),
        ("wans: [{id: 1, enabled: maybe}]", "expected true or false, found 'maybe'"),
        ("tunnel: {address: 10.0.0.1}", "expected a list, found '10.0.0.1'"),
        ("tunnel: {address: [[10.0.0.1]]}", "tunnel.address[0]: expected a value, found a list"),
        ("tunnel: {name:}", "tunnel.name: expected a value, found nothing"),
        ("tunnel: {mtu: 100}", "'100' is out of range. Choose 576 to 65535"),
        ("session: {reorder_timeout: 11s}", "'11s' is out of range. Choose 0ms to 10s"),
        ("tunnel: {name: a/b}", "'a/b' cannot be an interface's name"),
        ("tunnel: {name: sixteen-letters-}", "Use 1 to 15 letters"),
        (f"tunnel: {{name: {'x' * 2000}}}", "is too long, with 2000 characters"),
        ("health: {max_packet_loss: 101}", "Choose 0% to 100%"),
        ("routing: {mode: round-robin}", "Did you mean 'round_robin'?"),
    ],
)
def test_a_mistake_is_explained(text: str, expected: str) -> None:
    assert expected in complaint(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vps.example.net", "Add the port, such as 'vps.example.net:9000'"),
        ("2001:db8::1:9000", "Put the IPv6 address in brackets"),
        ("[2001:db8::1]", "Add the port"),
        ("vps:0", "Ports go from 1 to 65535"),
        ("vps:65536", "Ports go from 1 to 65535"),
        ("vps:http", "'http' in 'vps:http' is no port"),
        ("10.0.0.300:9000", "'10.0.0.300' is neither an address nor a host name"),
        ("a b:9000", "neither an address nor a host name"),
        ("0.0.0.0:9000", "nothing can be sent to '0.0.0.0'"),
        ("[fe80::1%eth0]:9000", "has a scope"),
        (":9000", "neither an address nor a host name"),
    ],
)
def test_a_wrong_endpoint_is_explained(text: str, expected: str) -> None:
    found = complaint(f'session: {{remote_endpoint: "{text}"}}')

    assert found.startswith("test.yaml:1:28: session.remote_endpoint: ")
    assert expected in found


def test_a_listening_address_is_numeric() -> None:
    found = complaint('session: {local_endpoint: "localhost:9000"}')

    assert "'localhost' is no numeric address" in found


def test_a_prefix_with_host_bits_is_corrected() -> None:
    found = complaint("tunnel: {routes: [10.77.0.5/24]}")

    assert "Write 10.77.0.0/24" in found


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("secret", "it has 6 characters"),
        ("*" * 44, "it has characters that base64 has not"),
        ("A" * 44, "stands for 33 bytes, not 32"),
        ("A" * 42 + "B=", "its last character is impossible"),
    ],
)
def test_a_wrong_key_is_explained_but_never_quoted(key: str, expected: str) -> None:
    found = complaint(f"security: {{private_key: '{key}'}}")

    assert expected in found
    assert key not in found


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "test.yaml: is empty."),
        (b"# nothing\n", "test.yaml: is empty."),
        (b"a: [1,\n  2", "test.yaml:2:4: is not YAML: while parsing a flow sequence"),
        (b"a: b: c", "test.yaml:1:5: is not YAML: mapping values are not allowed here"),
        (b"mode: \xff", "test.yaml:1:7: byte 0xff is not UTF-8"),
        (b"a: 1\nb: \x00", "test.yaml:2:4: is not YAML: the character #x0000"),
        (b"a: 1\n---\nb: 2", "test.yaml:2:1: a second document begins here"),
        (b"a: !!python/object:os.system x", "has no use here"),
        (b"a: *b", "there is no anchor '&b'"),
        (b"a: &a [*a]", "refers to itself"),
        (b'a: "\\ud83d"', "test.yaml:1:4: half a character is escaped here"),
        (b"[" * 100_000, "is nested too deeply"),
        (b"#" * (2 << 20), "is larger than"),
    ],
    ids=range(13),
)
def test_a_file_that_is_no_configuration_is_refused(data: bytes, expected: str) -> None:
    assert expected in complaint(data)


def test_a_list_of_aliases_does_not_multiply() -> None:
    doubling = "\n".join(f"l{n}: &l{n} [*l{n - 1}, *l{n - 1}]" for n in range(1, 200))

    found = complaints(f"l0: &l0 x\n{doubling}")

    assert len(found) == 200


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigFileError, match=r"missing.yaml: does not exist\. Write it, or name"):
        load(tmp_path / "missing.yaml")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigFileError, match="is a directory"):
        load(tmp_path)


def test_the_first_default_file_there_is_counts(tmp_path: Path) -> None:
    candidates = [tmp_path / name for name in ("config.yaml", "config.yml", "config.json")]
    candidates[1].write_text("mode: server")
    candidates[2].write_text("{}")

    assert find_file(candidates) == candidates[1]


def test_without_any_file_the_first_default_is_complained_about(tmp_path: Path) -> None:
    candidates = [tmp_path / name for name in ("config.yaml", "config.json")]

    assert find_file(candidates) == candidates[0]


def test_a_later_complaint_can_still_name_the_line(tmp_path: Path) -> None:
    path = write(tmp_path, "wans:\n  - {id: 1, interface: eth7}\n")

    origin = load(path).origin

    assert origin.where("wans[0].interface") == f"{path}:2:24"
    assert origin.where("wans[0].gso") == f"{path}:2:5"
    assert origin.where("tunnel.name") == str(path)


def test_secrets_are_not_part_of_what_is_printed() -> None:
    found = read(f"security: {{private_key: '{PEER_KEY}'}}")

    assert found.security.private_key is not None
    assert "private_key=" not in repr(found)
