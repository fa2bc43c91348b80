"""Plugin `acl`: lets packets pass or drops them, by rules; stateless."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from multiwanbond.config.notations import PREFIX
from multiwanbond.config.traffic_notations import PORTS, PROTOCOL, PortRange
from multiwanbond.core.burst import Burst
from multiwanbond.core.ip import flow_key, hosts_of, ports_of
from multiwanbond.core.settings import Prefix
from multiwanbond.options import option
from multiwanbond.plugins.api import Context, PacketFilter

_MOST_REMEMBERED: Final = 8192
"""Flows whose verdict is remembered."""


class Action(Enum):
    """What becomes of a packet."""

    ALLOW = "allow"
    DENY = "deny"


class Direction(Enum):
    """Which way a packet goes through this end's tunnel interface."""

    OUT = "out"
    IN = "in"
    BOTH = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """All that is given must be true of a packet; of a list, one entry."""

    action: Action = option(doc="What becomes of the packets that match.")
    direction: Direction = option(
        Direction.BOTH, doc="out: to the peer; in: from it; both: either way."
    )
    protocols: tuple[int, ...] = option(
        tuple, notation=PROTOCOL, low=0, high=255, default_doc="any", doc="IP protocols."
    )
    sources: tuple[Prefix, ...] = option(
        tuple, notation=PREFIX, default_doc="any", doc="Networks the packet comes from."
    )
    destinations: tuple[Prefix, ...] = option(
        tuple, notation=PREFIX, default_doc="any", doc="Networks it goes to."
    )
    source_ports: tuple[PortRange, ...] = option(
        tuple, notation=PORTS, default_doc="any", doc="Ports it comes from."
    )
    destination_ports: tuple[PortRange, ...] = option(
        tuple, notation=PORTS, default_doc="any", doc="Ports it goes to."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The settings of `acl`."""

    rules: tuple[Rule, ...] = option(tuple, doc="The first rule that matches counts.")
    default: Action = option(Action.ALLOW, doc="What becomes of packets that no rule matches.")


class Acl(PacketFilter):
    """Lets packets pass or drops them, by rules; each flow is judged once each way."""

    options_type = Options
    takes_runs = True  # the packets of a run have one header

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__(options, context)
        ways = {
            way: [rule for rule in options.rules if rule.direction in (way, Direction.BOTH)]
            for way in (Direction.OUT, Direction.IN)
        }
        is_allowed = options.default is Action.ALLOW
        self._out = _Judge(ways[Direction.OUT], is_default_allow=is_allowed)
        self._in = _Judge(ways[Direction.IN], is_default_allow=is_allowed)

    def outbound(self, bursts: Sequence[Burst]) -> Sequence[Burst]:
        """Return what may go to the peer."""
        return [burst for burst in bursts if self._out.allows(burst)]

    def inbound(self, bursts: Sequence[Burst]) -> Sequence[Burst]:
        """Return what may be delivered."""
        return [burst for burst in bursts if self._in.allows(burst)]


class _Judge:
    def __init__(self, rules: Sequence[Rule], *, is_default_allow: bool) -> None:
        self._rules = [(rule.action is Action.ALLOW, _conditions(rule)) for rule in rules]
        self._is_default_allow = is_default_allow
        self._verdicts: OrderedDict[bytes, bool] = OrderedDict()

    def allows(self, burst: Burst) -> bool:
        key = flow_key(burst.packet)
        verdict = self._verdicts.get(key)
        if verdict is None:
            verdict = self._verdicts[key] = self._judge(_Facts(key))
            if len(self._verdicts) > _MOST_REMEMBERED:
                self._verdicts.popitem(last=False)
        return verdict

    def _judge(self, facts: "_Facts") -> bool:
        for is_allowed, conditions in self._rules:
            if all(condition(facts, is_allowed) for condition in conditions):
                return is_allowed
        return self._is_default_allow


class _Facts:
    """What a flow key says; None for what it does not."""

    def __init__(self, key: bytes) -> None:
        self.protocol = key[0] if key else None
        hosts = hosts_of(key)
        self.source = hosts[0] if hosts else None
        self.destination = hosts[1] if hosts else None
        self.ports = ports_of(key)


_Condition = Callable[[_Facts, bool], bool]


def _conditions(rule: Rule) -> list[_Condition]:
    found: list[_Condition] = []
    if rule.protocols:
        found.append(lambda facts, _allow: facts.protocol in rule.protocols)
    if rule.sources:
        found.append(lambda facts, _allow: _is_in(facts.source, rule.sources))
    if rule.destinations:
        found.append(lambda facts, _allow: _is_in(facts.destination, rule.destinations))
    if rule.source_ports:
        found.append(lambda facts, allow: _has_port(facts, 0, rule.source_ports, allow))
    if rule.destination_ports:
        found.append(lambda facts, allow: _has_port(facts, 1, rule.destination_ports, allow))
    return found


def _is_in(host: bytes | None, prefixes: Sequence[Any]) -> bool:
    if host is None:
        return False
    number = int.from_bytes(host, "big")
    return any(
        8 * len(host) == prefix.max_prefixlen
        and number & int(prefix.netmask) == int(prefix.network_address)
        for prefix in prefixes
    )


def _has_port(facts: _Facts, end: int, ranges: Sequence[PortRange], is_allowing: bool) -> bool:
    """Say whether the port is among these.

    Fragments have no ports. They pass: what they belong to is judged by its first one, and without
    that nobody puts them together.
    """
    if facts.ports is None:
        return is_allowing
    return any(each.first <= facts.ports[end] <= each.last for each in ranges)
