"""Tries every WAN of a client without a tunnel: does the server answer over it, and how fast?

No device, no route, no rule: sockets bound to their WANs, and a handshake. It must not run beside
the client's daemon, whose bond it would replace at the server; the daemon itself tries servers that
it has no bond with.
"""

import os
from dataclasses import dataclass, replace
from typing import Final

import trio

from multiwanbond.core.burst import Burst
from multiwanbond.core.endpoint import Endpoint
from multiwanbond.core.path_state import PathState
from multiwanbond.core.statistics import PathStatistics
from multiwanbond.linux.undo import Undo
from multiwanbond.linux.wans import FoundWan

from .bring_up import ETHERNET_MTU
from .dataplane import Dataplane
from .linux_machine import LinuxMachine
from .machine import Network
from .plan import ClientPlan, Plan
from .wans import Wans

PATIENCE: Final = 6.0
"""Seconds for the slowest WAN to answer: three attempts of a handshake, and a probe."""
_GOOD: Final = frozenset({PathState.UP, PathState.DEGRADED})


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedWan:
    """What came of one WAN."""

    name: str
    interface: str | None
    local: str | None
    remote: str | None
    waiting_for: str | None
    """What is missing at this end; None if it could be tried."""
    is_answered: bool
    rtt: float | None
    """Seconds there and back."""


class _NoTun:
    """Has no packets, and takes none."""

    async def wait_readable(self) -> None:
        await trio.sleep_forever()

    def read_nowait(self, limit: int = 0, enough: int = 0) -> list[Burst]:
        return []

    def write_nowait(self, bursts: object) -> int:
        return 0


class _Unrouted:
    """A network whose routes are left alone: the sockets are bound to their WANs anyway."""

    def __init__(self, network: Network) -> None:
        self.interface_mtu = network.interface_mtu
        self.discover = network.discover
        self.locate = network.locate
        self.open_udp = network.open_udp
        self.watch = network.watch
        self.resolve = network.resolve

    def route_wan(self, wan_id: int, found: FoundWan, undo: Undo) -> None:
        """Do nothing."""


def _say_nothing(level: int, message: str, **fields: object) -> None:
    pass


async def answers(plan: Plan, network: Network) -> bool:
    """Tell whether a client's server answers over any WAN."""
    return any(tried.is_answered for tried in await try_wans(plan, network))


async def try_wans(
    plan: Plan, network: Network | None = None, *, patience: float = PATIENCE
) -> list[TriedWan]:
    """Return what comes of every WAN within `patience` seconds.

    Args:
        plan: a client's.
        network: around the machine; default this machine's.
        patience: seconds.
    """
    assert isinstance(plan.role, ClientPlan)
    changes = trio.Event()
    settings = replace(plan.endpoint, inner_mtu=min(plan.endpoint.inner_mtu, ETHERNET_MTU))
    endpoint = Endpoint(settings, entropy=os.urandom, now=trio.current_time())
    dataplane = Dataplane(
        endpoint,
        _NoTun(),
        on_event=lambda _: changes.set(),
        on_socket_broken=lambda wan_id, exc: wans.on_socket_broken(wan_id, exc),
    )
    around = _Unrouted(network or LinuxMachine(plan.tunnel.name))
    wans = Wans(plan.role, network=around, dataplane=dataplane, say=_say_nothing)
    async with trio.open_nursery() as nursery:
        await nursery.start(dataplane.run)
        await nursery.start(wans.run)
        with trio.move_on_after(patience):
            while not _all_answered(wans, endpoint):
                await changes.wait()
                changes = trio.Event()
        tried = _results(wans, endpoint)
        endpoint.close(trio.current_time())
        dataplane.flush()
        nursery.cancel_scope.cancel()
    dataplane.detach_all()
    return tried


def _paths(endpoint: Endpoint) -> dict[int, PathStatistics]:
    return {path.path_id: path for peer in endpoint.statistics().peers for path in peer.paths}


def _all_answered(wans: Wans, endpoint: Endpoint) -> bool:
    described, paths = wans.describe(), _paths(endpoint)
    return bool(described) and all(
        wan["waiting_for"] is None and wan["id"] in paths and paths[wan["id"]].state in _GOOD
        for wan in described
    )


def _results(wans: Wans, endpoint: Endpoint) -> list[TriedWan]:
    paths = _paths(endpoint)
    found = []
    for wan in wans.describe():
        path = paths.get(wan["id"])
        is_answered = path is not None and path.state in _GOOD
        found.append(
            TriedWan(
                name=wan["name"],
                interface=wan["interface"],
                local=wan["local"],
                remote=wan["remote"],
                waiting_for=wan["waiting_for"],
                is_answered=is_answered,
                rtt=path.rtt if path is not None and is_answered else None,
            )
        )
    return found
