"""The example configurations work once the keys are filled in, and not before."""

import re
import shutil
from pathlib import Path

import pytest

from multiwanbond.config.load import load
from multiwanbond.config.runnable import require_runnable
from multiwanbond.config.summary import remarks
from multiwanbond.errors import ConfigFileError

from .files import PEER_KEY, write_key

EXAMPLES = sorted((Path(__file__).parents[2] / "deploy").glob("*.yaml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_with_keys_can_run(example: Path, tmp_path: Path) -> None:
    write_key(tmp_path)
    path = tmp_path / example.name
    path.write_text(re.sub(r'"THE .* PUBLIC KEY"', f'"{PEER_KEY}"', example.read_text()))

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
