"""One end of the short downloads that `bench --fetches` times, and pings beside them.

Run as `python -m multiwanbond.lab.fetch_end serve PORT` in one namespace, and in the other as
`... groups HOST PORT`, `... stream HOST PORT` or `... ping HOST`. What goes wrong is said on
standard error. A request is the size wanted, in eight bytes; the answer is as many zeros, without
end if the size is 0.
"""

import argparse
import errno
import os
import selectors
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from multiwanbond.lab.bench_end import say

ENDLESS: Final = 0
"""The size to ask for where a download is to go on until the client has enough."""
_REQUEST: Final = struct.Struct("!Q")
_BACKLOG: Final = 128
_BLOCK: Final = bytes(64 * 1024)
_READ_AT_ONCE: Final = 256 * 1024
_ICMP: Final = struct.Struct("!BBHHH")
"""Type, code, checksum, identifier, sequence number (RFC 792)."""
_ECHO_REPLY: Final = 0
_ECHO: Final = 8
_PING_SIZE: Final = 56
"""Bytes after the ICMP header, as ping(8) sends them."""


# --- the end that serves -------------------------------------------------------------------------


def serve(port: int, congestion: str) -> None:
    """Answer every request at any address of ours, for ever."""
    with listen(port, congestion) as server:
        say({"is_ready": True})
        while True:
            peer, _ = server.accept()
            threading.Thread(target=answer, args=(peer,), daemon=True).start()


def listen(port: int, congestion: str) -> socket.socket:
    """Return a socket all of whose connections have this congestion control: they inherit it."""
    server = socket.socket()
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion.encode())
        server.bind(("0.0.0.0", port))
        server.listen(_BACKLOG)
    except OSError:
        server.close()
        raise
    return server


def answer(peer: socket.socket) -> None:
    """Send what one client asks for, and close."""
    # A client that has enough, or gives up, closes: that is for it to judge.
    with peer, suppress(OSError):
        request = peer.recv(_REQUEST.size, socket.MSG_WAITALL)
        if len(request) < _REQUEST.size:
            return
        (size,) = _REQUEST.unpack(request)
        while size == ENDLESS:
            peer.sendall(_BLOCK)
        peer.sendall(bytes(size))


# --- the end that asks ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A download that is to begin."""

    at: float
    """Seconds from now."""
    size: int
    """Bytes; `ENDLESS`: goes on until all others have ended."""


class Fetch:
    """A download that has begun, on a connection of its own."""

    def __init__(self, host: str, port: int, size: int) -> None:
        """Send the SYN; `on_ready` whenever the socket can do what it waits for."""
        self.size = size
        self.received = 0
        self.seconds: float | None = None
        """From the SYN to the last byte; None until that has arrived."""
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.waits_for = selectors.EVENT_WRITE
        self.began = time.monotonic()
        _demand(self.socket.connect_ex((host, port)))

    def on_ready(self) -> None:
        """Send the request once connected, then take what has arrived.

        Raises:
            OSError: refused, broken off, or answered with something else.
        """
        if self.waits_for == selectors.EVENT_WRITE:
            _demand(self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            self.socket.send(_REQUEST.pack(self.size))
            self.waits_for = selectors.EVENT_READ
            return
        length = len(self.socket.recv(_READ_AT_ONCE))
        now = time.monotonic()
        self.received += length
        if self.size == ENDLESS and length:
            return
        if not length or self.received > self.size:
            raise OSError(errno.EPROTO, f"{self.received} bytes came where {self.size} were asked")
        if self.received == self.size:
            self.seconds = now - self.began


def _demand(code: int) -> None:
    if code not in (0, errno.EINPROGRESS):
        raise OSError(code, os.strerror(code))


def fetch(host: str, port: int, asked: Sequence[Asked], patience: float) -> list[Fetch]:
    """Begin each download at its time, whatever the others do; return all when all have ended.

    Args:
        patience: seconds after which a download is given up; its `seconds` stay None.
    """
    due = deque(sorted(asked, key=lambda one: one.at))
    begun: list[Fetch] = []
    beginning = time.monotonic()
    with selectors.DefaultSelector() as selector:
        try:
            while due or any(map(_is_finite, _running(selector))):
                now = time.monotonic()
                while due and beginning + due[0].at <= now:
                    begun.append(Fetch(host, port, due.popleft().size))
                    selector.register(begun[-1].socket, begun[-1].waits_for, begun[-1])
                ends = [one.began + patience for one in _running(selector) if _is_finite(one)]
                ends += [beginning + one.at for one in due]
                _serve_once(selector, max(0.0, min(ends, default=now) - now))
                _give_up(selector, time.monotonic() - patience)
        finally:
            for one in begun:
                one.socket.close()
    return begun


def _running(selector: selectors.BaseSelector) -> list[Fetch]:
    return [key.data for key in selector.get_map().values()]


def _is_finite(one: Fetch) -> bool:
    return one.size != ENDLESS


def _serve_once(selector: selectors.BaseSelector, timeout: float) -> None:
    for key, _ in selector.select(timeout):
        one: Fetch = key.data
        one.on_ready()
        if one.seconds is not None:
            selector.unregister(one.socket)
            one.socket.close()
        elif one.waits_for != key.events:
            selector.modify(one.socket, one.waits_for, one)


def _give_up(selector: selectors.BaseSelector, began_before: float) -> None:
    for one in _running(selector):
        if _is_finite(one) and one.began <= began_before:
            selector.unregister(one.socket)
            one.socket.close()


def ask_in_groups(chosen: argparse.Namespace) -> dict[str, object]:
    """Fetch so many at once, again and again; return the times of each group."""
    groups = []
    for _ in range(chosen.repeats):
        asked = [Asked(at=0.0, size=chosen.size)] * chosen.fetches
        groups.append(fetch(chosen.host, chosen.port, asked, chosen.patience))
        time.sleep(chosen.pause)
    return {
        "times": [[one.seconds for one in group] for group in groups],
        "received": sum(one.received for group in groups for one in group),
    }


def ask_in_a_stream(chosen: argparse.Namespace) -> dict[str, object]:
    """Begin a fetch at every interval, beside a bulk download if it has a head start."""
    lead: float = chosen.bulk_head_start or 0.0
    asked = [
        Asked(at=lead + number * chosen.interval, size=chosen.size)
        for number in range(chosen.fetches)
    ]
    if lead:
        asked.append(Asked(at=0.0, size=ENDLESS))
    begun = fetch(chosen.host, chosen.port, asked, chosen.patience)
    finite = [one for one in begun if _is_finite(one)]
    return {
        "times": [[one.seconds for one in finite]],
        "received": sum(one.received for one in finite),
        "bulk": sum(one.received for one in begun if not _is_finite(one)),
    }


# --- pings ---------------------------------------------------------------------------------------


def ping(chosen: argparse.Namespace) -> dict[str, object]:
    """Send an echo at every interval, none while one is on the way; return the round trips."""
    times = []
    identifier = os.getpid() & 0xFFFF
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as own:
        own.connect((chosen.host, 0))
        for number in range(chosen.count):
            began = time.monotonic()
            own.send(_echo(_ECHO, identifier, number))
            times.append(_wait_reply(own, (identifier, number), began, chosen.patience))
            time.sleep(max(0.0, began + chosen.interval - time.monotonic()))
    return {"times": [times]}


def _wait_reply(
    own: socket.socket, expected: tuple[int, int], began: float, patience: float
) -> float | None:
    while (left := began + patience - time.monotonic()) > 0:
        own.settimeout(left)
        try:
            packet = own.recv(2048)
        except TimeoutError:
            break
        now = time.monotonic()
        header = 4 * (packet[0] & 0x0F)
        kind, _, _, *ours = _ICMP.unpack_from(packet, header)
        if kind == _ECHO_REPLY and tuple(ours) == expected:
            return now - began
    return None


def _echo(kind: int, identifier: int, number: int) -> bytes:
    """Return an ICMP echo with its checksum (RFC 792); the payload is zeros and adds nothing."""
    words = (kind << 8) + identifier + number
    checksum = ~((words & 0xFFFF) + (words >> 16)) & 0xFFFF
    return _ICMP.pack(kind, 0, checksum, identifier, number) + bytes(_PING_SIZE)


# --- the process ---------------------------------------------------------------------------------


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fetch_end")
    roles = parser.add_subparsers(dest="role", required=True)
    serving = roles.add_parser("serve")
    serving.add_argument("port", type=int)
    serving.add_argument("--congestion", required=True)
    groups, stream, pings = (roles.add_parser(name) for name in ("groups", "stream", "ping"))
    for asking in (groups, stream, pings):
        asking.add_argument("host")
        asking.add_argument("--patience", type=float, required=True)
    for asking in (groups, stream):
        asking.add_argument("port", type=int)
        asking.add_argument("--size", type=int, required=True)
        asking.add_argument("--fetches", type=int, required=True)
    groups.add_argument("--repeats", type=int, required=True)
    groups.add_argument("--pause", type=float, required=True)
    stream.add_argument("--interval", type=float, required=True)
    stream.add_argument("--bulk-head-start", type=float)
    pings.add_argument("--count", type=int, required=True)
    pings.add_argument("--interval", type=float, required=True)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Be one end; return 0 if nothing went wrong here."""
    chosen = _parse(arguments)
    try:
        if chosen.role == "serve":
            serve(chosen.port, chosen.congestion)
        roles = {"groups": ask_in_groups, "stream": ask_in_a_stream, "ping": ping}
        say(roles[chosen.role](chosen))
    except OSError as exc:
        sys.stderr.write(f"{type(exc).__name__}: {exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
