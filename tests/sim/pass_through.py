"""The simplest engine that fulfils the core's contract: one packet, one datagram, in the clear."""

from collections.abc import Sequence

from multiwanbond.core.burst import Burst
from multiwanbond.core.datagram import Address, LinkChange, LinkUp, Received, Transmit
from multiwanbond.core.events import Event
from multiwanbond.core.ip import split_run


class PassThrough:
    """Sends inner packets over its WANs in turn, and delivers datagrams as they come.

    One that is given no link answers to where it last heard from, as a server does.
    """

    def __init__(self) -> None:
        self.remotes: dict[int, Address] = {}
        self.received = 0
        self.timeouts: list[float] = []
        self.deadline: float | None = None
        self._transmits: list[Transmit] = []
        self._bursts: list[Burst] = []
        self._turn = 0

    def handle_bursts(self, bursts: Sequence[Burst], now: float) -> None:
        for burst in bursts:
            for packet in split_run(burst):
                self._send(packet)

    def _send(self, packet: Burst) -> None:
        if not self.remotes:
            return
        wan_id = sorted(self.remotes)[self._turn % len(self.remotes)]
        self._turn += 1
        flag = b"\1" if packet.is_checksum_partial else b"\0"
        data = flag + bytes(packet.packet)
        self._transmits.append(Transmit(data, self.remotes[wan_id], wan_id=wan_id))

    def handle_datagrams(self, wan_id: int, received: Sequence[Received], now: float) -> None:
        for read in received:
            if wan_id == 0:
                self.remotes[0] = read.source
            size = read.segment_size or len(read.data)
            for start in range(0, len(read.data), size):
                data = bytes(read.data[start : start + size])
                self.received += 1
                self._bursts.append(Burst(data[1:], is_checksum_partial=data[0] == 1))

    def handle_link_change(self, wan_id: int, change: LinkChange, now: float) -> None:
        if isinstance(change, LinkUp):
            self.remotes[wan_id] = change.remote
        else:
            self.remotes.pop(wan_id, None)

    def handle_timeout(self, now: float) -> None:
        self.timeouts.append(now)
        self.deadline = None

    def poll_transmit(self) -> list[Transmit]:
        transmits, self._transmits = self._transmits, []
        return transmits

    def poll_deliver(self) -> list[Burst]:
        bursts, self._bursts = self._bursts, []
        return bursts

    def poll_event(self) -> Event | None:
        return None

    def poll_timeout(self) -> float | None:
        return self.deadline
