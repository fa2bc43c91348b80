"""A declaration keeps together what belongs to one setting."""

from dataclasses import Field, dataclass, fields
from typing import Any

import pytest

from multiwanbond.options import (
    Reload,
    default_of,
    is_required,
    option,
    option_of,
    options_of,
)
from multiwanbond.units import DURATION


@dataclass(frozen=True, slots=True, kw_only=True)
class Kettle:
    """Something with settings, and a field that is none."""

    name: str = option(doc="What it is called.")
    delay: float = option(0.2, notation=DURATION, low=0.1, reload=Reload.LIVE, doc="How long.")
    cups: tuple[str, ...] = option(tuple, doc="Which cups.")
    serial: int = 0


def setting(name: str) -> "Field[Any]":
    return next(each for each in fields(Kettle) if each.name == name)


def test_a_declaration_is_found_behind_its_field() -> None:
    declared = option_of(setting("delay"))

    assert (declared.notation, declared.low, declared.reload) == (DURATION, 0.1, Reload.LIVE)


def test_without_a_default_a_setting_is_required() -> None:
    required = [each.name for each, _ in options_of(Kettle) if is_required(each)]

    assert required == ["name"]


def test_a_default_may_be_made_by_a_function() -> None:
    assert default_of(setting("cups")) == ()
    assert default_of(setting("delay")) == 0.2


def test_a_field_that_is_no_setting_is_passed_over() -> None:
    assert [each.name for each, _ in options_of(Kettle)] == ["name", "delay", "cups"]
    with pytest.raises(KeyError):
        option_of(setting("serial"))
