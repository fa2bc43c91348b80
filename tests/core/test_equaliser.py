"""Acks of long flows are delayed so that every round trip is the longest line's."""

import pytest

from multiwanbond.core.burst import Burst
from multiwanbond.core.equaliser import ABOVE, FADES_IN, GRAIN, MEMORY, AckEqualiser
from multiwanbond.core.flow import Flow
from multiwanbond.core.ip import flow_key
from multiwanbond.core.path import Path
from multiwanbond.core.scheduling.adaptive import MOST_SKEW
from multiwanbond.core.slow_start import SlowStart

from .inner_packets import FIN, Shape
from .thinned_download import SEGMENT, START, answer, line

LEAST = 0.02
LONGEST = 0.08
SOON = START + 1.0
LATER = START + MEMORY + 0.1


def path(path_id: int, rtt: float) -> Path:
    path = line(path_id)
    path.rtt.on_sample(rtt, START)
    return path


class LongFlow:
    """A flow of ours that is followed, and the acks that come back for it."""

    def __init__(self, *rtts: float) -> None:
        self.paths = [path(number, rtt) for number, rtt in enumerate(rtts or (LEAST, LONGEST), 1)]
        self.equaliser = AckEqualiser()
        self.flow = Flow(flow_key(Shape().packet(b"")), START)
        over = SlowStart(self.flow, START)
        over.on_data(1000, START - LEAST)
        over.on_ack(1000, START)
        self.equaliser.follow(over, self.paths, START)
        self.next = 1000

    def send(self, now: float, *, segments: int = 1) -> None:
        packet = Shape(sequence=self.next).packet(bytes(segments * SEGMENT))
        self.next += segments * SEGMENT
        self.equaliser.on_data(self.flow, Burst(packet), now)

    def receive(self, now: float, *packets: bytes) -> list[bytes]:
        bursts = [Burst(packet) for packet in packets]
        return [bytes(each.packet) for each in self.equaliser.delay(bursts, self.paths, now)]

    def round_trip(self, sent_at: float, *, rtt: float) -> float:
        """How long its sender waits for the ack of a packet that took `rtt`."""
        self.send(sent_at)
        if self.receive(sent_at + rtt, answer(self.next)):
            return rtt
        due = self.equaliser.deadline()
        assert due is not None
        assert self.receive(due)
        return due - sent_at


def test_at_first_no_round_trip_touches_the_least_one_again() -> None:
    long_flow = LongFlow()

    assert long_flow.round_trip(SOON, rtt=LEAST) == pytest.approx(LEAST + ABOVE)
    assert long_flow.round_trip(SOON + 1, rtt=LEAST / 2) == pytest.approx(LEAST + ABOVE)
    assert long_flow.round_trip(SOON + 2, rtt=0.05) == 0.05


def test_once_the_least_one_is_forgotten_all_are_as_long_as_the_longest_lines() -> None:
    long_flow = LongFlow()

    assert long_flow.round_trip(LATER, rtt=LEAST) == pytest.approx(LONGEST)
    assert long_flow.round_trip(LATER + 1, rtt=0.1) == 0.1


def test_a_line_that_is_very_much_longer_does_not_count() -> None:
    long_flow = LongFlow(LEAST, LONGEST, LEAST + 1.1 * MOST_SKEW)

    assert long_flow.round_trip(LATER, rtt=LEAST) == pytest.approx(LONGEST)


def test_when_the_longest_line_is_gone_round_trips_fall_slowly() -> None:
    long_flow = LongFlow()
    long_flow.round_trip(LATER, rtt=LEAST)
    del long_flow.paths[1]

    after = long_flow.round_trip(LATER + 0.5, rtt=LEAST)

    assert after == pytest.approx(LONGEST * (1 - 0.5 / FADES_IN), rel=0.02)


def test_the_ack_of_a_part_of_a_run_waits_as_that_of_the_run() -> None:
    long_flow = LongFlow()
    long_flow.send(LATER, segments=4)

    assert long_flow.receive(LATER + LEAST, answer(1000 + SEGMENT)) == []
    assert long_flow.receive(LATER + LONGEST + GRAIN) == [answer(1000 + SEGMENT)]


def test_acks_keep_their_order_and_those_of_a_moment_become_one() -> None:
    long_flow = LongFlow()
    for at in (0.0, 0.0002, 0.01):
        long_flow.send(LATER + at)
        long_flow.receive(LATER + at + LEAST, answer(long_flow.next))

    passed = long_flow.receive(LATER + 1.0)

    assert passed == [answer(1000 + 2 * SEGMENT), answer(1000 + 3 * SEGMENT)]


def test_what_says_more_than_a_number_does_not_wait_and_overtakes_nothing() -> None:
    long_flow = LongFlow()
    long_flow.send(LATER)
    held = answer(long_flow.next)
    last = answer(long_flow.next, flags=0x10 | FIN)
    long_flow.receive(LATER + LEAST, held)

    assert long_flow.receive(LATER + LEAST, last) == [held, last]
    assert long_flow.receive(LATER + LONGEST) == []
    assert long_flow.equaliser.deadline() is None


def test_a_flow_that_pauses_is_followed_no_more() -> None:
    long_flow = LongFlow()
    long_flow.send(LATER)
    long_flow.receive(LATER + 2.0)

    assert not long_flow.equaliser.is_busy
    assert not long_flow.flow.is_followed


def test_a_flow_over_lines_that_are_alike_is_not_followed() -> None:
    assert not LongFlow(LEAST, 1.1 * LEAST).equaliser.is_busy


def test_packets_of_other_flows_pass() -> None:
    long_flow, other = LongFlow(), Shape(version=6).packet(b"other")

    assert long_flow.receive(LATER, other) == [other]
