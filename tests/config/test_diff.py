"""What differs between two configurations is found, named and judged, setting by setting."""

from dataclasses import fields

import pytest

from multiwanbond.config import reference
from multiwanbond.config.diff import Change, changes, require_reloadable
from multiwanbond.config.model import Configuration
from multiwanbond.config.walk import Setting
from multiwanbond.errors import ConfigFileError
from multiwanbond.options import Reload, options_of

from .every_setting import BASE, IDENTITIES, LISTS, VALUES, another_value, at, base, by_key, changed
from .files import OTHER_KEY, PEER_KEY, read


@pytest.mark.parametrize("setting", VALUES, ids=by_key)
def test_a_change_of_any_setting_is_found_with_its_rule(setting: Setting) -> None:
    if setting.key in IDENTITIES:
        return  # another identity is another entry
    old = base()
    steps = setting.key.split(".")
    value = at(old, steps)
    new = changed(old, steps, another_value(setting, value))

    found = changes(old, new)

    assert [each.general_key for each in found] == [setting.key]
    assert found[0].reload is setting.option.reload
    assert found[0].key == setting.key.replace("[]", "[0]")
    assert found[0].old != found[0].new or setting.option.is_secret


@pytest.mark.parametrize("setting", LISTS, ids=by_key)
def test_entries_of_any_list_that_come_and_go_are_found(setting: Setting) -> None:
    old = base()
    steps = setting.key.split(".")
    without = changed(old, steps, at(old, steps)[1:])

    removed = [each for each in changes(old, without) if each.new is None]
    added = [each for each in changes(without, old) if each.old is None]

    assert [each.general_key for each in (*removed, *added)] == [setting.key] * 2


@pytest.mark.parametrize("setting", LISTS, ids=by_key)
def test_an_identity_is_a_setting_of_the_entries(setting: Setting) -> None:
    identity = setting.option.identity

    assert identity is None or identity in {
        field.name for field, _ in options_of(setting.kind.type)
    }


def test_every_field_of_the_model_is_a_setting_or_where_it_came_from() -> None:
    others = [
        field.name
        for field in fields(Configuration)
        if field.name not in {setting.name for setting in reference.settings()}
    ]

    assert others == ["origin"]


def test_the_same_file_in_another_order_and_notation_changes_nothing() -> None:
    old = read("wans: [{id: 1, interface: a, max_latency: 0.1s}, {id: 2, interface: b}]")
    new = read("wans: [{interface: b, id: 2}, {id: 1, max_latency: 100ms, interface: a}]")

    assert changes(old, new) == ()


def test_changes_are_told_as_the_operator_writes_them() -> None:
    old = read(BASE)
    new = read(
        BASE.replace("- {id: 1, name: Fibre, interface: eth0}", "- {id: 3, interface: eth3}")
        .replace("interface: wwan0", "interface: wwan0, max_latency: 250ms, enabled: no")
        .replace("[10.77.0.2/32]", "[10.77.0.2/32, 10.9.0.0/16]")
    )

    assert [str(each) for each in changes(old, new)] == [
        "wans[0]: added (id 3)",
        "wans[1].max_latency: 100ms -> 250ms",
        "wans[1].enabled: true -> false",
        "wans[0]: removed (id 1, name Fibre)",
        "security.peers[0].allowed_ips: [10.77.0.2/32] -> [10.77.0.2/32, 10.9.0.0/16]",
    ]


def test_a_secret_is_not_shown() -> None:
    old = read(BASE)
    new = read(BASE.replace("allowed_ips", f'preshared_key: "{OTHER_KEY}", allowed_ips'))

    (change,) = changes(old, new)

    assert str(change) == "security.peers[0].preshared_key: not set -> (hidden)"


def refusals(old: str, new: str) -> list[str]:
    with pytest.raises(ConfigFileError) as caught:
        require_reloadable(read(old), read(new))
    return str(caught.value).splitlines()


def test_what_takes_a_restart_is_refused_key_by_key_with_its_place() -> None:
    new = BASE.replace("[10.77.0.1/24]", "[10.78.0.1/24], name: mwb1").replace(
        "session: {", "session: {local_endpoint: '0.0.0.0:9001', "
    )

    assert refusals(BASE, new + "routing: {mode: per_flow}\n") == [
        "test.yaml:2:27: session.local_endpoint: cannot be changed in a running tunnel "
        "(0.0.0.0:9000 -> 0.0.0.0:9001). Take it back, or restart the tunnel: "
        '"mwb down", then "mwb up" (or systemctl restart).',
        "test.yaml:6:19: tunnel.address: cannot be changed in a running tunnel "
        "([10.77.0.1/24] -> [10.78.0.1/24]). Take it back, or restart the tunnel: "
        '"mwb down", then "mwb up" (or systemctl restart).',
        "test.yaml:6:41: tunnel.name: cannot be changed in a running tunnel (mwb0 -> mwb1). "
        'Take it back, or restart the tunnel: "mwb down", then "mwb up" (or systemctl restart).',
    ]


def test_a_setting_that_was_removed_is_refused_where_its_section_stands() -> None:
    old = BASE.replace("[10.77.0.1/24]", "[10.77.0.1/24], mtu: 1300")

    (refusal,) = refusals(old, BASE)

    assert refusal.startswith("test.yaml:6:9: tunnel.mtu: cannot be changed")
    assert "(1300 -> auto)" in refusal


@pytest.mark.parametrize("mode", ["client", "server"])
def test_peers_may_be_exchanged(mode: str) -> None:
    text = BASE.replace("mode: server", f"mode: {mode}")

    found = require_reloadable(read(text), read(text.replace(PEER_KEY, OTHER_KEY)))

    assert [type(each) for each in found] == [Change, Change]


def test_the_order_of_servers_means_something() -> None:
    servers = [
        f"    - {{name: {name}, public_key: '{key}', endpoint: '{name}.example.net:9000'}}\n"
        for name, key in (("one", PEER_KEY), ("two", OTHER_KEY))
    ]
    head = "mode: client\nsecurity:\n  peers:\n"

    (found,) = changes(read(head + "".join(servers)), read(head + "".join(reversed(servers))))

    assert found.reload is Reload.LIVE
    assert "name one" in str(found).split(" -> ")[0].split("; ")[0]
    assert "name two" in str(found).split(" -> ")[1].split("; ")[0]


def test_what_a_tunnel_stands_on_is_declared_as_fixed() -> None:
    fixed = {each.key for each in VALUES if each.option.reload is Reload.RESTART}

    assert fixed >= {
        "mode",
        "session.local_endpoint",
        "tunnel.name",
        "tunnel.address",
        "tunnel.mtu",
        "tunnel.offload",
        "security.private_key",
        "control.socket",
    }


@pytest.mark.parametrize("section", ["wans", "health", "routing", "security.peers"])
def test_what_operators_turn_while_a_tunnel_runs_is_declared_as_live(section: str) -> None:
    fixed = [
        each.key
        for each in VALUES
        if each.key.startswith(section) and each.option.reload is Reload.RESTART
    ]

    assert fixed == []
