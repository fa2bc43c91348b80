"""Makes the machine ready for the tunnel, and leaves it as it was if any step fails.

The order is that of wg-quick: look first, arm the reversal, change, read back (in `linux`). What
succeeded stays on the `Undo` of the result until the daemon ends.
"""

import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from multiwanbond.config.model import OnFailure
from multiwanbond.control.server import ControlSocket
from multiwanbond.core.fec.shards import RESERVED
from multiwanbond.core.pmtu import UDP_IPV4, UDP_IPV6
from multiwanbond.core.wire import OVERHEAD
from multiwanbond.errors import PlatformError
from multiwanbond.linux.multicast import MulticastHost
from multiwanbond.linux.undo import Undo

from .machine import Machine, Network, TunDevice
from .plan import ClientPlan, Plan, ServerPlan
from .report import say

ETHERNET_MTU: Final = 1500
"""Taken for a WAN that is not there yet, and for all interfaces of a server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BroughtUp:
    """What stands after a successful bring-up."""

    tun: TunDevice
    mtu: int
    control: ControlSocket
    multicast: MulticastHost | None
    """None if multicast is not carried."""
    undo: Undo
    """Takes everything back, newest first."""


def bring_up(plan: Plan, machine: Machine) -> BroughtUp:
    """Create and configure the TUN device and the control socket; to be called in a thread.

    The tunnel's routes are not part of it: a route that covers the name server would swallow the
    very question for the server's address (see `tunnel`).

    Raises:
        PrivilegeError, PlatformError: nothing was changed, or all of it was changed back.
    """
    machine.check()
    name = plan.tunnel.name
    with Undo() as undo:
        machine.lock(undo)
        is_blocking = plan.tunnel.on_failure is OnFailure.BLOCK
        if is_blocking:
            # First of all, and over what a killed daemon left: there must be no moment without.
            machine.block(undo)
        for leftover in machine.clean_up(keeps_block=is_blocking):
            say(logging.WARNING, f"Removed what an earlier daemon left: {leftover}.")
        plans = (plan, *plan.standby)
        mtu = plan.tunnel.mtu or min(fitting_mtu(each, machine) for each in plans)
        tun = machine.open_tun(wants_offload=plan.tunnel.wants_offload)
        undo.push(f"interface {name}", tun.close)
        machine.configure_tun(plan.tunnel.addresses, mtu, undo)
        multicast = None
        if plan.multicast is not None:
            multicast = machine.open_multicast(plan.multicast, undo)
        control = ControlSocket(plan.control_socket)
        undo.push(f"control socket {plan.control_socket}", control.close)
        return BroughtUp(tun=tun, mtu=mtu, control=control, multicast=multicast, undo=undo.take())


def fitting_mtu(plan: Plan, network: Network) -> int:
    """Return the largest packet that fits every WAN in one datagram, and its parity in another."""
    return _datagram_room(plan, network) - (RESERVED if plan.endpoint.fec.enabled else 0)


def _datagram_room(plan: Plan, network: Network) -> int:
    match plan.role:
        case ServerPlan():
            return ETHERNET_MTU - _overhead([plan.role.listen.host])
        case ClientPlan():
            remotes = [remote.host for _, remote in plan.role.wans]
            if plan.role.discovery is not None:
                remotes.append(plan.role.discovery.host)
            mtus = [network.interface_mtu(name) for name in _interfaces(plan.role, network)]
            return min([*mtus, ETHERNET_MTU]) - _overhead(remotes)


def _overhead(hosts: Iterable[str]) -> int:
    # A name may turn out to be IPv6, whose header is the larger one.
    return OVERHEAD + (UDP_IPV4 if all(map(_is_ipv4, hosts)) else UDP_IPV6)


def _is_ipv4(host: str) -> bool:
    try:
        return ip_address(host).version == 4
    except ValueError:
        return False


def _interfaces(role: ClientPlan, network: Network) -> set[str]:
    """Return the interfaces of those WANs that are there now."""
    if role.discovery is not None:
        return {found.interface for found in network.discover()}
    present = set()
    for wish, _ in role.wans:
        for version in (4, 6):
            with suppress(PlatformError):
                present.add(network.locate(wish, version).interface)
    return present


def tear_down(undo: Undo) -> None:
    """Take everything back, newest first, and say what could not be; to be called in a thread."""
    for failure in undo.run():
        say(logging.ERROR, f"Could not undo {failure}.")
