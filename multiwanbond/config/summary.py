"""Says in plain words what a configuration means, and what about it may surprise."""

from collections.abc import Iterator

from multiwanbond.units import format_duration

from .model import Configuration, Mode, Wan

_EVERYTHING = {4: "0.0.0.0/0", 6: "::/0"}


def summarise(configuration: Configuration) -> Iterator[str]:
    """Yield sentences, for a configuration with a mode."""
    if configuration.mode is Mode.SERVER:
        yield from _server(configuration)
    else:
        yield from _client(configuration)
    yield from _tunnel(configuration)
    yield f"Control socket: {configuration.control_socket}"


def _server(configuration: Configuration) -> Iterator[str]:
    peers = configuration.security.peers
    yield f"This is a server; it listens on UDP {configuration.session.local_endpoint}."
    for peer in peers:
        behind = ", ".join(map(str, peer.allowed_ips)) or "nothing"
        yield f"Client {peer.label}: behind it {behind}"


def _client(configuration: Configuration) -> Iterator[str]:
    servers = [_server_of(each) for each in configuration.servers]
    yield f"This is a client; its server is {servers[0] if servers else 'not named yet'}."
    if len(servers) > 1:
        yield f"While that one does not answer: {', then '.join(servers[1:])}"
    if not configuration.wans:
        yield "WANs: every interface with a default route"
    for wan in configuration.wans:
        yield _wan(configuration, wan)
    yield f"Routing mode: {configuration.routing.mode.value}"


def _server_of(configuration: Configuration) -> str:
    (peer,) = configuration.security.peers
    remote = configuration.session.remote_endpoint
    return f"{peer.label} at {remote}" if remote else peer.label


def _wan(configuration: Configuration, wan: Wan) -> str:
    if not wan.enabled:
        return f"WAN {wan.id}, {wan.label}: not enabled"
    leaves = [f"by {wan.interface}"] if wan.interface else []
    leaves += [f"from {wan.local_addr}"] if wan.local_addr else []
    noticed = format_duration(wan.health_check_interval * wan.failure_threshold)
    to = f" to {wan.remote_addr}" if wan.remote_addr else ""
    return (
        f"WAN {wan.id}, {wan.label} ({wan.type.value}): {' '.join(leaves)}{to}; "
        f"a failure is noticed in about {noticed}"
    )


def _tunnel(configuration: Configuration) -> Iterator[str]:
    tunnel = configuration.tunnel
    addresses = ", ".join(map(str, tunnel.address)) or "no address"
    mtu = "what fits through the WANs" if tunnel.mtu is None else f"{tunnel.mtu} bytes"
    yield f"Tunnel {tunnel.name}: {addresses}; MTU: {mtu}"
    routes = ", ".join(map(str, configuration.routes))
    yield f"Into the tunnel goes: {routes or 'only its own network'}"


def remarks(configuration: Configuration) -> Iterator[str]:
    """Yield what is allowed and yet may not be meant."""
    versions = {address.version for address in configuration.tunnel.address}
    routed = {route.version for route in configuration.routes}
    full = {route.version for route in configuration.routes if route.prefixlen == 0}
    if versions:
        for version in sorted(routed - versions):
            yield (
                f"IPv{version} is routed into the tunnel, but tunnel.address has none: programs on "
                f"this machine cannot use IPv{version} there."
            )
    if full == {4}:
        yield (
            "All of IPv4 goes through the tunnel, IPv6 does not. Add "
            f"'{_EVERYTHING[6]}' to send it there, too."
        )
    if configuration.mode is Mode.SERVER and configuration.wans:
        yield "wans is not used by a server: its paths come with its clients."
