"""The plugin `acl`: which packets its rules let pass."""

from typing import Any

import pytest

from multiwanbond.config.foreign import read_section
from multiwanbond.config.load import load_bytes
from multiwanbond.core.burst import Burst
from multiwanbond.plugins.builtin.acl import Acl, Options
from tests.core.inner_packets import ICMP, TCP, UDP, Shape

from .collected import context


def acl(options: str) -> Acl:
    """An ACL as the file would have it."""
    found = load_bytes(f"plugins: [{{name: acl, options: {options}}}]".encode())
    raw = found.plugins[0].options
    assert raw is not None
    return Acl(read_section(raw, Options, found.origin), context())


def burst(**shape: Any) -> Burst:
    """A packet from 10.0.0.1 or fd00::1, port 12345, to 10.0.0.2 or fd00::2, port 443."""
    return Burst(Shape(**shape).packet(b"x"))


@pytest.mark.parametrize(
    ("rule", "is_match"),
    [
        ("action: deny", True),
        ("action: deny, protocols: [tcp]", True),
        ("action: deny, protocols: [udp, icmp]", False),
        ("action: deny, destination_ports: [80, 400-500]", True),
        ("action: deny, destination_ports: [12345]", False),
        ("action: deny, source_ports: [12345]", True),
        ("action: deny, source_ports: [443]", False),
        ("action: deny, sources: [10.0.0.0/31, fd00::/127]", True),
        ("action: deny, sources: [10.0.0.2/32, fd00::2/128]", False),
        ("action: deny, destinations: [10.0.0.2/32, fd00::2/128]", True),
        ("action: deny, destinations: [10.0.0.2/32, fd00::2/128], protocols: [udp]", False),
        ("action: deny, direction: out", True),
        ("action: deny, direction: in", False),
    ],
)
@pytest.mark.parametrize("version", [4, 6])
def test_all_of_a_rule_must_be_true(rule: str, version: int, *, is_match: bool) -> None:
    packet = burst(version=version)

    kept = acl(f"{{rules: [{{{rule}}}]}}").outbound([packet])

    assert kept == ([] if is_match else [packet])


def test_the_first_rule_that_matches_counts_and_the_rest_has_the_default() -> None:
    rules = "{rules: [{action: allow, protocols: [tcp]}, {action: deny, protocols: [tcp]}]"
    tcp, udp = burst(protocol=TCP), burst(protocol=UDP)

    assert acl(f"{rules}}}").outbound([tcp, udp]) == [tcp, udp]
    assert acl(f"{rules}, default: deny}}").outbound([tcp, udp]) == [tcp]
    assert acl(f"{rules}, default: deny}}").inbound([udp]) == []


def test_fragments_without_ports_pass_since_their_first_one_is_judged() -> None:
    packet = bytearray(Shape(protocol=UDP).packet(bytes(100)))
    packet[6:8] = (185).to_bytes(2, "big")  # not the first one
    fragment = Burst(bytes(packet))

    assert acl("{rules: [{action: deny, destination_ports: [443]}]}").outbound([fragment])
    only = "{rules: [{action: allow, destination_ports: [443]}], default: deny}"
    assert acl(only).outbound([fragment])


def test_a_run_is_judged_as_a_whole_and_what_is_no_ip_packet_by_the_default() -> None:
    run = Shape(protocol=TCP).run(bytes(5000), 1300)
    deny_tcp = acl("{rules: [{action: deny, protocols: [tcp]}]}")

    assert len(deny_tcp.outbound([run, Burst(b"")])) == 1
    assert acl("{default: deny}").outbound([Burst(b"")]) == []


def test_verdicts_are_remembered_of_so_many_flows_only() -> None:
    deny_ping = acl("{rules: [{action: deny, protocols: [icmp]}]}")
    for number in range(9000):
        packet = bytearray(Shape(protocol=UDP).packet(b"x"))
        packet[20:22] = number.to_bytes(2, "big")
        assert deny_ping.outbound([Burst(bytes(packet))])

    assert len(deny_ping._out._verdicts) <= 8192
    ping = bytearray(Shape(protocol=UDP).packet(b"x"))
    ping[9] = ICMP
    assert deny_ping.outbound([Burst(bytes(ping))]) == []
