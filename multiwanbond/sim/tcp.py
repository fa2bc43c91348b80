"""One TCP connection between two inner hosts: its opening, its data in runs, its acks."""

from collections.abc import Callable
from struct import Struct
from typing import Final

from multiwanbond.core.burst import Burst
from multiwanbond.core.datagram import Address
from multiwanbond.errors import LocalProtocolError

from .congestion import Controller, Cubic
from .growth import Growth
from .inner import InnerHost
from .packets import (
    LONGEST_PACKET,
    TCP,
    TCP_ACK,
    TCP_FIN,
    TCP_PSH,
    TCP_SYN,
    Conversation,
    TcpHeader,
    pattern,
    read_tcp,
)
from .tcp_receiver import ByteAck, TcpReceiver
from .tcp_sender import Detection, SegmentAck, TcpSender
from .world import Timer

_TIMESTAMPS: Final = Struct("!BBBBII")
_SACK_HEAD: Final = Struct("!BBBB")
_BLOCK: Final = Struct("!II")
_NOP, _KIND_SACK, _KIND_TIMESTAMPS = 1, 5, 8
_TCP_HEADER: Final = 20 + _TIMESTAMPS.size

INITIAL_SEQUENCE: Final = 0xFFFF0000
"""Of the data; soon wraps around, so that nobody forgets that it does."""

_REQUEST_SIZE: Final = 300
_FIRST_RETRY: Final = 1.0
_WINDOW: Final = 4 << 20
"""Bytes; the receive buffer of a usual Linux host once it has grown."""


class Transfer(Growth):
    """Carries `size` bytes from `sender` to `receiver`; they open the connection together.

    The receiving side asks for the data as a browser does, unless `is_upload`: then the sending
    side opens. The content is checked at every step.
    """

    def __init__(
        self,
        sender: InnerHost,
        receiver: InnerHost,
        *,
        source: Address,
        destination: Address,
        size: int | None = None,
        mtu: int = 1440,
        is_upload: bool = False,
        controller: Callable[[], Controller] = Cubic,
        detection: Detection = Detection.RACK,
        window: int = _WINDOW,
    ) -> None:
        super().__init__()
        self._world = sender.world
        self.size: Final = size
        """Bytes of the stream; None: it does not end."""
        self.started_at: float | None = None
        self.opened_at: float | None = None
        """When the data sender could begin."""
        self.finished_at: float | None = None
        """When the last byte arrived."""
        self._is_upload = is_upload
        self._forth = Conversation(source, destination, TCP)
        self._back = Conversation(destination, source, TCP)
        self._hosts = (sender, receiver)
        self._mss = mtu - self._forth.overhead - _TCP_HEADER
        longest = (LONGEST_PACKET - self._forth.overhead - _TCP_HEADER) // self._mss
        self.sender: Final = TcpSender(
            self._world,
            controller(),
            self._send_segments,
            limit=None if size is None else -(-size // self._mss),
            window=window // self._mss,
            longest_run=longest,
            detection=detection,
        )
        self.receiver: Final = TcpReceiver(self._world, self._send_ack, mss=self._mss)
        sender.bind(TCP, source.port, self._on_burst_at_sender)
        receiver.bind(TCP, destination.port, self._on_burst_at_receiver)
        self._opening = Timer(self._world, self._say_opening)
        self._retry = _FIRST_RETRY
        self._answered_at = 0.0
        self._has_syn_ack = False

    # --- what a test asks --------------------------------------------------------------------

    @property
    def is_done(self) -> bool:
        """True when every byte has arrived."""
        return self.finished_at is not None

    @property
    def resent(self) -> int:
        """Segments sent again."""
        return self.sender.resent

    @property
    def timeouts(self) -> int:
        """Retransmission timeouts."""
        return self.sender.timeouts

    # --- opening -----------------------------------------------------------------------------

    def start(self) -> None:
        """Send the first SYN now."""
        self.started_at = self._world.now
        self._say_opening()

    def _say_opening(self) -> None:
        """Say what the opening side has to say until it is answered, ever more rarely."""
        if self.opened_at is None or not (self._is_upload or self.receiver.expected):
            if self._has_syn_ack:
                self._send_back(TCP_ACK | TCP_PSH, pattern(0, _REQUEST_SIZE))
            elif self._is_upload:
                self._send_forth(TCP_SYN)
            else:
                self._send_back(TCP_SYN)
            self._opening.set(self._world.now + self._retry)
            self._retry *= 2

    def _send_forth(self, flags: int) -> None:
        header = TcpHeader(INITIAL_SEQUENCE, 0, flags, options=self._timestamps())
        self._hosts[0].send_bursts([self._forth.tcp(header)])

    def _send_back(self, flags: int, payload: bytes | memoryview = b"") -> None:
        header = TcpHeader(
            1 if payload else 0, INITIAL_SEQUENCE + 1, flags, options=self._timestamps()
        )
        self._hosts[1].send_bursts([self._back.tcp(header, payload)])

    def _timestamps(self) -> bytes:
        millis = int(self._world.now * 1000) & 0xFFFFFFFF
        return _TIMESTAMPS.pack(_NOP, _NOP, _KIND_TIMESTAMPS, 10, millis, 0)

    def _open(self, rtt: float) -> None:
        if self.opened_at is None:
            self.opened_at = self._world.now
            self.sender.start(rtt)

    # --- data --------------------------------------------------------------------------------

    def _send_segments(self, first: int, count: int) -> None:
        start, end = first * self._mss, (first + count) * self._mss
        flags = TCP_ACK | TCP_PSH
        if self.size is not None and end >= self.size:
            end = self.size
            flags |= TCP_FIN
        header = TcpHeader(
            INITIAL_SEQUENCE + 1 + start, 1 + _REQUEST_SIZE, flags, options=self._timestamps()
        )
        run = self._forth.tcp(header, pattern(start, end - start), self._mss)
        self._hosts[0].send_bursts([run])

    def _on_burst_at_receiver(self, burst: Burst) -> None:
        header, payload = read_tcp(burst.packet)
        if header.flags & TCP_SYN:
            self._on_syn_at_receiver(header)
            return
        if not payload:
            return
        start = expand(header.sequence - INITIAL_SEQUENCE - 1, self.receiver.expected)
        if payload != pattern(start, len(payload)):
            msg = f"the stream is damaged at {start}, {len(payload)} bytes"
            raise LocalProtocolError(msg)
        before = self.receiver.expected
        self.receiver.on_data(start, start + len(payload))
        if self.receiver.expected > before:
            self.progress.append((self._world.now, self.receiver.expected))
        if self.receiver.expected == self.size and self.finished_at is None:
            self.finished_at = self._world.now

    def _on_syn_at_receiver(self, header: TcpHeader) -> None:
        if not header.flags & TCP_ACK:
            self._send_back(TCP_SYN | TCP_ACK)
        elif not self._has_syn_ack:
            self._has_syn_ack = True
            self._retry = _FIRST_RETRY
            self._say_opening()

    def _on_burst_at_sender(self, burst: Burst) -> None:
        header, payload = read_tcp(burst.packet)
        now = self._world.now
        if header.flags & TCP_SYN:
            if header.flags & TCP_ACK:
                self._open(now - (self.started_at or now))
            else:
                self._answered_at = now
                self._send_forth(TCP_SYN | TCP_ACK)
        elif payload:
            self._open(now - self._answered_at)
        elif self.opened_at is not None:
            self._on_ack(header)

    # --- acknowledgements --------------------------------------------------------------------

    def _send_ack(self, ack: ByteAck) -> None:
        base = INITIAL_SEQUENCE + 1
        options = self._timestamps()
        if ack.blocks:
            options += _SACK_HEAD.pack(_NOP, _NOP, _KIND_SACK, 2 + 8 * len(ack.blocks))
            for low, high in ack.blocks:
                options += _BLOCK.pack((base + low) & 0xFFFFFFFF, (base + high) & 0xFFFFFFFF)
        header = TcpHeader(1 + _REQUEST_SIZE, base + ack.expected, TCP_ACK, options=options)
        self._hosts[1].send_bursts([self._back.tcp(header)])

    def _on_ack(self, header: TcpHeader) -> None:
        near = self.sender.una * self._mss
        expected = expand(header.acknowledgement - INITIAL_SEQUENCE - 1, near)
        blocks = [
            tuple(expand(edge - INITIAL_SEQUENCE - 1, near) for edge in _BLOCK.unpack(raw))
            for raw in _sack_blocks(header.options)
        ]
        segments = tuple((-(-low // self._mss), -(-high // self._mss)) for low, high in blocks)
        is_duplicate = bool(blocks) and _is_dsack(blocks, expected)
        una = -(-expected // self._mss)
        self.sender.on_ack(SegmentAck(una, segments[is_duplicate:], is_duplicate))


def expand(truncated: int, near: int) -> int:
    """Return the number closest to `near` that equals `truncated` in its low 32 bits."""
    return near + ((truncated - near + 0x80000000) & 0xFFFFFFFF) - 0x80000000


def _sack_blocks(options: bytes) -> list[bytes]:
    start = _TIMESTAMPS.size + _SACK_HEAD.size
    return [options[at : at + _BLOCK.size] for at in range(start, len(options), _BLOCK.size)]


def _is_dsack(blocks: list[tuple[int, ...]], expected: int) -> bool:
    """Tell whether the first block reports a duplicate (RFC 2883, section 4)."""
    low, high = blocks[0]
    if high <= expected:
        return True
    return len(blocks) > 1 and blocks[1][0] <= low and high <= blocks[1][1]
