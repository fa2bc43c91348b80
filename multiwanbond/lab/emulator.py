"""Emulated WANs: the simulator's link model between pairs of TUN devices, in one process.

    client namespace                     this process                     server namespace
    [ TUN wan1 ] --read--> push  Link "to_server"  pop_due --write--> [ TUN wan1 ]
    [ TUN wan1 ] <--write-- pop_due  Link "to_client"  push <--read-- [ TUN wan1 ]

Run as `python -m multiwanbond.lab.emulator` with pipes; `emulator_process` holds the other end.
One JSON object a line: first the plan, then commands, and one line in answer to each. It ends with
its input, so it never outlives whoever commands it.

How far to trust it (measured on one core of a 2-core EPYC virtual machine, Linux 6.18, both cores
busy with the traffic, UDP packets of 1400 bytes sent each half millisecond's worth at once, against
a C emulator of the same build):

    packets/s   line                  delay too long by, in ms       lost   CPU    C: p50, p99, CPU
                                      p50    p99    p99.9
          500   unlimited, 20 ms      0.10   0.28   0.37             0      4 %    0.08  0.32   3 %
       25 000   unlimited, 20 ms      0.14   0.38   1.4              0     22 %    0.09  0.23  14 %
       50 000   unlimited, 20 ms      0.18   0.49   0.8              0     34 %    0.18  0.41  27 %
        7 000   100 Mbit/s, 5 ms      0.3    0.7    2.0              0     20 %    0.3   0.6   20 %
       24 000   300 Mbit/s, 5 ms      0.4    0.9    1.5              0     30 %    0.3   1.5   74 %
       40 000   300 Mbit/s, overfull  rate 299.9 Mbit/s (C: 297.0, as its TAP counts 14 bytes more)

So all lines of a lab together may carry 40 000 packets a second while a core is free for it; beyond
that, or where half a millisecond matters, join the namespaces by veth pairs.
"""

import ctypes
import errno
import json
import os
import select
import sys
import time
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

import pytun

from multiwanbond.lab.link_plan import DIRECTIONS, settings_from, statistics_to
from multiwanbond.lab.namespaces import inside
from multiwanbond.sim.links import Link

# From <linux/prctl.h>.
_PR_SET_TIMERSLACK: Final = 29

# Chosen by us.
_BATCH: Final = 64
"""Packets read from one device before the others get their turn: half a millisecond's work."""
_LARGEST_PACKET: Final = 65_536
_TIMER_SLACK_NS: Final = 1_000
"""With the default of 50 us a sleep of 1 ms ended 115 us late, with this one 37 us (medians)."""
_SHORTEST_WAIT: Final = 150e-6
"""Packets that arrive within it are handed out together, as a network card would."""
_LONGEST_WAIT: Final = 60.0

Document = dict[str, Any]
"""A JSON object."""


class Direction:
    """One direction of a WAN: where packets come from, the link they cross, where they go."""

    __slots__ = ("_sink", "link", "source", "undeliverable")

    def __init__(self, source: int, sink: int, link: Link[bytes]) -> None:
        self.source = source
        self.link = link
        self._sink = sink
        self.undeliverable = 0
        """Packets whose device would not take them, because it is down."""

    def take_in(self, now: float) -> None:
        """Read what waits, at most a batch, and push it into the link."""
        read, source, push = os.read, self.source, self.link.push
        for _ in range(_BATCH):
            try:
                packet = read(source, _LARGEST_PACKET)
            except BlockingIOError:
                return
            push(packet, len(packet), now)

    def hand_out(self, now: float) -> None:
        """Write what has arrived by `now`."""
        write, sink = os.write, self._sink
        for packet in self.link.pop_due(now):
            try:
                write(sink, packet)
            except OSError as exc:
                # EIO: the device is down. EINVAL: not an IP packet, which a raw socket can send.
                if exc.errno not in (errno.EIO, errno.EINVAL):
                    raise
                self.undeliverable += 1


class Emulator:
    """All WANs of a lab, driven by one loop."""

    def __init__(self) -> None:
        self._directions: dict[tuple[str, str], Direction] = {}
        self._devices: list[pytun.TunTapDevice] = []
        self._clock = time.monotonic

    def add_wan(self, plan: Document) -> None:
        """Create the WAN's two TUN devices and join them."""
        ends = {
            "to_server": _open_tun(plan["client"], plan["name"]),
            "to_client": _open_tun(plan["server"], plan["name"]),
        }
        self._devices += ends.values()
        rng = Random(plan["seed"])
        for direction, opposite in zip(DIRECTIONS, reversed(DIRECTIONS), strict=True):
            link: Link[bytes] = Link(settings_from(plan[direction]), Random(rng.random()))
            self._directions[plan["name"], direction] = Direction(
                ends[direction].fileno(), ends[opposite].fileno(), link
            )

    def reconfigure(self, command: Document) -> None:
        """Give one direction of a WAN other settings, for what waits in its queue too."""
        direction = self._directions[command["wan"], command["direction"]]
        direction.link.reconfigure(settings_from(command["settings"]), self._clock())

    def statistics(self) -> dict[str, Document]:
        """Return the counters, by WAN and direction."""
        counted: dict[str, Document] = {}
        for (wan, name), direction in self._directions.items():
            document = statistics_to(direction.link.statistics)
            document["undeliverable"] = direction.undeliverable
            counted.setdefault(wan, {})[name] = document
        return counted

    def run(self, commands: int, on_commands: Callable[[], bool]) -> None:
        """Move packets until `on_commands`, called when `commands` is readable, returns False."""
        directions = list(self._directions.values())
        by_source = {direction.source: direction for direction in directions}
        watched = [commands, *by_source]
        clock = self._clock
        while True:
            # select, since its timeout counts microseconds; epoll's counts milliseconds. With a
            # dozen descriptors it costs 1 us more.
            readable, _, _ = select.select(watched, (), (), _wait(directions, clock()))
            now = clock()
            for source in readable:
                if source != commands:
                    by_source[source].take_in(now)
                elif not on_commands():
                    return
            for direction in directions:
                direction.hand_out(now)


def _wait(directions: list[Direction], now: float) -> float:
    """Return how long until a packet arrives somewhere."""
    dues = [due for direction in directions if (due := direction.link.next_due()) is not None]
    return min(max(_SHORTEST_WAIT, min(dues) - now), _LONGEST_WAIT) if dues else _LONGEST_WAIT


def _open_tun(namespace: str, name: str) -> pytun.TunTapDevice:
    """Create the TUN device `name` in `namespace`; it exists as long as the returned object.

    Plain packets, no virtio header: each is judged by the link alone, as on a real line.
    """
    with inside(namespace):
        device = pytun.TunTapDevice(name=name, flags=pytun.IFF_TUN | pytun.IFF_NO_PI)
    os.set_blocking(device.fileno(), False)
    return device


class Console:
    """The lines that come in and the answers that go out."""

    def __init__(self, emulator: Emulator, source: int, sink: int) -> None:
        self._emulator = emulator
        self._source = source
        self._sink = sink
        self._rest = b""

    def read_lines(self) -> list[bytes] | None:
        """Return the complete lines that have come; None at the end of the input."""
        data = os.read(self._source, 65_536)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines

    def on_readable(self) -> bool:
        """Obey what has come; return False when it is time to end."""
        lines = self.read_lines()
        if lines is None:
            return False
        for line in lines:
            self._answer(self._obey(json.loads(line)))
        return True

    def begin(self) -> bool:
        """Wait for the plan and build it; return False if the input ended before it came."""
        while (lines := self.read_lines()) is not None:
            if lines:
                for wan in json.loads(lines[0])["wans"]:
                    self._emulator.add_wan(wan)
                self._answer({"ready": True})
                return True
        return False

    def _obey(self, command: Document) -> Mapping[str, Any]:
        match command["do"]:
            case "set":
                self._emulator.reconfigure(command)
                return {}
            case "statistics":
                return self._emulator.statistics()
            case unknown:
                return {"error": f"unknown command {unknown!r}"}

    def _answer(self, document: Mapping[str, Any]) -> None:
        os.write(self._sink, json.dumps(document).encode() + b"\n")


def main() -> None:
    """Emulate what standard input asks for until it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, _TIMER_SLACK_NS, 0, 0, 0)
    emulator = Emulator()
    console = Console(emulator, sys.stdin.fileno(), sys.stdout.fileno())
    if console.begin():
        emulator.run(sys.stdin.fileno(), console.on_readable)


if __name__ == "__main__":
    main()
