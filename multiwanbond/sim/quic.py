"""A bulk transfer over UDP that behaves as QUIC does, handshake included, without its ciphers."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from struct import Struct
from typing import Final

from multiwanbond.core.burst import Burst
from multiwanbond.core.datagram import Address
from multiwanbond.errors import LocalProtocolError

from .congestion import Controller, Cubic
from .growth import Growth
from .inner import InnerHost
from .packets import UDP, Conversation, pattern
from .quic_receiver import QuicReceiver
from .quic_sender import Outgoing, QuicAck, QuicSender
from .traffic import single_payloads
from .world import Timer

PAYLOAD: Final = 1252
"""Bytes of a full UDP payload; what stacks send without path MTU discovery."""
PORT: Final = 443

_TAG: Final = bytes(16)
_DATA: Final = Struct("!BQQ")
_ACK: Final = Struct("!BIB")
_RANGE: Final = Struct("!QQ")
CHUNK: Final = PAYLOAD - _DATA.size - len(_TAG)
"""Bytes of the stream in a full packet."""

_KIND_DATA, _KIND_ACK, _KIND_HELLO, _KIND_ANSWER, _KIND_REQUEST = range(1, 6)
_OPENING_SIZE: Final = 1200
"""Bytes of the handshake's packets (RFC 9000, section 14.1)."""
_REQUEST_SIZE: Final = 300
_FIRST_RETRY: Final = 1.0
_WINDOW: Final = 8 << 20
"""Bytes of the stream that may be under way; what servers and browsers grow to."""


class PacedCubic(Cubic):
    """CUBIC as QUIC stacks run it: paced, so that acks in a train mean nothing."""

    def __init__(self) -> None:
        super().__init__(is_paced=True)


class QuicTransfer(Growth):
    """Carries `size` bytes from `sender` to `receiver`; the client opens and asks, as in HTTP/3."""

    def __init__(
        self,
        sender: InnerHost,
        receiver: InnerHost,
        *,
        source: Address,
        destination: Address,
        size: int | None = None,
        is_upload: bool = False,
        controller: Callable[[], Controller] = PacedCubic,
    ) -> None:
        super().__init__()
        self._world = sender.world
        self.size: Final = size
        """Bytes of the stream; None: it does not end."""
        self.started_at: float | None = None
        self.finished_at: float | None = None
        """When the last byte arrived."""
        self._is_upload = is_upload
        self._forth = Conversation(source, destination, UDP)
        self._back = Conversation(destination, source, UDP)
        self._hosts = (sender, receiver)
        self.sender: Final = QuicSender(
            self._world,
            controller(),
            self._send_run,
            limit=None if size is None else -(-size // CHUNK),
            window=_WINDOW // CHUNK,
        )
        self.receiver: Final = QuicReceiver(self._world, self._send_ack)
        sender.bind(UDP, source.port, self._on_burst_at_sender)
        receiver.bind(UDP, destination.port, self._on_burst_at_receiver)
        self._opening = Timer(self._world, self._say_opening)
        self._retry = _FIRST_RETRY
        self._answered_at = 0.0
        self._is_answered = self._is_open = False

    @property
    def is_done(self) -> bool:
        """True when every byte has arrived."""
        return self.finished_at is not None

    @property
    def resent(self) -> int:
        """Packets' worth of the stream that were sent again."""
        return self.sender.resent

    @property
    def timeouts(self) -> int:
        """Probe timeouts."""
        return self.sender.timeouts

    # --- opening -----------------------------------------------------------------------------

    def start(self) -> None:
        """Send the first packet now."""
        self.started_at = self._world.now
        self._say_opening()

    def _say_opening(self) -> None:
        """Say what the client has to say until it is answered, ever more rarely."""
        if self._is_open if self._is_upload else self.receiver.expected:
            return
        if self._is_answered:
            self._say(_KIND_REQUEST, _REQUEST_SIZE, is_forth=False)
        else:
            self._say(_KIND_HELLO, _OPENING_SIZE, is_forth=self._is_upload)
        self._opening.set(self._world.now + self._retry)
        self._retry *= 2

    def _say(self, kind: int, size: int, *, is_forth: bool) -> None:
        conversation = self._forth if is_forth else self._back
        payload = bytes([kind]) + bytes(size - 1)
        self._hosts[not is_forth].send_bursts([conversation.udp(payload)])

    def _open(self, rtt: float) -> None:
        if not self._is_open:
            self._is_open = True
            self.sender.start(rtt)

    # --- at the end that sends the stream ----------------------------------------------------

    def _send_run(self, run: Sequence[Outgoing]) -> None:
        payloads = [self._data(*packet) for packet in run]
        # All but the last of a run must be of one size, and only the stream's last chunk is short.
        short = [at for at, payload in enumerate(payloads[:-1], 1) if len(payload) < PAYLOAD]
        edges = [0, *short, len(payloads)]
        bursts = [self._forth.udp_run(payloads[low:high]) for low, high in pairwise(edges)]
        self._hosts[0].send_bursts(bursts)

    def _data(self, number: int, chunk: int) -> bytes:
        start, length = chunk * CHUNK, CHUNK
        if self.size is not None:
            length = min(length, self.size - start)
        return b"".join((_DATA.pack(_KIND_DATA, number, chunk), pattern(start, length), _TAG))

    def _on_burst_at_sender(self, burst: Burst) -> None:
        now = self._world.now
        for payload in single_payloads(burst):
            kind = payload[0]
            if kind == _KIND_ACK:
                self.sender.on_ack(_read_ack(payload))
            elif kind == _KIND_HELLO:
                self._answered_at = now
                self._say(_KIND_ANSWER, _OPENING_SIZE, is_forth=True)
            elif kind == _KIND_REQUEST:
                self._open(now - self._answered_at)
            elif kind == _KIND_ANSWER:
                self._open(now - (self.started_at or now))

    # --- at the end that gets the stream -----------------------------------------------------

    def _on_burst_at_receiver(self, burst: Burst) -> None:
        packets = []
        for payload in single_payloads(burst):
            if payload[0] == _KIND_DATA:
                packets.append(self._read_data(payload))
            elif payload[0] == _KIND_HELLO:
                self._say(_KIND_ANSWER, _OPENING_SIZE, is_forth=False)
            elif payload[0] == _KIND_ANSWER and not self._is_answered:
                self._is_answered = True
                self._retry = _FIRST_RETRY
                self._say_opening()
        if packets:
            self._take(packets)

    def _take(self, packets: Sequence[tuple[int, int]]) -> None:
        before = self.receiver.expected
        self.receiver.on_packets(packets)
        if self.receiver.expected == before:
            return
        length = self.receiver.expected * CHUNK
        if self.size is not None and length >= self.size:
            length = self.size
            self.finished_at = self._world.now
        self.progress.append((self._world.now, length))

    def _read_data(self, payload: memoryview) -> tuple[int, int]:
        _, number, chunk = _DATA.unpack_from(payload)
        data = payload[_DATA.size : -len(_TAG)]
        if data != pattern(chunk * CHUNK, len(data)):
            msg = f"packet {number} of the stream is damaged"
            raise LocalProtocolError(msg)
        return number, chunk

    def _send_ack(self, ack: QuicAck) -> None:
        head = _ACK.pack(_KIND_ACK, int(1e6 * ack.delay), len(ack.ranges))
        ranges = b"".join(_RANGE.pack(*each) for each in ack.ranges)
        self._hosts[1].send_bursts([self._back.udp(head + ranges + _TAG)])


def _read_ack(payload: memoryview) -> QuicAck:
    _, delay, count = _ACK.unpack_from(payload)
    end = _ACK.size + count * _RANGE.size
    return QuicAck(list(_RANGE.iter_unpack(payload[_ACK.size : end])), delay / 1e6)
