"""Labs as fixtures. Without root they skip and say so; as root in CI they fail instead."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from multiwanbond.lab.bond import Bond
from multiwanbond.lab.namespaces import why_no_lab
from multiwanbond.lab.topology import Topology, WanSpec, three_unequal_lines

BuildLab = Callable[[Sequence[WanSpec]], Topology]
BuildBond = Callable[..., Bond]


@pytest.fixture(scope="session")
def kernel() -> None:
    """Pass only where labs can be made."""
    reason = why_no_lab()
    if reason is None:
        return
    if os.environ.get("CI") and os.geteuid() == 0:
        pytest.fail(f"this CI run must not skip the kernel ring, but {reason}")
    pytest.skip(f"no network namespaces here: {reason}")


@pytest.fixture
def build_lab(kernel: None) -> Iterator[BuildLab]:
    """Return a function that builds a lab from WANs; the test's end removes it."""
    with ExitStack() as labs:
        yield lambda specs: labs.enter_context(Topology(specs, purpose="test"))


@pytest.fixture
def lab(build_lab: BuildLab) -> Topology:
    """Return the standard lab: 100/50/10 Mbit/s, 10/40/25 ms."""
    return build_lab(three_unequal_lines())


@pytest.fixture
def build_bond(kernel: None) -> Iterator[BuildBond]:
    """Return a function that makes a `Bond`; a failing test shows what the daemons said."""
    bonds: list[Bond] = []

    def build(lab: Topology, **options: Any) -> Bond:
        bonds.append(Bond(lab, **options))
        return bonds[-1]

    yield build
    for bond in bonds:
        for daemon in bond.daemons:
            sys.stdout.write(f"--- {daemon.log.name}\n{daemon.last_words(60)}\n")


@pytest.fixture
def bond(lab: Topology, build_bond: BuildBond) -> Bond:
    """Return a bond over the standard lab that is up and carries traffic."""
    made = build_bond(lab)
    made.start()
    made.wait_connected()
    return made
