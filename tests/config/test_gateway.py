"""What may be said of other hosts, and what does not fit together."""

from ipaddress import ip_address

import pytest

from multiwanbond.config.gateway import TARGET, Forward, Target
from multiwanbond.errors import ConfigFileError
from multiwanbond.units import NotationError

from .files import PEER_KEY, read

SERVER = f"""\
mode: server
security: {{peers: [{{public_key: "{PEER_KEY}", allowed_ips: [10.77.0.2/32]}}]}}
"""


def complaint(text: str) -> str:
    with pytest.raises(ConfigFileError) as caught:
        read(SERVER + text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("10.77.0.2", Target(ip_address("10.77.0.2"))),
        ("10.77.0.2:443", Target(ip_address("10.77.0.2"), 443)),
        ("fd77::2", Target(ip_address("fd77::2"))),
        ("[fd77::2]:443", Target(ip_address("fd77::2"), 443)),
    ],
)
def test_a_target_is_an_address_with_or_without_a_port(text: str, target: Target) -> None:
    assert TARGET.parse(text) == target
    assert TARGET.show(target) == text


@pytest.mark.parametrize("text", ["10.77.0.2:0", "10.77.0.2:70000", "host:443", "fd77::2:x", ""])
def test_anything_else_is_none(text: str) -> None:
    with pytest.raises(NotationError):
        TARGET.parse(text)


def test_forward_is_written_as_a_word() -> None:
    assert read(SERVER + "gateway: {forward: on}").gateway.forward is Forward.ON


@pytest.mark.parametrize(
    ("ports", "problem"),
    [
        ("[{port: 80-90, to: '10.77.0.2:80'}]", "has a port, but several ports lead there"),
        (
            "[{port: 80-90, to: 10.77.0.2}, {port: 85, to: 10.77.0.2}]",
            "is already opened by gateway.port_forwards[0]",
        ),
        ("[{port: 9000, to: 10.77.0.2, protocol: udp}]", "on which the tunnel itself is reached"),
        ("[{port: 80, to: 10.77.0.3}]", "10.77.0.3 is behind no peer"),
    ],
)
def test_a_port_that_cannot_be_opened_is_refused(ports: str, problem: str) -> None:
    assert problem in complaint(f"gateway: {{port_forwards: {ports}}}\n")


def test_ports_are_refused_where_nothing_is_forwarded() -> None:
    text = "gateway: {forward: off, port_forwards: [{port: 80, to: 10.77.0.2}]}\n"

    assert "lead nowhere while gateway.forward is off" in complaint(text)


def test_the_same_port_may_lead_to_different_hosts_by_protocol() -> None:
    text = "[{port: 80, to: 10.77.0.2}, {port: 80, to: 10.77.0.2, protocol: udp}]"

    assert len(read(f"{SERVER}gateway: {{port_forwards: {text}}}\n").gateway.port_forwards) == 2
