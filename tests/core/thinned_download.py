"""A download whose acks come back through a thinner, step by step."""

from multiwanbond.core.burst import Burst
from multiwanbond.core.capacity import TRAIN_SHARE
from multiwanbond.core.flow import YOUNG_BYTES, Flow
from multiwanbond.core.ip import flow_key
from multiwanbond.core.path import LEAST_STANDING, Path
from multiwanbond.core.settings import HealthSettings
from multiwanbond.core.slow_start import BLIND_BYTES, MOST_GAP, AckThinner

from .inner_packets import ACK, HOSTS, PORTS, Shape

START = 100.0
RATE = 1e6
SEGMENT = 1000
TRAIN = 0.002
"""Seconds between acks up to which Linux takes them for a train."""
TIMESTAMPS = bytes([1, 1, 8, 10]) + bytes(8)
SACK = bytes([1, 1, 5, 10]) + bytes(8)


def line(path_id: int = 1, *, rate: float = RATE, delay: float = 0.02) -> Path:
    """A path of which rate and delay are known."""
    path = Path(path_id, wan_id=path_id, is_ours=True, health=HealthSettings(), now=START)
    path.one_way.on_sample(delay, LEAST_STANDING, START)
    set_rate(path, rate)
    return path


def set_rate(path: Path, rate: float) -> None:
    path.capacity.on_train(rate / TRAIN_SHARE, START)


def answer(
    ack: int,
    *,
    version: int = 4,
    flags: int = ACK,
    options: bytes = TIMESTAMPS,
    payload: bytes = b"",
    window: int = 9,
) -> bytes:
    """A packet that the receiver of a download sends back."""
    packet = bytearray(Shape(version=version, flags=flags, options=options).packet(payload))
    source, target = HOSTS[version]
    addresses, start = (12, 20) if version == 4 else (8, 40)
    packet[addresses : addresses + 2 * len(source)] = target + source
    packet[start : start + 4] = PORTS[2:] + PORTS[:2]
    packet[start + 8 : start + 12] = (ack & 0xFFFFFFFF).to_bytes(4, "big")
    packet[start + 14 : start + 16] = window.to_bytes(2, "big")
    return bytes(packet)


class Download:
    """A TCP flow of ours, and the acks that come back for it through a thinner."""

    def __init__(
        self,
        *lines: Path,
        version: int = 4,
        first: int = 1000,
        octets: int = BLIND_BYTES,
        thinner: AckThinner | None = None,
    ) -> None:
        self.now = START
        # Over a single line nothing is thinned; the other one carries next to nothing.
        self.lines = lines if len(lines) > 1 else (lines[0] if lines else line(), line(9, rate=1.0))
        self.thinner = thinner or AckThinner()
        self.version = version
        self.next = first
        """TCP sequence of what is to be sent next."""
        self.acked = first
        """What the newest ack acknowledged."""
        self.passed: list[tuple[float, bytes]] = []
        """When what was let through, in this order."""
        self.flow = Flow(flow_key(Shape(version=version).packet(b"")), self.now)
        self.flow.octets = octets

    def send(self) -> None:
        packet = Shape(version=self.version, sequence=self.next).packet(bytes(SEGMENT))
        self.flow.octets += len(packet)
        self.next = self.next + SEGMENT & 0xFFFFFFFF
        self.thinner.on_data(self.flow, Burst(packet), self.now)

    def next_answer(self, **shape: int | bytes) -> bytes:
        """A packet that acknowledges one more segment."""
        self.acked = self.acked + SEGMENT & 0xFFFFFFFF
        return answer(self.acked, version=self.version, **shape)  # type: ignore[arg-type]  # its own

    def receive(self, *packets: bytes) -> list[bytes]:
        """Let packets come back at this instant; return what is let through at once."""
        passed = self.thinner.thin([Burst(packet) for packet in packets], self.lines, self.now)
        self.passed += [(self.now, bytes(burst.packet)) for burst in passed]
        return [bytes(burst.packet) for burst in passed]

    def wait(self, seconds: float) -> list[bytes]:
        """Let time pass; return what is let through meanwhile."""
        end, before = self.now + seconds, len(self.passed)
        while (at := self.thinner.deadline()) is not None and at <= end:
            self.now = max(at, self.now)
            self.receive()
        self.now = end
        return [packet for _, packet in self.passed[before:]]

    def measure(self, rtt: float) -> None:
        """Let the round trip be known."""
        self.send()
        self.wait(rtt)
        self.receive(self.next_answer())
        self.wait(MOST_GAP)

    def go_on(self, seconds: float, *, rtt: float, every: float = 0.001) -> int:
        """Send a segment and get an ack every so often; return how many acks passed."""
        before, flight = len(self.passed), []
        for _ in range(round(seconds / every)):
            self.send()
            flight.append(self.now + rtt)
            if flight[0] <= self.now:
                flight.pop(0)
                self.receive(self.next_answer())
            self.wait(every)
        return len(self.passed) - before

    def loses_acks(self) -> bool:
        """Say whether of a few acks a little apart not all are let through."""
        packets = [self.next_answer() for _ in range(5)]
        passed = []
        for packet in packets:
            passed += self.receive(packet)
            passed += self.wait(TRAIN / 4)
        passed += self.wait(MOST_GAP)
        assert passed[-1] == packets[-1]
        return passed != packets


def backlogged(*lines: Path, rtt: float = 0.04, backlog: int = 40_000) -> Download:
    """A young flow of which much waits here, with one ack just let through."""
    download = Download(*lines)
    download.measure(rtt)
    download.flow.backlog = backlog
    download.receive(download.next_answer())
    return download


def bulk(*, rtt: float = 0.04, backlog: int = 40_000) -> Download:
    """A flow that has proved to be bulk in its first second."""
    download = backlogged(rtt=rtt, backlog=backlog)
    download.flow.octets = YOUNG_BYTES + 1
    return download
