"""The model walked: every setting of a configuration, and another value for each."""

from dataclasses import replace
from enum import Enum
from typing import Any

from multiwanbond.config import reference
from multiwanbond.config.convert import read as read_value
from multiwanbond.config.model import Configuration
from multiwanbond.config.walk import Setting

from .files import PEER_KEY, read

BASE = f"""\
mode: server
session: {{remote_endpoint: "vps1.example.net:9000", multicast_enabled: true}}
wans:
  - {{id: 1, name: Fibre, interface: eth0}}
  - {{id: 2, name: LTE, interface: wwan0}}
tunnel: {{address: [10.77.0.1/24]}}
security:
  peers:
    - {{name: laptop, public_key: "{PEER_KEY}", allowed_ips: [10.77.0.2/32]}}
classes: [{{name: calls}}]
gateway: {{port_forwards: [{{port: 443, to: 10.77.0.2}}]}}
plugins: [{{name: prometheus}}]
"""
VALUES = [each for each in reference.settings() if not each.is_section]
LISTS = [each for each in reference.settings() if each.is_section and each.kind.is_list]
IDENTITIES = {f"{each.key}[].{each.option.identity}" for each in LISTS if each.option.identity}


def by_key(setting: Setting) -> str:
    """Name a test after its setting."""
    return setting.key


def base() -> Configuration:
    """A configuration with an entry in every list of sections."""
    configuration = read(BASE)
    for each in LISTS:
        assert at(configuration, each.key.split(".")), f"{each.key} needs an entry in BASE"
    return configuration


def at(section: Any, steps: list[str]) -> Any:
    """Return the setting at the end of the steps, in the first entry of every list."""
    for step in steps:
        section = getattr(section, step.removesuffix("[]"))
        section = section[0] if step.endswith("[]") else section
    return section


def changed(section: Any, steps: list[str], value: Any) -> Any:
    """Return the section with one setting changed, in the first entry of every list on the way."""
    name = steps[0].removesuffix("[]")
    if len(steps) == 1:
        return replace(section, **{name: value})
    inner = getattr(section, name)
    if steps[0].endswith("[]"):
        return replace(section, **{name: (changed(inner[0], steps[1:], value), *inner[1:])})
    return replace(section, **{name: changed(inner, steps[1:], value)})


def another_value(setting: Setting, value: Any) -> Any:
    """Return a value of the setting that is not `value`."""
    option, kind = setting.option, setting.kind
    if kind.type is bool:
        return not value
    if issubclass(kind.type, Enum):
        return next(choice for choice in kind.type if choice is not value)
    if kind.is_list and kind.type is int:
        return (7,) if value != (7,) else ()
    if option.low is not None and option.high is not None:
        number = option.high if value != option.high else option.low
        return int(number) if kind.type is int else number
    assert option.notation is not None
    example = PEER_KEY if "keygen" in option.notation.example else option.notation.example
    other = read_value(example, kind.type, option)
    if kind.is_list:
        return (other,) if value != (other,) else ()
    return other if other != value else bytes(32)
