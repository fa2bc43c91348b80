"""The example configurations work once the keys are filled in, and not before."""

import re
import shutil
from pathlib import Path

import pytest

from multiwanbond.config import reference
from multiwanbond.config.load import load
from multiwanbond.config.model import Mode
from multiwanbond.config.runnable import require_runnable
from multiwanbond.config.summary import remarks
from multiwanbond.errors import ConfigFileError

from .files import PEER_KEY, write_key

PROJECT = Path(__file__).parents[2]
EXAMPLES = sorted(set((PROJECT / "deploy").glob("*.yaml")) - {PROJECT / "deploy" / "compose.yaml"})
README_EXAMPLES = re.findall(r"```yaml\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)


def with_keys(text: str) -> str:
    """Return an example as its reader would complete it."""
    return re.sub(r'"THE .* PUBLIC KEY"', f'"{PEER_KEY}"', text)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_with_keys_can_run(example: Path, tmp_path: Path) -> None:
    write_key(tmp_path)
    path = tmp_path / example.name
    path.write_text(with_keys(example.read_text()))

    configuration = require_runnable(load(path))

    assert configuration.mode is not None
    assert list(remarks(configuration)) == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_without_keys_says_that_they_are_missing(example: Path, tmp_path: Path) -> None:
    path = shutil.copy(example, tmp_path)

    with pytest.raises(ConfigFileError) as caught:
        load(Path(path))

    assert [error.problem.split(":")[0] for error in caught.value.errors] == [
        "security.peers[0].public_key"
    ]


def test_there_are_examples_of_both_ends() -> None:
    assert {path.stem for path in EXAMPLES} >= {"client", "router", "server"}


@pytest.mark.parametrize("example", README_EXAMPLES)
def test_what_the_readme_prints_can_run(example: str, tmp_path: Path) -> None:
    write_key(tmp_path)
    path = tmp_path / "config.yaml"
    path.write_text(with_keys(example).replace("/etc/multiwanbond/private.key", "private.key"))

    configuration = require_runnable(load(path))

    assert list(remarks(configuration)) == []


def test_the_readme_shows_both_ends(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    modes = set()
    for example in README_EXAMPLES:
        path.write_text(with_keys(example))
        modes.add(load(path).mode)

    assert modes == set(Mode)


def test_the_readme_documents_every_setting_as_it_is_declared() -> None:
    readme = (PROJECT / "README.md").read_text()
    printed = readme.partition("held to it by a test -->\n")[2].partition("<!-- end of")[0]

    # To renew it: mwb config reference --markdown
    assert printed.strip() == reference.markdown().strip()
