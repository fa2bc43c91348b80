"""One end of what `bench` sends: TCP or MPTCP streams, or a sparse UDP flow.

Run as `python -m multiwanbond.lab.bench_end listen send tcp HOST PORT --seconds N` in one namespace
and `... connect receive tcp HOST PORT` in the other. Prints JSON, one object a line. Both
namespaces share a clock, so the difference of two readings is a one-way delay.
"""

import argparse
import json
import selectors
import socket
import struct
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

Ended = list[tuple[float, str]]
"""When streams ended, by the clock of both ends, and why."""

BIN: Final = 0.05
"""Seconds: the receiver counts bytes in slices this long."""
SPARSE_SIZE: Final = 160
SPARSE_INTERVAL: Final = 0.02
_MPTCP: Final = 262
"""IPPROTO_MPTCP of <linux/in.h>."""
_TOTAL_RETRANS: Final = 100
"""Offset of tcpi_total_retrans in struct tcp_info of <linux/tcp.h>."""
_PATIENCE: Final = 15.0
_LINGER: Final = 1.0
"""A sender goes on so much longer than its receiver counts, so that it is never what ends first."""
_BLOCK: Final = bytes(64 * 1024)
_SPARSE: Final = struct.Struct("!Id")


def _open_all(chosen: argparse.Namespace, opened: ExitStack) -> list[socket.socket]:
    """Return all connections of this end, each with the congestion control asked for.

    What listens stays open: MPTCP resets a further line's subflow that finds no listener.
    """
    protocol = _MPTCP if chosen.protocol == "mptcp" else socket.IPPROTO_TCP
    kind = (socket.AF_INET, socket.SOCK_STREAM, protocol)
    address = (chosen.host, chosen.port)
    if chosen.opening == "connect":
        peers = [opened.enter_context(socket.socket(*kind)) for _ in range(chosen.flows)]
        for peer in peers:
            _choose_congestion(peer, chosen.congestion)
            peer.settimeout(_PATIENCE)
            peer.connect(address)
        return peers
    server = opened.enter_context(socket.socket(*kind))
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _choose_congestion(server, chosen.congestion)
    server.settimeout(_PATIENCE)
    server.bind(address)
    server.listen(chosen.flows)
    say({"is_ready": True})
    return [opened.enter_context(server.accept()[0]) for _ in range(chosen.flows)]


def _choose_congestion(peer: socket.socket, name: str) -> None:
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())


def send(peers: Sequence[socket.socket], seconds: float) -> dict[str, object]:
    """Fill every stream for some time; return how many segments went out again.

    What ended before, most often because the receiver had counted enough, stands in "ended".
    """
    end = time.monotonic() + seconds + _LINGER
    ended: Ended = []
    threads = [threading.Thread(target=_fill, args=(peer, end, ended)) for peer in peers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"resent": sum(_resent(peer) for peer in peers), "ended": ended}


def _fill(peer: socket.socket, end: float, ended: Ended) -> None:
    while (left := end - time.monotonic()) > 0:
        # Not a shorter time: a stream that stands still for a second may go on after it.
        peer.settimeout(left)
        try:
            peer.send(_BLOCK)
        except TimeoutError as exc:
            if exc.errno is not None:  # the kernel's: it gave the connection up
                ended.append((time.monotonic(), str(exc.strerror)))
            return
        except OSError as exc:
            ended.append((time.monotonic(), str(exc.strerror)))
            return


def _resent(peer: socket.socket) -> int:
    size = _TOTAL_RETRANS + 4
    try:
        info = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
    except OSError:
        return 0
    return int.from_bytes(info[_TOTAL_RETRANS:size], sys.byteorder)


def receive(peers: Sequence[socket.socket], seconds: float) -> dict[str, object]:
    """Count what arrives within some seconds, in slices, and the longest time without any.

    Streams that ended before stand in "ended".
    """
    began = last = time.monotonic()
    ended: Ended = []
    bins = [0] * round(seconds / BIN)
    stall = 0.0
    with selectors.DefaultSelector() as selector:
        for peer in peers:
            selector.register(peer, selectors.EVENT_READ)
        while (left := began + seconds - time.monotonic()) > 0 and selector.get_map():
            for key, _ in selector.select(left):
                assert isinstance(key.fileobj, socket.socket)
                data, reason = _read(key.fileobj)
                now = time.monotonic()
                if not data:
                    ended.append((now, reason))
                    selector.unregister(key.fileobj)
                    continue
                bins[min(int((now - began) / BIN), len(bins) - 1)] += len(data)
                stall, last = max(stall, now - last), now
    stall = max(stall, began + seconds - last)
    return {"began": began, "bins": bins, "longest_stall": stall, "ended": ended}


def _read(peer: socket.socket) -> tuple[bytes, str]:
    """Return what waits; if nothing will come any more, nothing and why."""
    try:
        return peer.recv(256 * 1024), "The sender closed"
    except OSError as exc:
        return b"", str(exc.strerror)


def send_sparse(chosen: argparse.Namespace) -> dict[str, object]:
    """Send a small datagram again and again; return when each went out."""
    times: list[float] = []
    begin = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        while (now := time.monotonic()) < begin + chosen.seconds:
            stamp = _SPARSE.pack(len(times), now)
            peer.sendto(stamp.ljust(chosen.size, b"\0"), (chosen.host, chosen.port))
            times.append(now)
            time.sleep(max(0.0, begin + len(times) * chosen.interval - time.monotonic()))
    return {"sent": times}


def receive_sparse(chosen: argparse.Namespace) -> dict[str, object]:
    """Receive until some seconds have passed; return each datagram's number and delay."""
    arrived: list[tuple[int, float]] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind((chosen.host, chosen.port))
        say({"is_ready": True})
        end = time.monotonic() + chosen.seconds + _LINGER
        while (left := end - time.monotonic()) > 0:
            own.settimeout(left)
            try:
                data = own.recv(2048)
            except TimeoutError:
                break
            number, sent = _SPARSE.unpack_from(data)
            arrived.append((number, time.monotonic() - sent))
    return {"arrived": arrived}


def say(document: dict[str, object]) -> None:
    """Print one line of JSON at once."""
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench_end")
    parser.add_argument("opening", choices=["listen", "connect"])
    parser.add_argument("role", choices=["send", "receive"])
    parser.add_argument("protocol", choices=["tcp", "mptcp", "udp"])
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--flows", type=int, default=1)
    parser.add_argument("--congestion", default="cubic")
    parser.add_argument("--size", type=int, default=SPARSE_SIZE)
    parser.add_argument("--interval", type=float, default=SPARSE_INTERVAL)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Be one end; return 0 if nothing went wrong here."""
    chosen = _parse(arguments)
    try:
        if chosen.protocol == "udp":
            do_sparse = send_sparse if chosen.role == "send" else receive_sparse
            say(do_sparse(chosen))
            return 0
        with ExitStack() as opened:
            opening = time.monotonic()
            peers = _open_all(chosen, opened)
            play = send if chosen.role == "send" else receive
            say({"opening": opening, **play(peers, chosen.seconds)})
    except OSError as exc:
        say({"error": f"{type(exc).__name__}: {exc}"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
