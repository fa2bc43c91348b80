"""One end of a TCP transfer that can tell afterwards whether every byte arrived.

Run as `python -m multiwanbond.lab.transfer listen send HOST PORT --bytes N` in one namespace and
`... connect receive HOST PORT` in the other; `traffic` starts both. Prints one JSON object a line:
progress, and at last the outcome.
"""

import argparse
import hashlib
import json
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from random import Random
from typing import Final

_BLOCK: Final = 64 * 1024
_PROGRESS_INTERVAL: Final = 0.02
"""Seconds; a rate over a quarter of a second is then wrong by a twelfth at most."""
_PATIENCE: Final = 60.0
"""Seconds without a byte after which an end gives up: far beyond any excusable stall."""


class Meter:
    """Counts and hashes what passes, and notes the longest pause."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._began = self._last = self._said = time.monotonic()
        self._first: float | None = None
        self._longest_stall = 0.0
        self.bytes = 0

    def count(self, data: bytes) -> None:
        """Add `data`; say how far it got if that was long ago."""
        now = time.monotonic()
        self._hash.update(data)
        self.bytes += len(data)
        if self._first is None:
            self._first = now
        else:
            self._longest_stall = max(self._longest_stall, now - self._last)
        self._last = now
        if now - self._said >= _PROGRESS_INTERVAL:
            self._said = now
            _say({"bytes": self.bytes})

    def outcome(self, error: str | None) -> dict[str, object]:
        """Return the last line: everything known about the transfer."""
        first = self._began if self._first is None else self._first
        return {
            "is_done": True,
            "error": error,
            "bytes": self.bytes,
            "sha256": self._hash.hexdigest(),
            "seconds": round(self._last - first, 3),
            "longest_stall": round(self._longest_stall, 3),
        }


def blocks(total: int | None, seconds: float | None) -> Iterator[bytes]:
    """Yield incompressible blocks, no two alike, for `total` bytes or for some `seconds`."""
    filler = Random(1).randbytes(_BLOCK - 8)
    end = None if seconds is None else time.monotonic() + seconds
    index = 0
    while (total is None or index * _BLOCK < total) and (end is None or time.monotonic() < end):
        block = index.to_bytes(8, "big") + filler
        yield block if total is None else block[: total - index * _BLOCK]
        index += 1


def send(peer: socket.socket, meter: Meter, data: Iterator[bytes]) -> None:
    """Send `data` and return when the peer has all of it."""
    for block in data:
        peer.sendall(block)
        meter.count(block)
    peer.shutdown(socket.SHUT_WR)
    # The peer closes when it has read everything: an empty answer, and not a reset, is success.
    peer.recv(1)


def receive(peer: socket.socket, meter: Meter) -> None:
    """Receive until the peer has sent all."""
    while data := peer.recv(256 * 1024):
        meter.count(data)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as server:
        server.settimeout(_PATIENCE)
        _say({"is_listening": True})
        peer, _ = server.accept()
    return peer


def _say(document: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="transfer")
    parser.add_argument("opening", choices=["listen", "connect"])
    parser.add_argument("role", choices=["send", "receive"])
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--bytes", type=int)
    parser.add_argument("--seconds", type=float)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Be one end; return 0 if nothing went wrong here."""
    chosen = _parse(arguments)
    meter = Meter()
    error = None
    try:
        if chosen.opening == "listen":
            peer = _listen(chosen.host, chosen.port)
        else:
            peer = socket.create_connection((chosen.host, chosen.port), timeout=_PATIENCE)
        with peer:
            peer.settimeout(_PATIENCE)
            if chosen.role == "send":
                send(peer, meter, blocks(chosen.bytes, chosen.seconds))
            else:
                receive(peer, meter)
    except OSError as exc:
        error = f"{type(exc).__name__}: {exc}"
    _say(meter.outcome(error))
    return 0 if error is None else 1


if __name__ == "__main__":
    sys.exit(main())
