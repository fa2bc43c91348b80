"""Where inner applications live: a host behind a tunnel, or two hosts on a plain line."""

from collections.abc import Callable, Iterable
from typing import Final, Protocol

from multiwanbond.core.burst import Burst
from multiwanbond.core.ip import split_run

from .links import LinkSettings
from .packets import check_burst, destination_of
from .wires import Wire
from .world import World

InnerHandler = Callable[[Burst], None]
"""Takes a packet or run that was delivered to one of a host's inner ports."""


class InnerHost(Protocol):
    """What an application needs of the host it runs on."""

    @property
    def world(self) -> World:
        """The world it lives in."""

    def bind(self, protocol: int, port: int, handler: InnerHandler) -> None:
        """Give what is delivered for a port to `handler`."""

    def send_bursts(self, bursts: Iterable[Burst]) -> None:
        """Write packets to the network."""


class PlainHost:
    """One end of a plain line: no tunnel, runs are split as a network card splits them."""

    def __init__(self, world: World) -> None:
        self.world: Final = world
        self.wire: Wire[Burst] | None = None
        """Where it sends."""
        self._handlers: dict[tuple[int, int], InnerHandler] = {}

    def bind(self, protocol: int, port: int, handler: InnerHandler) -> None:
        """Give what is delivered for a port to `handler`."""
        self._handlers[protocol, port] = handler

    def send_bursts(self, bursts: Iterable[Burst]) -> None:
        """Write packets to the line."""
        assert self.wire is not None
        for burst in bursts:
            for packet in split_run(burst):
                self.wire.send(packet, len(packet.packet))

    def deliver(self, burst: Burst) -> None:
        """Take a packet from the line."""
        check_burst(burst)
        protocol, _, port = destination_of(burst.packet)
        self._handlers[protocol, port](burst)


def plain_line(
    world: World, down: LinkSettings, up: LinkSettings, name: str = "plain"
) -> tuple[PlainHost, PlainHost]:
    """Return a far and a near host joined by one line, for comparison with a bond."""
    far, near = PlainHost(world), PlainHost(world)
    far.wire = Wire(world, down, world.rng(f"{name} down"), near.deliver)
    near.wire = Wire(world, up, world.rng(f"{name} up"), far.deliver)
    return far, near
