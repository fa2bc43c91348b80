"""The standard lab: a client with several WANs and a server reachable over each of them.

    client namespace                                             server namespace
    wan1 10.91.1.2  fd91:0:0:1::2 ---(line 1)--- 10.91.1.1  fd91:0:0:1::1 wan1
    wan2 10.91.2.2  fd91:0:0:2::2 ---(line 2)--- 10.91.2.1  fd91:0:0:2::1 wan2   lo: 198.51.100.1
    ...                                                                              2001:db8::1

The client has a default route over each WAN, metric 100 for the first, 200 for the second, ...
The server answers each WAN's subnet over that WAN. A line is emulated (`WanSpec` with settings) or
a plain veth pair, which carries what the CPU can.
"""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from multiwanbond.errors import PlatformError
from multiwanbond.lab.emulator_process import EmulatorProcess, WanPlan
from multiwanbond.lab.link_plan import DIRECTIONS
from multiwanbond.lab.namespaces import Namespace, Run
from multiwanbond.sim.links import LinkSettings, RateTrace

# Chosen by us, from the ranges for private use (RFC 1918, RFC 4193) and documentation (RFC 5737,
# RFC 3849), so that a leak would be noticed and harm nobody.
SERVER_IPV4: Final = "198.51.100.1"
SERVER_IPV6: Final = "2001:db8::1"
_DEVICE_QUEUE: Final = 5000
"""Packets. The kernel's 500 would drop bursts before the link model can judge them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WanSpec:
    """What one WAN is like."""

    to_server: LinkSettings | None = None
    """None in both directions: a veth pair, no emulation."""
    to_client: LinkSettings | None = None
    name: str = ""
    """What people call it; empty: like its interface."""
    device_mtu: int = 1500
    """What the interfaces admit to; the links may swallow packets smaller than that."""

    def __post_init__(self) -> None:
        assert (self.to_server is None) == (self.to_client is None)


def line(
    mbit: float,
    rtt: float,
    *,
    name: str = "",
    queue_time: float = 0.05,
    loss: float = 0.0,
    jitter: float = 0.0,
) -> WanSpec:
    """Return a WAN that is the same in both directions.

    Args:
        mbit: rate in Mbit/s, IP headers included.
        rtt: seconds there and back on the empty line.
        name: what people call it.
        queue_time: seconds that a full queue delays.
        loss: share of packets lost at random, each direction.
        jitter: most of the extra delay in seconds, each direction.
    """
    rate = mbit * 1e6 / 8
    settings = LinkSettings(
        rate=rate,
        delay=rtt / 2,
        queue=max(int(rate * queue_time), 30_000),
        loss=loss,
        jitter=jitter,
    )
    return WanSpec(to_server=settings, to_client=settings, name=name)


def three_unequal_lines() -> tuple[WanSpec, ...]:
    """Return the lines of the demo and the standard tests: 100/50/10 Mbit/s, 10/40/25 ms."""
    return (
        line(100, 0.010, name="Fibre"),
        line(50, 0.040, name="LTE"),
        line(10, 0.025, name="DSL"),
    )


class Wan:
    """One WAN of a standing lab."""

    def __init__(self, number: int, spec: WanSpec) -> None:
        self.number = number
        """1 for the first; also its last-but-one address digit."""
        self.device = f"wan{number}"
        """The interface's name, the same in both namespaces."""
        self.name = spec.name or self.device
        self.spec = spec
        self.client_ipv4 = f"10.91.{number}.2"
        self.client_ipv6 = f"fd91:0:0:{number}::2"
        self.gateway_ipv4 = f"10.91.{number}.1"
        self.gateway_ipv6 = f"fd91:0:0:{number}::1"
        self.metric = 100 * number

    @property
    def is_emulated(self) -> bool:
        """Tell whether the WAN has links that can be changed."""
        return self.spec.to_server is not None

    def client_steps(self) -> list[str]:
        """Return what `ip` has to do at the client."""
        return [
            *self._steps(self.client_ipv4, self.client_ipv6),
            f"route add default via {self.gateway_ipv4} dev {self.device} metric {self.metric}",
            f"route add ::/0 via {self.gateway_ipv6} dev {self.device} metric {self.metric}",
        ]

    def server_steps(self) -> list[str]:
        """Return what `ip` has to do at the server."""
        return self._steps(self.gateway_ipv4, self.gateway_ipv6)

    def _steps(self, ipv4: str, ipv6: str) -> list[str]:
        # No link-local address: its router solicitations would be traffic nobody asked for.
        # No duplicate address detection: it keeps an address unusable for the first second.
        return [
            f"link set {self.device} addrgenmode none mtu {self.spec.device_mtu}"
            f" txqueuelen {_DEVICE_QUEUE}",
            f"link set {self.device} up",
            f"addr add {ipv4}/24 dev {self.device}",
            f"addr add {ipv6}/64 dev {self.device} nodad",
        ]


class Topology:
    """A client, a server and the WANs between them; leaving its `with` block removes everything."""

    client: Namespace
    server: Namespace

    def __init__(self, specs: Sequence[WanSpec], *, purpose: str = "lab", seed: int = 1) -> None:
        """Build the lab; on failure nothing of it stays.

        Args:
            specs: one per WAN, at most 250.
            purpose: lower-case letters; part of the namespaces' names.
            seed: of all losses and jitter.

        Raises:
            PlatformError: the kernel refused a step.
        """
        self.wans = tuple(Wan(number, spec) for number, spec in enumerate(specs, 1))
        self.run = Run(purpose)
        self._emulator: EmulatorProcess | None = None
        self._links: dict[tuple[int, str], LinkSettings] = {}
        try:
            self._build(seed)
        except BaseException:
            self.run.undo.run()
            raise

    def _build(self, seed: int) -> None:
        self.client = self.run.namespace("client")
        self.server = self.run.namespace("server")
        self._lay_lines(seed)
        self.server.configure(
            [
                *(step for wan in self.wans for step in wan.server_steps()),
                f"addr add {SERVER_IPV4}/32 dev lo",
                f"addr add {SERVER_IPV6}/128 dev lo nodad",
            ]
        )
        self.client.configure(step for wan in self.wans for step in wan.client_steps())

    def _lay_lines(self, seed: int) -> None:
        plans = []
        for wan in self.wans:
            spec = wan.spec
            if spec.to_server is None or spec.to_client is None:
                peer = f"peer name {wan.device} netns {self.server.name}"
                self.client.configure([f"link add {wan.device} type veth {peer}"])
                continue
            for direction, settings in zip(
                DIRECTIONS, (spec.to_server, spec.to_client), strict=True
            ):
                self._links[wan.number, direction] = settings
            plans.append(
                WanPlan(
                    name=wan.device,
                    client=self.client,
                    server=self.server,
                    to_server=spec.to_server,
                    to_client=spec.to_client,
                    seed=seed * 1000 + wan.number,
                )
            )
        if plans:
            self._emulator = EmulatorProcess(plans)
            self.run.undo.push("WAN emulator", self._emulator.close)

    @property
    def emulator(self) -> EmulatorProcess:
        """The process behind the emulated WANs."""
        assert self._emulator is not None, "all WANs of this lab are veth pairs"
        return self._emulator

    def wan(self, number: int) -> Wan:
        """Return the WAN with this number, counted from 1."""
        return self.wans[number - 1]

    def change(self, number: int, direction: str | None = None, **changes: Any) -> None:
        """Change fields of a WAN's `LinkSettings` at once; `direction` None means both."""
        for one in DIRECTIONS if direction is None else (direction,):
            settings = dataclasses.replace(self._links[number, one], **changes)
            self.emulator.reconfigure(self.wan(number).device, one, settings)
            self._links[number, one] = settings

    def black_out(self, number: int) -> None:
        """Make a WAN swallow everything, both ways, without telling anybody."""
        self.change(number, is_black=True)

    def restore(self, number: int) -> None:
        """End a WAN's black-out or freeze."""
        self.change(number, is_black=False, is_frozen=False)

    def freeze(self, number: int) -> None:
        """Make a WAN hold all packets until it is restored."""
        self.change(number, is_frozen=True)

    def begin_traces(self) -> float:
        """Let every changing rate begin with its first entry; return when, by `time.monotonic`."""
        now = time.monotonic()
        for (number, direction), settings in list(self._links.items()):
            if isinstance(settings.rate, RateTrace):
                self.change(number, direction, rate=dataclasses.replace(settings.rate, start=now))
        return now

    def statistics(self) -> dict[str, Any]:
        """Return the links' counters: `["wan1"]["to_server"]["delivered"]`, ..."""
        return self.emulator.statistics()

    def close(self) -> None:
        """Remove the lab.

        Raises:
            PlatformError: something could not be removed.
        """
        failures = self.run.undo.run()
        if failures:
            raise PlatformError(
                "The lab could not be removed completely: " + "; ".join(failures) + ".",
                "'ip netns' lists what is left; the next lab removes it once this process is gone.",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except PlatformError as exc:
            if error is None:
                raise
            error.add_note(str(exc))
