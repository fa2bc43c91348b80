"""One end of bulk over UDP that takes reordering for loss, as QUIC does.

Run as `python -m multiwanbond.lab.quic_end listen send HOST PORT --seconds N` in one namespace and
`... connect receive HOST PORT --seconds N` in the other, or with the roles the other way round.
Prints JSON as `bench_end` does. Handshake, loss detection (RFC 9002), acknowledgements and
congestion control are the simulator's, so both scoreboards know the same QUIC. Each flow has a
port of its own, from PORT on.
"""

import argparse
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import pairwise
from typing import Final

from multiwanbond.core.datagram import Address
from multiwanbond.lab.bench_end import BIN, say
from multiwanbond.lab.quic_socket import Nowhere, SocketHost, WallClock, run
from multiwanbond.sim.bbr import Bbr
from multiwanbond.sim.congestion import Controller
from multiwanbond.sim.quic import PacedCubic, QuicTransfer

# The scoreboard has these too, but takes a quarter of a second to import, and until then a bench
# waits for us.
CONTROLLERS: Final[dict[str, Callable[[], Controller]]] = {"cubic": PacedCubic, "bbr": Bbr}
_PATIENCE: Final = 15.0
_LINGER: Final = 1.0
"""A sender goes on so much longer than its receiver counts, so that it is never what ends first."""
_SOMEWHERE: Final = Address("192.0.2.1", 443)
"""Both addresses of every conversation: the kernel's socket puts in the real ones."""


class QuicEnd:
    """The flows of one end."""

    def __init__(self, chosen: argparse.Namespace, opened: ExitStack) -> None:
        self._clock = WallClock()
        self._seconds: float = chosen.seconds
        self._patience: float = chosen.patience
        self._hosts = [
            SocketHost(self._clock, opened.enter_context(_open(chosen, chosen.port + number)))
            for number in range(chosen.flows)
        ]
        self.transfers: Final = [_transfer(chosen, self._clock, host) for host in self._hosts]

    def open(self, *, is_client: bool) -> float:
        """Return when all flows had heard from the far end; a client speaks first.

        Raises:
            TimeoutError: some heard nothing.
        """
        if is_client:
            for transfer in self.transfers:
                transfer.start()
        end = time.monotonic() + self._patience
        run(self._clock, self._hosts, lambda: self._are_heard() or time.monotonic() >= end)
        if not self._are_heard():
            raise TimeoutError("the far end says nothing")
        return max(host.heard_at or 0.0 for host in self._hosts)

    def _are_heard(self) -> bool:
        return all(host.heard_at is not None for host in self._hosts)

    def send(self, began: float) -> dict[str, object]:
        """Fill the streams for some time; return what the senders thought of the way."""
        end = began + self._seconds + _LINGER
        hosts, senders = self._hosts, [transfer.sender for transfer in self.transfers]
        run(
            self._clock,
            hosts,
            lambda: self._clock.now >= end or all(host.is_refused for host in hosts),
        )
        return {
            "resent": sum(sender.resent for sender in senders),
            "spurious": sum(sender.spurious for sender in senders),
            "reductions": sum(sender.reductions for sender in senders),
            "timeouts": sum(sender.timeouts for sender in senders),
            "unsent": sum(host.unsent for host in hosts),
            "ended": [(self._clock.now, "Connection refused") for host in hosts if host.is_refused],
        }

    def receive(self, began: float) -> dict[str, object]:
        """Count what arrives in order within some seconds, and the longest time without any."""
        end = began + self._seconds
        run(self._clock, self._hosts, lambda: self._clock.now >= end)
        bins = [0] * round(self._seconds / BIN)
        for transfer in self.transfers:
            for (_, before), (at, length) in pairwise([(began, 0), *transfer.progress]):
                if at < end:
                    bins[min(int((at - began) / BIN), len(bins) - 1)] += length - before
        times = sorted(at for transfer in self.transfers for at, _ in transfer.progress)
        times = [began, *(at for at in times if began < at < end), end]
        return {
            "began": began,
            "bins": bins,
            "longest_stall": max(later - earlier for earlier, later in pairwise(times)),
            "out_of_order": sum(transfer.receiver.out_of_order for transfer in self.transfers),
        }


def _open(chosen: argparse.Namespace, port: int) -> socket.socket:
    own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        if chosen.opening == "connect":
            own.connect((chosen.host, port))
        else:
            own.bind((chosen.host, port))
    except OSError:
        own.close()
        raise
    return own


def _transfer(chosen: argparse.Namespace, clock: WallClock, host: SocketHost) -> QuicTransfer:
    far = Nowhere(clock)
    is_sender = chosen.role == "send"
    return QuicTransfer(
        host if is_sender else far,
        far if is_sender else host,
        source=_SOMEWHERE,
        destination=_SOMEWHERE,
        is_upload=is_sender == (chosen.opening == "connect"),
        controller=CONTROLLERS[chosen.congestion],
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="quic_end")
    parser.add_argument("opening", choices=["listen", "connect"])
    parser.add_argument("role", choices=["send", "receive"])
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--patience", type=float, default=_PATIENCE)
    parser.add_argument("--flows", type=int, default=1)
    parser.add_argument("--congestion", choices=list(CONTROLLERS), default="cubic")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Be one end; return 0 if nothing went wrong here."""
    chosen = _parse(arguments)
    is_client = chosen.opening == "connect"
    try:
        with ExitStack() as opened:
            end = QuicEnd(chosen, opened)
            if not is_client:
                say({"is_ready": True})
            opening = time.monotonic()
            began = end.open(is_client=is_client)
            play = end.send if chosen.role == "send" else end.receive
            say({"opening": opening, **play(began)})
    except OSError as exc:
        say({"error": f"{type(exc).__name__}: {exc}"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
