"""Whether what is to be done for other hosts fits together."""

from collections.abc import Iterator
from itertools import combinations

from .gateway import Forward, PortForward, Transport
from .model import Configuration, Mode
from .problems import Problems


def check_gateway(configuration: Configuration, problems: Problems) -> None:
    """Complain about open ports that lead nowhere, or that something else has."""
    gateway = configuration.gateway
    if gateway.forward is Forward.OFF and gateway.port_forwards:
        problems.add_consequence(
            "gateway.port_forwards",
            "lead nowhere while gateway.forward is off",
            "Set 'forward: auto', or remove the ports",
        )
    _check_ranges(gateway.port_forwards, problems)
    _check_taken_once(gateway.port_forwards, problems)
    if configuration.mode is Mode.SERVER:
        _check_own_port(configuration, problems)
        _check_targets(configuration, problems)


def _check_ranges(forwards: tuple[PortForward, ...], problems: Problems) -> None:
    for index, each in enumerate(forwards):
        if each.to.port is not None and each.port.first != each.port.last:
            problems.add_consequence(
                f"gateway.port_forwards[{index}].to",
                "has a port, but several ports lead there",
                f"Leave the port out: '{each.to.host}'. Each keeps its own",
            )


def _check_taken_once(forwards: tuple[PortForward, ...], problems: Problems) -> None:
    for (first, one), (index, other) in combinations(enumerate(forwards), 2):
        is_same_port = one.port.first <= other.port.last and other.port.first <= one.port.last
        is_same_version = one.to.host.version == other.to.host.version
        if is_same_port and is_same_version and _share(one, other):
            problems.add_consequence(
                f"gateway.port_forwards[{index}].port",
                f"is already opened by gateway.port_forwards[{first}]",
                "A port leads to one host; give another",
            )


def _share(one: PortForward, other: PortForward) -> bool:
    return one.protocol is other.protocol or Transport.BOTH in (one.protocol, other.protocol)


def _check_own_port(configuration: Configuration, problems: Problems) -> None:
    own = configuration.session.local_endpoint.port
    for index, each in _with_udp(configuration.gateway.port_forwards):
        if each.port.first <= own <= each.port.last:
            problems.add_consequence(
                f"gateway.port_forwards[{index}].port",
                f"has UDP port {own}, on which the tunnel itself is reached",
                "Leave that port out",
            )


def _with_udp(forwards: tuple[PortForward, ...]) -> Iterator[tuple[int, PortForward]]:
    return ((i, each) for i, each in enumerate(forwards) if each.protocol is not Transport.TCP)


def _check_targets(configuration: Configuration, problems: Problems) -> None:
    behind = [prefix for peer in configuration.security.peers for prefix in peer.allowed_ips]
    for index, each in enumerate(configuration.gateway.port_forwards):
        if behind and not any(each.to.host in prefix for prefix in behind):
            problems.add_consequence(
                f"gateway.port_forwards[{index}].to",
                f"{each.to.host} is behind no peer",
                "Name an address that is in some peer's allowed_ips",
                depends_on=("security",),
            )
