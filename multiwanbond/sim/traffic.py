"""Inner traffic other than TCP: streams at a constant rate, questions and answers."""

from bisect import bisect_left
from itertools import pairwise
from struct import Struct
from typing import Final

from multiwanbond.core.burst import Burst
from multiwanbond.core.datagram import Address
from multiwanbond.errors import LocalProtocolError

from .inner import InnerHost
from .packets import UDP, UDP_HEADER, Conversation, pattern, read_udp

_STAMP: Final = Struct("!Id")
LEAST_SIZE: Final = 40 + UDP_HEADER + _STAMP.size
"""Bytes of the smallest packet a stream can send, IPv6 included."""


class Stream:
    """UDP packets of `size` bytes, one every `interval`, each checked and timed on arrival."""

    def __init__(
        self,
        sender: InnerHost,
        receiver: InnerHost,
        *,
        source: Address,
        destination: Address,
        size: int,
        interval: float,
        per_tick: int = 1,
    ) -> None:
        """
        Args:
            sender: where the packets are written.
            receiver: where they are waited for.
            source: inner address they come from.
            destination: inner address they go to.
            size: bytes of each IP packet.
            interval: seconds between two writes.
            per_tick: packets per write, for rates that need more than one every interval.
        """
        assert size >= LEAST_SIZE
        self._world = sender.world
        self._sender = sender
        self._interval = interval
        self._per_tick = per_tick
        self._conversation = Conversation(source, destination, UDP)
        self._fill = size - self._conversation.overhead - UDP_HEADER - _STAMP.size
        self._left = 0
        self._sent_at: list[float] = []
        self._seen: set[int] = set()
        self.arrivals: Final[list[tuple[float, float]]] = []
        """When each packet was sent and when it first arrived, in the order of arrival."""
        self.duplicates = 0
        self.out_of_order = 0
        """Packets that came after a later one."""
        self._highest = -1
        receiver.bind(UDP, destination.port, self._on_packet)

    def start(self, seconds: float) -> None:
        """Send for `seconds` from now on."""
        self._left = max(1, round(seconds / self._interval))
        self._tick()

    def _tick(self) -> None:
        self._left -= 1
        self._sender.send_bursts([self._next_packet() for _ in range(self._per_tick)])
        if self._left > 0:
            self._world.call_in(self._interval, self._tick)

    def _next_packet(self) -> Burst:
        number = len(self._sent_at)
        self._sent_at.append(self._world.now)
        payload = _STAMP.pack(number, self._world.now) + pattern(number, self._fill)
        return self._conversation.udp(payload)

    def _on_packet(self, burst: Burst) -> None:
        for packet in single_payloads(burst):
            self._on_payload(packet)

    def _on_payload(self, payload: memoryview) -> None:
        number, sent_at = _STAMP.unpack_from(payload)
        if payload[_STAMP.size :] != pattern(number, self._fill):
            msg = f"packet {number} of the stream is damaged"
            raise LocalProtocolError(msg)
        if number in self._seen:
            self.duplicates += 1
            return
        self._seen.add(number)
        self.arrivals.append((sent_at, self._world.now))
        if number < self._highest:
            self.out_of_order += 1
        self._highest = max(self._highest, number)

    # --- what a test asks --------------------------------------------------------------------

    @property
    def sent(self) -> int:
        """Packets sent so far."""
        return len(self._sent_at)

    @property
    def lost(self) -> int:
        """Packets that have not arrived so far."""
        return len(self._sent_at) - len(self._seen)

    def sent_between(self, start: float, end: float) -> int:
        """Return how many packets were sent from `start` on and before `end`."""
        return bisect_left(self._sent_at, end) - bisect_left(self._sent_at, start)

    def delay(self, share: float, *, start: float = 0.0, end: float = float("inf")) -> float:
        """Return the one-way delay that `share` of the packets sent in that time kept to."""
        delays = sorted(got - sent for sent, got in self.arrivals if start <= sent < end)
        return delays[min(len(delays) - 1, int(share * len(delays)))]

    def longest_silence(self, start: float, end: float) -> float:
        """Return the longest time without an arrival between two points of the world's time."""
        times = [got for _, got in self.arrivals if start <= got <= end]
        return max(right - left for left, right in pairwise([start, *times, end]))


class Questions:
    """A client asks every `interval`, the server answers at once; round trips are recorded."""

    def __init__(
        self,
        client: InnerHost,
        server: InnerHost,
        *,
        source: Address,
        destination: Address,
        interval: float,
        size: int = 100,
        answer_size: int = 200,
    ) -> None:
        assert min(size, answer_size) >= LEAST_SIZE
        self._world = client.world
        self._client = client
        self._server = server
        self._interval = interval
        self._forth = Conversation(source, destination, UDP)
        self._back = Conversation(destination, source, UDP)
        self._fill = size - self._forth.overhead - UDP_HEADER - _STAMP.size
        self._answer_fill = answer_size - self._forth.overhead - UDP_HEADER - _STAMP.size
        self._left = 0
        self.asked = 0
        self.answers: Final[dict[int, float]] = {}
        """Round-trip time in seconds by number of the question."""
        server.bind(UDP, destination.port, self._on_question)
        client.bind(UDP, source.port, self._on_answer)

    def start(self, count: int) -> None:
        """Ask `count` questions from now on."""
        self._left = count
        self._ask()

    @property
    def unanswered(self) -> int:
        """Questions without an answer so far."""
        return self.asked - len(self.answers)

    def _ask(self) -> None:
        payload = _STAMP.pack(self.asked, self._world.now) + bytes(self._fill)
        self.asked += 1
        self._left -= 1
        self._client.send_bursts([self._forth.udp(payload)])
        if self._left > 0:
            self._world.call_in(self._interval, self._ask)

    def _on_question(self, burst: Burst) -> None:
        for question in single_payloads(burst):
            answer = bytes(question[: _STAMP.size]) + bytes(self._answer_fill)
            self._server.send_bursts([self._back.udp(answer)])

    def _on_answer(self, burst: Burst) -> None:
        for answer in single_payloads(burst):
            number, asked_at = _STAMP.unpack_from(answer)
            self.answers.setdefault(number, self._world.now - asked_at)


def single_payloads(burst: Burst) -> list[memoryview]:
    """Return the payloads of a UDP packet or of a run of them (UDP_SEGMENT)."""
    payload = read_udp(burst.packet)
    size = burst.segment_size or len(payload)
    return [payload[start : start + size] for start in range(0, len(payload), size)]
