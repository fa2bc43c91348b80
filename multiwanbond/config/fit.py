"""Whether settings that are each valid also fit together."""

from collections.abc import Hashable, Iterable, Iterator
from ipaddress import ip_address
from itertools import combinations
from typing import Final

from multiwanbond.core.settings import Prefix

from .fit_gateway import check_gateway
from .metered import check_quotas
from .model import Configuration, Mode, OnFailure, Peer, Wan, is_within
from .notations import HostPort, is_numeric
from .problems import Problems

_LEAST_MTU_IPV6: Final = 1280
"""RFC 8200, section 5; below it the kernel takes IPv6 off the interface."""


def check_fit(configuration: Configuration, problems: Problems) -> None:
    """Complain about settings that contradict each other; what is merely missing is not said."""
    _check_unique(configuration, problems)
    _check_wans(configuration, problems)
    _check_keys_given_once(configuration, problems)
    _check_allowed_ips(configuration, problems)
    _check_tunnel(configuration, problems)
    _check_classes(configuration, problems)
    _check_bypass(configuration, problems)
    check_gateway(configuration, problems)
    check_quotas(configuration.wans, problems)
    if configuration.mode is Mode.CLIENT:
        _check_client(configuration, problems)
    if configuration.mode is Mode.SERVER:
        _check_clients(configuration, problems)


def _check_unique(configuration: Configuration, problems: Problems) -> None:
    wans, peers = configuration.wans, configuration.security.peers
    rules: list[tuple[str, str, Iterable[Hashable]]] = [
        ("wans", "id", (wan.id for wan in wans)),
        ("wans", "name", (wan.name or None for wan in wans)),
        ("classes", "name", (each.name for each in configuration.classes)),
        ("security.peers", "name", (peer.name or None for peer in peers)),
        ("security.peers", "public_key", (peer.public_key for peer in peers)),
    ]
    for listing, name, values in rules:
        for index, first in _repeated(values):
            problems.add_consequence(
                f"{listing}[{index}].{name}",
                f"is the same as that of {listing}[{first}]",
                "Give each its own",
            )


def _repeated(values: Iterable[Hashable]) -> Iterator[tuple[int, int]]:
    """Yield the index of every value seen before, and where; None is no value."""
    seen: dict[Hashable, int] = {}
    for index, value in enumerate(values):
        if value is None:
            continue
        if value in seen:
            yield index, seen[value]
        seen.setdefault(value, index)


def _check_wans(configuration: Configuration, problems: Problems) -> None:
    """Two WANs on one interface are one line, unless they send from different addresses."""
    for (index, wan), (first, other) in _pairs(configuration.wans):
        is_same_line = wan.interface is not None and wan.interface == other.interface
        if is_same_line and None in (wan.local_addr, other.local_addr):
            problems.add_consequence(
                f"wans[{index}].interface",
                f"{wan.interface!r} is already used by wans[{first}]",
                "Give another interface, or give both WANs a local_addr",
                depends_on=(f"wans[{index}]", f"wans[{first}]"),
            )
        # Two LTE sticks may well give the same address; their interfaces tell them apart.
        is_one_place = is_same_line or None in (wan.interface, other.interface)
        if is_one_place and wan.local_addr is not None and wan.local_addr == other.local_addr:
            problems.add_consequence(
                f"wans[{index}].local_addr",
                f"is the same as that of wans[{first}]",
                "Give each its own, or the interface as well",
            )


def _pairs(wans: tuple[Wan, ...]) -> Iterator[tuple[tuple[int, Wan], tuple[int, Wan]]]:
    return ((later, earlier) for earlier, later in combinations(enumerate(wans), 2))


def _check_keys_given_once(configuration: Configuration, problems: Problems) -> None:
    security = configuration.security
    if security.private_key is not None and security.private_key_file is not None:
        problems.add_consequence(
            "security.private_key_file",
            "private_key is given as well",
            "Keep one of them, rather the file",
        )
    for index, peer in enumerate(security.peers):
        if peer.preshared_key is not None and peer.preshared_key_file is not None:
            problems.add_consequence(
                f"security.peers[{index}].preshared_key_file",
                "preshared_key is given as well",
                "Keep one of them, rather the file",
            )


def _check_allowed_ips(configuration: Configuration, problems: Problems) -> None:
    """Complain about prefixes that two peers claim.

    A narrower prefix within another peer's is fine: the longest one wins, as it does in routing.
    """
    owners: dict[Prefix, int] = {}
    if configuration.mode is Mode.CLIENT:
        return  # its servers take turns
    for index, peer in enumerate(configuration.security.peers):
        for position, prefix in enumerate(peer.allowed_ips):
            owner = owners.setdefault(prefix, index)
            if owner != index:
                problems.add_consequence(
                    f"security.peers[{index}].allowed_ips[{position}]",
                    f"{prefix} is already behind {_called(configuration.security.peers[owner])}",
                    "An address can be behind one peer only; give each its own prefixes",
                )


def _check_classes(configuration: Configuration, problems: Problems) -> None:
    """Complain about WANs that a class names and a client does not have."""
    known = {wan.id for wan in configuration.wans}
    if configuration.mode is Mode.SERVER or not known:
        return
    for index, each in enumerate(configuration.classes):
        for position, wan_id in enumerate(each.wans):
            if wan_id not in known:
                problems.add_consequence(
                    f"classes[{index}].wans[{position}]",
                    f"there is no WAN with the id {wan_id}",
                    f"Choose among {', '.join(map(str, sorted(known)))}",
                    depends_on=("wans",),
                )


def _check_bypass(configuration: Configuration, problems: Problems) -> None:
    """Complain about what a route of the tunnel's takes in all the same: only defaults give way."""
    routes = [route for route in configuration.routes if route.prefixlen]
    for index, prefix in enumerate(configuration.bypass.prefixes):
        for route in routes:
            if is_within(prefix, route):
                problems.add_consequence(
                    f"bypass.prefixes[{index}]",
                    f"{prefix} is in {route}, which is routed into the tunnel by itself",
                    "Take that route apart, or out of tunnel.routes",
                    depends_on=("tunnel", "security"),
                )


def _called(peer: Peer) -> str:
    return f"the peer {peer.label!r}"


def _check_tunnel(configuration: Configuration, problems: Problems) -> None:
    tunnel = configuration.tunnel
    if configuration.mode is Mode.SERVER and tunnel.on_failure is OnFailure.BLOCK:
        problems.add_consequence(
            "tunnel.on_failure",
            "is a client's: a server sends nothing by default",
            "Leave it out",
        )
    has_ipv6 = any(address.version == 6 for address in tunnel.address)
    if tunnel.mtu is not None and tunnel.mtu < _LEAST_MTU_IPV6 and has_ipv6:
        problems.add_consequence(
            "tunnel.mtu",
            f"{tunnel.mtu} is too small for IPv6, which tunnel.address has",
            f"Choose at least {_LEAST_MTU_IPV6}, or auto, or remove the IPv6 address",
        )
    allowed = [prefix for peer in configuration.security.peers for prefix in peer.allowed_ips]
    for index, route in enumerate(tunnel.routes or ()):
        if allowed and not any(_overlap(route, prefix) for prefix in allowed):
            problems.add_consequence(
                f"tunnel.routes[{index}]",
                f"no peer has {route} in its allowed_ips: what goes there would be dropped",
                "Add it to allowed_ips of the peer it is behind, or remove the route",
                depends_on=("security",),
            )


def _overlap(one: Prefix, other: Prefix) -> bool:
    return is_within(one, other) or is_within(other, one)


def _check_clients(configuration: Configuration, problems: Problems) -> None:
    """Complain about clients that are to be called: they call."""
    for index, peer in enumerate(configuration.security.peers):
        if peer.endpoint is not None:
            problems.add_consequence(
                f"security.peers[{index}].endpoint",
                "says where a server is, but this is one: its clients call it",
                "Leave it out",
            )


def _check_client(configuration: Configuration, problems: Problems) -> None:
    for index, wan in enumerate(configuration.wans):
        if wan.interface is None and wan.local_addr is None:
            problems.add_consequence(
                f"wans[{index}]",
                "says neither interface nor local_addr",
                "Add the interface it leaves by, such as 'interface: eth0'",
            )
    _check_remotes(configuration, problems)
    _check_servers(configuration, problems)
    _check_inner_and_outer(configuration, problems)
    _check_block(configuration, problems)


def _check_inner_and_outer(configuration: Configuration, problems: Problems) -> None:
    """Complain about addresses outside the tunnel that are in the tunnel's own network."""
    hosts = {
        **{key: remote.host for key, remote in _remotes(configuration) if is_numeric(remote.host)},
        **{
            f"wans[{index}].local_addr": str(wan.local_addr)
            for index, wan in enumerate(configuration.wans)
            if wan.local_addr is not None
        },
    }
    for index, address in enumerate(configuration.tunnel.address):
        for key, host in hosts.items():
            if ip_address(host) in address.network:
                problems.add_consequence(
                    f"tunnel.address[{index}]",
                    f"{address} has {host} in its network, which is {key}, outside the tunnel",
                    "Choose another network for the tunnel, at both ends",
                    depends_on=("session", "wans"),
                )


def _remotes(configuration: Configuration) -> Iterator[tuple[str, HostPort]]:
    """Yield where servers are said to be."""
    if configuration.session.remote_endpoint is not None:
        yield "session.remote_endpoint", configuration.session.remote_endpoint
    for index, wan in enumerate(configuration.wans):
        if wan.remote_addr is not None:
            yield f"wans[{index}].remote_addr", wan.remote_addr
    for index, peer in enumerate(configuration.security.peers):
        if peer.endpoint is not None:
            yield f"security.peers[{index}].endpoint", peer.endpoint


def _check_block(configuration: Configuration, problems: Problems) -> None:
    """Complain about a block that would block nothing, or the look-up of the server as well."""
    if configuration.tunnel.on_failure is not OnFailure.BLOCK:
        return
    security, routes = configuration.security, configuration.routes
    if security.peers and not any(route.prefixlen == 0 for route in routes):
        problems.add_consequence(
            "tunnel.on_failure",
            "has nothing to block: no default route leads into the tunnel",
            "Add 0.0.0.0/0 and ::/0 to the server's allowed_ips, or leave on_failure out",
            depends_on=("security",),
        )
    for key, remote in _remotes(configuration):
        if not is_numeric(remote.host):
            problems.add_consequence(
                key,
                f"{remote.host!r} could not be looked up while tunnel.on_failure blocks",
                "Give the server's address instead of its name",
                depends_on=("tunnel",),
            )


def _check_remotes(configuration: Configuration, problems: Problems) -> None:
    wans, peers = configuration.wans, configuration.security.peers
    if configuration.session.remote_endpoint is not None or any(peer.endpoint for peer in peers):
        return
    if not wans or any(wan.remote_addr is None for wan in wans):
        problems.add_consequence(
            "session.remote_endpoint",
            "is missing: a client must know where its server is",
            "Add it, such as 'remote_endpoint: \"vps.example.net:9000\"'",
            depends_on=("wans",),
        )


def _check_servers(configuration: Configuration, problems: Problems) -> None:
    """Complain about servers that nothing leads to, or everything."""
    session, peers = configuration.session, configuration.security.peers
    # One of them may be at the place named for all.
    is_taken = session.remote_endpoint is None
    for index, peer in enumerate(peers):
        if peer.endpoint is not None:
            continue
        if is_taken and len(peers) > 1:
            problems.add_consequence(
                f"security.peers[{index}].endpoint",
                "is missing: each of several servers has its own",
                "Add it, such as 'endpoint: \"vps2.example.net:9000\"'",
                depends_on=("session",),
            )
        is_taken = True
    if len(peers) < 2 and not any(peer.endpoint for peer in peers):
        return
    for index, wan in enumerate(configuration.wans):
        if wan.remote_addr is not None:
            problems.add_consequence(
                f"wans[{index}].remote_addr",
                "leads to one server, but endpoint says where each of them is",
                "Leave it out, or have one server without endpoint",
                depends_on=("security",),
            )
