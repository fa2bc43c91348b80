"""One end of the datagrams with which `bench --dataplane` loads a tunnel.

Run as `python -m multiwanbond.lab.load_end receive HOST PORT --size N` in one namespace and
`... send HOST PORT --size N --rate N --seconds N` in the other. Prints JSON, one object a line.
"""

import argparse
import socket
import sys
import time
from collections.abc import Sequence
from typing import Final

from multiwanbond.lab.bench_end import say

# From <linux/udp.h> and <asm-generic/socket.h>; not all in `socket`.
_SOL_UDP: Final = 17
_UDP_SEGMENT: Final = 103
_UDP_GRO: Final = 104
_SO_SNDBUFFORCE: Final = 32
_SO_RCVBUFFORCE: Final = 33

_BUFFER: Final = 32 << 20
_MOST_SEGMENTS: Final = 64
_MOST_BYTES: Final = 60_000
_PAUSE: Final = 0.0005
"""Seconds between two looks at the clock; what is due meanwhile leaves at once."""
_FIRST: Final = 15.0
"""Seconds the receiver waits for the first datagram."""
_SILENCE: Final = 1.5
"""Seconds without any after which there are no more."""


def send(chosen: argparse.Namespace) -> dict[str, object]:
    """Send datagrams at a steady rate, in runs if wanted; return how many."""
    count = min(_MOST_SEGMENTS, _MOST_BYTES // chosen.size) if chosen.in_runs else 1
    data, sent = bytes(count * chosen.size), 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _BUFFER)
        own.connect((chosen.host, chosen.port))
        if count > 1:
            own.setsockopt(_SOL_UDP, _UDP_SEGMENT, chosen.size)
        begin = time.monotonic()
        while (passed := time.monotonic() - begin) < chosen.seconds:
            due = int(passed * chosen.rate)
            while sent < due:
                own.send(data)
                sent += count
            time.sleep(_PAUSE)
    return {"sent": sent}


def receive(chosen: argparse.Namespace) -> dict[str, object]:
    """Count datagrams until none has come for a while; return that and from first to last."""
    arrived, first, last = 0, 0.0, 0.0
    buffer = bytearray(65_536)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        own.setsockopt(_SOL_UDP, _UDP_GRO, 1)
        own.bind((chosen.host, chosen.port))
        say({"is_ready": True})
        own.settimeout(_FIRST)
        try:
            while True:
                length = own.recv_into(buffer)
                last = time.monotonic()
                if not arrived:
                    first = last
                    own.settimeout(_SILENCE)
                arrived += -(-length // chosen.size)
        except TimeoutError:
            pass
    return {"arrived": arrived, "seconds": last - first}


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="load_end")
    parser.add_argument("role", choices=["send", "receive"])
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--in-runs", action="store_true")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Be one end; return 0 if nothing went wrong here."""
    chosen = _parse(arguments)
    try:
        say(send(chosen) if chosen.role == "send" else receive(chosen))
    except OSError as exc:
        say({"error": f"{type(exc).__name__}: {exc}"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
