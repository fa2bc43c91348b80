"""Every setting is declared well, documented, and shown as it could have been written."""

import ast
from enum import Enum
from pathlib import Path

import pytest

from multiwanbond.config import reference
from multiwanbond.config.convert import read
from multiwanbond.config.load import load_bytes
from multiwanbond.config.show import show
from multiwanbond.config.walk import Setting
from multiwanbond.options import default_of, is_required

from .files import CLIENT, PEER_KEY
from .files import read as load_text

SETTINGS = reference.settings()
VALUES = [each for each in SETTINGS if not each.is_section]


def by_key(setting: Setting) -> str:
    return setting.key


def written(text: str, setting: Setting) -> object:
    return read(text, setting.kind.type, setting.option)


@pytest.mark.parametrize("setting", SETTINGS, ids=by_key)
def test_a_setting_is_documented_in_sentences(setting: Setting) -> None:
    doc = setting.option.doc

    assert doc.endswith(".")
    assert "\n" not in doc
    assert "  " not in doc


@pytest.mark.parametrize("setting", VALUES, ids=by_key)
def test_a_default_could_have_been_written(setting: Setting) -> None:
    if is_required(setting.field):
        return
    default = default_of(setting.field)

    # None and what is empty mean "not given", which is written by leaving the key out.
    if default not in (None, "", ()):
        assert written(reference.show_value(setting, default), setting) == default


@pytest.mark.parametrize("setting", VALUES, ids=by_key)
def test_a_default_that_does_not_speak_for_itself_is_described(setting: Setting) -> None:
    if is_required(setting.field):
        return

    speaks = default_of(setting.field) not in (None, "", ())
    assert speaks or setting.option.default_doc


@pytest.mark.parametrize(
    "setting",
    [each for each in VALUES if each.option.low is not None or each.option.high is not None],
    ids=by_key,
)
def test_a_range_is_not_empty_and_its_ends_are_allowed(setting: Setting) -> None:
    low, high = setting.option.low, setting.option.high

    assert low is not None
    assert high is not None
    assert low < high
    for end in (low, high):
        assert written(reference.show_value(setting, end), setting) == pytest.approx(end)


@pytest.mark.parametrize("setting", VALUES, ids=by_key)
def test_a_number_has_a_range(setting: Setting) -> None:
    if setting.kind.type in (int, float):
        assert (setting.option.low, setting.option.high) != (None, None)


@pytest.mark.parametrize(
    "setting", [each for each in VALUES if each.option.notation is not None], ids=by_key
)
def test_the_example_of_a_notation_is_valid(setting: Setting) -> None:
    assert setting.option.notation is not None
    example = setting.option.notation.example
    if "mwb keygen" in example:  # a key that is printed somewhere would be used by somebody
        example = PEER_KEY

    value = written(example, setting)

    assert reference.show_value(setting, value)


@pytest.mark.parametrize("setting", SETTINGS, ids=by_key)
def test_a_setting_appears_in_every_form_of_the_reference(setting: Setting) -> None:
    assert f"| `{setting.name}` |" in reference.markdown()
    assert reference.find(setting.key)[0] == setting
    assert setting.option.doc in reference.explain(setting)
    if not setting.is_section:
        assert any(line.split()[0] == setting.key for line in reference.listing().splitlines())


def attributes_read() -> set[str]:
    """Return the attributes that the program reads, leaving out the gate that lets them in."""
    package = Path(reference.__file__).parents[1]
    gate = {package / "config" / name for name in ("fit.py", "show.py", "convert.py")}
    return {
        node.attr
        for source in package.rglob("*.py")
        if source not in gate
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }


def test_no_setting_is_accepted_and_then_forgotten() -> None:
    read_somewhere = attributes_read()

    forgotten = [each.key for each in SETTINGS if each.name not in read_somewhere]

    assert forgotten == []


def test_only_keys_and_preshared_keys_are_secret() -> None:
    secret = [each.key for each in VALUES if each.option.is_secret]

    assert secret == ["security.private_key", "security.peers[].preshared_key"]


def test_a_setting_is_found_however_its_key_is_written() -> None:
    found = [reference.find(key)[0].key for key in ("wans[1].id", "wans.id", "wans[].id", "gso")]

    assert found == ["wans[].id", "wans[].id", "wans[].id", "wans[].gso"]


def test_a_section_is_explained_with_what_is_in_it() -> None:
    found = [setting.key for setting in reference.find("routing")]

    assert found == ["routing", "routing.mode"]


def test_an_unknown_key_is_guessed() -> None:
    assert reference.find("max_latncy") == ()
    assert reference.suggest("max_latncy") == "wans[].max_latency"
    assert reference.suggest("wans[0].interfce") == "wans[].interface"
    assert reference.suggest("qqqqqq") is None


def test_a_setting_is_explained_with_all_that_is_known() -> None:
    (found,) = reference.find("tunnel.mtu")

    assert reference.explain(found).splitlines() == [
        "tunnel.mtu",
        "    Largest packet inside the tunnel; auto takes what fits through the WANs' interfaces.",
        "    type:    number of bytes or auto",
        "    default: auto",
        "    example: 1400",
        "    range:   576 to 65535",
        '    change:  takes effect with the next "mwb up"',
    ]


RICH = f"""\
mode: client
session: {{remote_endpoint: "[2001:db8::1]:9000", local_endpoint: "[::]:9000"}}
wans:
  - {{id: 1, name: "null", interface: eth0, gso: off, enabled: no, max_latency: 250ms}}
  - {{id: 2, name: "Größe: 5 # %", type: 5g, local_addr: "2001:db8::2", remote_addr: "v.x:1"}}
health: {{max_packet_loss: 0.5}}
routing: {{mode: per_flow}}
fec: {{redundancy: auto}}
tunnel: {{address: [10.77.0.2/24, "fd77::2/64"], routes: [], mtu: 1400}}
security:
  private_key_file: /etc/keys/private.key
  peers:
    - public_key: "{PEER_KEY}"
      preshared_key_file: /etc/keys/psk
      allowed_ips: [0.0.0.0/0, "::/0"]
control: {{socket: /run/x.sock}}
"""


@pytest.mark.parametrize("text", [CLIENT, RICH, "mode: server", "wans: []"])
def test_what_is_shown_loads_as_the_same_configuration(text: str) -> None:
    configuration = load_text(text)

    shown = show(configuration)

    assert load_bytes(shown.encode(), Path("shown.yaml")) == configuration


def test_what_is_shown_hides_secrets() -> None:
    configuration = load_text(
        f"security: {{private_key: '{PEER_KEY}', "
        f"peers: [{{public_key: '{PEER_KEY}', preshared_key: '{PEER_KEY}'}}]}}"
    )

    shown = show(configuration)

    assert shown.count(PEER_KEY) == 1
    assert "# private_key: (hidden)" in shown
    assert "# preshared_key: (hidden)" in shown


def test_an_enum_is_documented_by_its_choices() -> None:
    (gso,) = reference.find("wans.gso")

    assert issubclass(gso.kind.type, Enum)
    assert reference.type_doc(gso) == "auto | off"
