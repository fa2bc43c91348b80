"""Whatever a file holds, loading it ends in a configuration or in a ConfigFileError."""

import json
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from multiwanbond.config.load import load_bytes
from multiwanbond.config.model import Configuration
from multiwanbond.config.reference import settings as all_settings
from multiwanbond.config.show import show
from multiwanbond.errors import ConfigFileError
from multiwanbond.units import DURATION, PERCENT, RATE, NotationError

NAMES = sorted({setting.name for setting in all_settings()} | {"fec", "weight", "<<", ""})
TEXTS = [
    "client", "server", "auto", "off", "no", "eth0", "10.0.0.1", "10.77.0.2/24", "::/0", "fd00::1",
    "vps.example.net:9000", "[2001:db8::1]:9000", "200ms", "2%", "adaptive", "fiber", "AAAA",
    "A" * 43 + "=", "../k", "-1", "1", "300", "1e400", "9" * 5000, "\ud83d", "\u0000", "[", "&a *a",
]  # fmt: skip

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(TEXTS) | st.text()
)
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=20,
)
sections = st.dictionaries(st.sampled_from(NAMES), trees, max_size=8)
documents = st.fixed_dictionaries(
    {},
    optional={
        "mode": st.sampled_from(TEXTS),
        "session": sections,
        "wans": st.lists(sections, max_size=3),
        "tunnel": sections,
        "health": sections,
        "routing": sections,
        "security": sections | st.fixed_dictionaries({"peers": st.lists(sections, max_size=3)}),
        "control": sections,
    },
)


def check(data: bytes) -> Configuration | None:
    """Load `data`; complaints must be printable, one to a line."""
    errors = []
    try:
        return load_bytes(data, Path("fuzz.yaml"))
    except ConfigFileError as exc:
        errors = exc.errors
    assert errors
    for error in errors:
        text = str(error)
        assert text.startswith("fuzz.yaml")
        assert "\n" not in text
        assert text.encode()
    return None


@given(st.binary(max_size=300))
@example(b"\xef\xbb\xbf")
@example(b"\xff\xfem\x00")
@example(b"%YAML 9.9\n---\n")
def test_arbitrary_bytes_never_crash_the_loader(data: bytes) -> None:
    found = check(data)

    assert found is None or isinstance(found, Configuration)


@given(st.text(max_size=300))
@example("? ? ? a")
@example("a: !<tag:yaml.org,2002:str> b")
@example("{a: 1, a: 1, ? [b]: 2}")
@example("--- |\n a\n")
@example("'" + "\n" * 50)
def test_arbitrary_text_never_crashes_the_loader(text: str) -> None:
    found = check(text.encode(errors="surrogatepass"))

    assert found is None or isinstance(found, Configuration)


@given(st.lists(st.sampled_from([*":-{}[],?&*!|>'\"%@`#\n\t ", "a", "mode", "wans"]), max_size=60))
def test_yaml_syntax_soup_never_crashes_the_loader(parts: list[str]) -> None:
    found = check("".join(parts).encode())

    assert found is None or isinstance(found, Configuration)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(documents | trees)
def test_a_document_of_the_right_shape_is_accepted_or_explained(tree: object) -> None:
    found = check(json.dumps(tree).encode())

    if found is not None:
        secrets = [found.security.private_key, *(p.preshared_key for p in found.security.peers)]
        if not any(secrets):
            assert check(show(found).encode()) == found


@given(st.text(max_size=40))
def test_a_quantity_is_read_or_explained(text: str) -> None:
    for quantity in (DURATION, RATE, PERCENT):
        found: float | str
        try:
            found = quantity.parse(text)
        except NotationError as exc:
            found = exc.problem

        assert repr(text) in found if isinstance(found, str) else 0 <= found < float("inf")
