"""How traffic classes are written, and what of them is refused."""

from dataclasses import replace

import pytest

from multiwanbond.core.settings import CipherCosts
from multiwanbond.daemon.machine import PlaceWish
from multiwanbond.daemon.plan import NOWHERE, plan_for

from .files import CLIENT, complaint, read


def test_classes_are_read_with_their_lists() -> None:
    text = """
    classes:
      - {name: Calls, protocols: [udp], ports: [5060, 10000-20000], dscp: [EF, af41, 8]}
      - {name: Office, prefixes: [10.0.0.0/8], wans: [1, 2], duplicate: true, order: false}
    """

    calls, office = read(text).classes

    assert calls.protocols == (17,)
    assert calls.ports == ((5060, 5060), (10000, 20000))
    assert calls.dscp == (46, 34, 8)
    assert (calls.duplicate, calls.order) == (None, None)
    assert (office.wans, office.duplicate, office.order) == ((1, 2), True, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("protocols: [upd]", "'upd' is none. Write a number from 0 to 255, or one of icmp,"),
        ("protocols: [256]", "'256' is none."),
        ("ports: [70000]", "'70000' are no ports. Ports go from 1 to 65535"),
        ("ports: [20-10]", "'20-10' are no ports."),
        ("ports: [http]", "expected a port or a range of ports, found 'http'"),
        ("dscp: [EE]", "'EE' is none. Write a number from 0 to 63, or one of cs0,"),
        ("priority: fast", "priority"),
    ],
)
def test_what_a_class_cannot_match_by_is_refused(text: str, expected: str) -> None:
    assert expected in complaint(f"classes: [{{name: x, {text}}}]")


def test_a_class_may_name_only_wans_that_there_are() -> None:
    wans = "wans: [{id: 1, interface: a}, {id: 2, interface: b}]"

    found = complaint(f"{wans}\nclasses: [{{name: x, wans: [2, 3]}}]\n{CLIENT}")

    assert "classes[0].wans[1]: there is no WAN with the id 3. Choose among 1, 2" in found


def test_two_classes_of_one_name_are_refused() -> None:
    found = complaint("classes: [{name: x}, {name: x}]")

    assert "classes[1].name: is the same as that of classes[0]" in found


def test_what_is_routed_into_the_tunnel_by_itself_cannot_be_bypassed() -> None:
    text = "bypass: {prefixes: [10.9.1.0/24, 192.0.2.0/24]}\ntunnel: {routes: [10.9.0.0/16]}\n"

    found = complaint(text)

    assert "bypass.prefixes[0]: 10.9.1.0/24 is in 10.9.0.0/16, which is routed" in found
    assert "bypass.prefixes[1]" not in found


@pytest.mark.parametrize("name", ["-bad.example", "a..b", "x" * 300])
def test_what_is_no_name_is_refused(name: str) -> None:
    assert "bypass.domains[0]" in complaint(f"bypass: {{domains: ['{name}']}}")


def test_a_class_of_names_and_interfaces_alone_matches_nothing_before_they_are_known() -> None:
    configuration = read(
        f"classes: [{{name: x, domains: [Bank.example.], devices: [lan0]}}]\n{CLIENT}"
    )
    configuration = replace(
        configuration, security=replace(configuration.security, private_key=bytes(32))
    )

    plan = plan_for(configuration, CipherCosts(aes_gcm_ns=1, chacha20_ns=1))

    assert plan.endpoint.classes[0].prefixes == (NOWHERE,)
    assert plan.class_places == (PlaceWish(domains=("bank.example",), devices=("lan0",)),)
