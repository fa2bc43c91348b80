"""Looks for what keeps a tunnel from working, or from working well, and says what to do about it.

Nothing is changed. Each check is a function that yields findings; a check that cannot be made here
says that instead.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address
from typing import Final

from multiwanbond.config.gateway import Forward
from multiwanbond.config.model import Configuration, Mode
from multiwanbond.control.status import StatusDocument
from multiwanbond.core import segments
from multiwanbond.errors import MultiWanBondError, PlatformError
from multiwanbond.linux import nftables
from multiwanbond.linux.features import is_clock_synchronised, missing_features
from multiwanbond.linux.kernel import Kernel
from multiwanbond.linux.overlaps import Surroundings
from multiwanbond.linux.privileges import check_privileges
from multiwanbond.linux.wans import FoundWan, Uplinks

from .trial import TriedWan

_RELEASED: Final = 1_790_000_000
"""Seconds since 1970; this version is younger, so a clock that says less has not been set."""
_NARROW: Final = 1500
_ORDINARY: Final = 1480
"""What is asked of a line where the server listens on IPv6 as well: no more was tried."""
_SLOW: Final = 0.4
"""Seconds of round trip from which a line is only good for downloads."""


class Level(Enum):
    """How bad a finding is."""

    GOOD = "good"
    NOTE = "note"
    """Worth knowing; nothing need be done."""
    WARNING = "warning"
    """It works, but not as well as it could."""
    BAD = "bad"
    """It does not work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """What is examined."""

    configuration: Configuration | None
    """None: there is none, or a wrong one."""
    kernel: Kernel
    status: StatusDocument | None = None
    """What the running daemon says; None if none runs."""
    tried: Sequence[TriedWan] | None = None
    """What came of trying the WANs; None if that was not done."""


def examine(patient: Patient) -> Iterator[Finding]:
    """Yield everything found, the machine first, then the configuration and the WANs."""
    for check in _CHECKS:
        try:
            yield from check(patient)
        except MultiWanBondError as exc:
            yield Finding(level=Level.WARNING, text=f"Could not look: {exc}")


# The machine


def _privileges(patient: Patient) -> Iterator[Finding]:
    try:
        check_privileges()
    except PlatformError as exc:
        yield Finding(level=Level.BAD, text=exc.problem, remedy=exc.remedy)
    else:
        yield Finding(level=Level.GOOD, text="We may configure the network, and there is TUN.")


def _features(patient: Patient) -> Iterator[Finding]:
    missing = list(missing_features())
    for what, cost in missing:
        yield Finding(level=Level.WARNING, text=f"This kernel has no {what}: {cost}.")
    if not missing:
        yield Finding(level=Level.GOOD, text="The kernel has all offloads for UDP, and IPv6.")
    if segments.COMPILED is None:
        yield Finding(
            level=Level.WARNING,
            text="Python encrypts packets, at three to four times the processor time.",
            remedy='Install a compiler ("apt install gcc python3-dev") and run "python -m '
            'multiwanbond.native.build".',
        )


def _firewall_program(patient: Patient) -> Iterator[Finding]:
    if not nftables.is_installed() and _forwards(patient):
        yield Finding(
            level=Level.BAD,
            text="The program 'nft' is missing: nothing can be forwarded for others.",
            remedy='Install it: "apt install nftables".',
        )


def _clock(patient: Patient) -> Iterator[Finding]:
    if time.time() < _RELEASED:
        yield Finding(
            level=Level.BAD,
            text="The clock is wrong by years; a handshake of today may be refused later.",
            remedy='Set it: "timedatectl set-ntp true".',
        )
    elif not is_clock_synchronised():
        yield Finding(
            level=Level.NOTE,
            text="Nothing keeps the clock right; the tunnel needs it only roughly.",
        )


def _other_firewalls(patient: Patient) -> Iterator[Finding]:
    if _forwards(patient):
        for chain in nftables.dropping_chains("forward"):
            yield Finding(
                level=Level.WARNING,
                text=f"The firewall's chain {chain!r} drops what it does not know; forwarded "
                "packets may be among it.",
                remedy="Let it accept what comes in and goes out by the tunnel's interface "
                "(docs/router.md).",
            )
    if patient.configuration is not None and patient.configuration.mode is Mode.SERVER:
        port = patient.configuration.session.local_endpoint.port
        for chain in nftables.dropping_chains("input"):
            yield Finding(
                level=Level.WARNING,
                text=f"The firewall's chain {chain!r} drops what it does not know.",
                remedy=f"Let it accept UDP port {port}.",
            )


def _forwards(patient: Patient) -> bool:
    """True if the tunnel is to carry others' packets."""
    configuration = patient.configuration
    if configuration is None or configuration.gateway.forward is Forward.OFF:
        return False
    return configuration.mode is Mode.SERVER or configuration.gateway.forward is Forward.ON


# The configuration


def _overlaps(patient: Patient) -> Iterator[Finding]:
    configuration = patient.configuration
    if configuration is None:
        return
    surroundings = Surroundings(patient.kernel, tunnel=configuration.tunnel.name)
    for overlap in surroundings.in_the_way_of_all(
        configuration.tunnel.address, configuration.routes
    ):
        yield Finding(
            level=Level.BAD if overlap.is_harmful else Level.WARNING,
            text=overlap.problem,
            remedy=overlap.remedy,
        )


# The WANs


def _wans(patient: Patient) -> Iterator[Finding]:
    configuration = patient.configuration
    if configuration is None or configuration.mode is not Mode.CLIENT:
        return
    uplinks = Uplinks(patient.kernel, tunnel=configuration.tunnel.name)
    found = uplinks.discover()
    if not found:
        yield Finding(
            level=Level.BAD,
            text="No interface has a default route.",
            remedy="Plug a line in, and see that its DHCP client runs.",
        )
    yield from _shared_gateways(found)
    mtus = {link.name: link.mtu for link in patient.kernel.links()}
    for wan in found:
        if mtus[wan.interface] < _NARROW:
            yield Finding(
                level=Level.NOTE,
                text=f"{wan.interface} has an MTU of {mtus[wan.interface]}; the tunnel follows the "
                "narrowest WAN.",
            )
        if ip_address(wan.local_host).is_private:
            yield Finding(
                level=Level.NOTE,
                text=f"{wan.interface} has the private address {wan.local_host}: its provider, "
                "or a router of yours, translates it. Probes keep that open.",
            )


def _shared_gateways(found: Sequence[FoundWan]) -> Iterator[Finding]:
    by_gateway: dict[str, list[str]] = defaultdict(list)
    for wan in found:
        if wan.gateway is not None:
            by_gateway[wan.gateway].append(wan.interface)
    for gateway, names in by_gateway.items():
        if len(names) > 1:
            yield Finding(
                level=Level.WARNING,
                text=f"{' and '.join(names)} have the same gateway, {gateway}. If that is one "
                "router, they share its line, and together carry no more than one of them.",
                remedy="Give each a line of its own, or leave one out.",
            )


def _reachability(patient: Patient) -> Iterator[Finding]:
    if patient.status is not None:
        yield from _by_daemon(patient.status)
    for wan in patient.tried or ():
        yield _by_trial(wan)


def _by_daemon(status: StatusDocument) -> Iterator[Finding]:
    yield Finding(level=Level.GOOD, text=f"The daemon runs (process {status['pid']}).")
    for wan in status["wans"]:
        if wan["waiting_for"]:
            yield Finding(level=Level.BAD, text=f"WAN {wan['name']} waits: {wan['waiting_for']}")
    for peer in status["peers"]:
        if not peer["is_connected"]:
            yield Finding(
                level=Level.NOTE if status["mode"] == Mode.SERVER.value else Level.BAD,
                text=f"{peer['name']} is not connected.",
                remedy=_UNANSWERED,
            )
        for path in peer["paths"]:
            is_good = path["state"] == "Up"
            rtt = "" if path["rtt_ms"] is None else f", {path['rtt_ms']:.0f} ms"
            yield Finding(
                level=Level.GOOD if is_good else Level.WARNING,
                text=f"{peer['name']} by {path['wan']}: {path['state']}{rtt}, "
                f"{path['loss_pct']:.1f} % lost.",
            )
            if path["mtu_state"] == "found" and path["mtu"] < _ORDINARY:
                yield Finding(
                    level=Level.NOTE if path["carries_packets"] else Level.WARNING,
                    text=f"{path['wan']} carries packets of {path['mtu']} bytes at most"
                    + ("." if path["carries_packets"] else ", too few to be used beside others."),
                )
    for socket in status["sockets"]:
        if not socket["is_gso"]:
            yield Finding(
                level=Level.NOTE,
                text=f"The socket {socket['local']} sends datagrams one by one: its interface "
                "cannot split runs, or gso is off.",
            )


_UNANSWERED: Final = (
    "Does the server run, do the keys match, does a firewall on the way let UDP through?"
)


def _by_trial(wan: TriedWan) -> Finding:
    if wan.waiting_for is not None:
        return Finding(level=Level.BAD, text=f"WAN {wan.name}: {wan.waiting_for}")
    if not wan.is_answered or wan.rtt is None:
        text = f"WAN {wan.name}: {wan.remote} does not answer."
        return Finding(level=Level.BAD, text=text, remedy=_UNANSWERED)
    text = f"WAN {wan.name}: {wan.remote} answers after {1000 * wan.rtt:.0f} ms."
    if wan.rtt > _SLOW:
        return Finding(level=Level.NOTE, text=f"{text} It will be used for downloads only.")
    return Finding(level=Level.GOOD, text=text)


_CHECKS: Final[tuple[Callable[[Patient], Iterator[Finding]], ...]] = (
    _privileges,
    _features,
    _firewall_program,
    _clock,
    _other_firewalls,
    _overlaps,
    _wans,
    _reachability,
)
