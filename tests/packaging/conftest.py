"""The Debian package, built once for all tests, and machines that have it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from multiwanbond.lab.namespaces import Run, why_no_lab

from .machine import Machine, why_no_machine

PROJECT = Path(__file__).parents[2]


@cache
def built_package() -> Path:
    """Return the .deb, built once; it is not compressed, which would take most of the time."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("this is no Debian: dpkg-deb is missing")
    reason = why_no_lab() or why_no_machine()
    if reason is not None:
        pytest.skip(reason)
    done = subprocess.run(
        [PROJECT / "scripts" / "build-deb"],
        env={**os.environ, "DEB_COMPRESSION": "none"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return PROJECT / done.stdout.split()[-1]


@pytest.fixture
def package() -> Path:
    """Return the .deb."""
    return built_package()


@pytest.fixture
def machine(package: Path) -> Iterator[Machine]:
    """Return a machine on which the package was just installed, with a network of its own."""
    run = Run("deb")
    with run.undo, Machine(run.namespace("host").name) as machine:
        machine.install(package)
        yield machine
