"""No numbers of an authentic but hostile peer break a path's controller or stop it for ever."""

from math import isfinite

from hypothesis import given, settings
from hypothesis import strategies as st

from multiwanbond.core.capacity import DATAGRAM, LEAST_RATE
from multiwanbond.core.datagram import Address
from multiwanbond.core.frames import (
    MAX_HOLD,
    PathAck,
    TrainReport,
    decode_frames_untrusted,
    encode_frames,
)
from multiwanbond.core.path import Path
from multiwanbond.core.rtt import DelayClock
from multiwanbond.core.settings import HealthSettings
from multiwanbond.core.wire import TIMESTAMP_MASK

words = st.integers(0, 0xFFFFFFFF)
clocks = st.integers(0, TIMESTAMP_MASK)
octets = st.integers(0, 255)
range_lists = st.lists(st.tuples(st.integers(0, 0xFFFF), octets), max_size=16).map(tuple)
acks = st.builds(
    PathAck,
    path_id=st.just(1),
    highest=st.integers(0, 200),  # of a few hundred that were sent
    echo=clocks,
    hold=st.integers(0, MAX_HOLD),
    datagrams=words,
    octets=words,
    received_at=clocks,
    least_delay=clocks,
    ranges=range_lists,
)
reports = st.builds(
    TrainReport,
    path_id=st.just(1),
    train_id=st.integers(0, 3),
    datagrams=octets,
    octets=words,
    span=words,
)
steps = st.one_of(acks, reports, st.just(None))  # None: the path is suspected


def working_path() -> Path:
    path = Path(1, wan_id=1, is_ours=True, health=HealthSettings(), now=0.0)
    path.on_link_up(Address("198.51.100.1", 9000), 0.0)
    path.train.take_wish(0.0, is_idle=True)
    return path


def send(path: Path, now: float) -> int:
    """Let leave what may; return how many datagrams."""
    path.refill(now)
    count = 0
    while path.has_credit and count < 100:
        ledger = path.ledger
        ledger.on_sent(ledger.next_sequence, DATAGRAM)
        ledger.on_awaited(ledger.next_sequence, now)
        ledger.next_sequence += 1
        path.on_left(DATAGRAM, now)
        count += 1
    return count


def assert_sane(path: Path) -> None:
    capacity = path.capacity
    assert isfinite(capacity.rate)
    assert capacity.rate >= LEAST_RATE
    assert isfinite(capacity.window)
    assert capacity.window >= 6 * DATAGRAM
    assert isfinite(capacity.measured)
    assert capacity.measured >= 0
    assert isfinite(path.pacer.next_at)
    assert isfinite(path.one_way.queue)
    assert path.deadline() is not None


@settings(max_examples=300, deadline=None)
@given(
    script=st.lists(st.tuples(st.floats(0, 0.5), steps, st.booleans()), max_size=40),
    is_greedy=st.booleans(),
)
def test_any_reports_leave_a_rate_and_a_window_that_work(
    script: list[tuple[float, PathAck | TrainReport | None, bool]], is_greedy: bool
) -> None:
    path, clock, now = working_path(), DelayClock(), 0.0

    for pause, step, came_by_this_path in script:
        now += pause
        send(path, now)
        if not is_greedy:
            path.capacity.note_spare(path.ledger.next_sequence)
        if isinstance(step, PathAck):
            highest = (path.ledger.acked_sequence + step.highest % 64) & 0xFFFFFFFF
            ack = step._replace(highest=highest)
            path.on_ack(ack, clock, now, came_by_this_path=came_by_this_path)
        elif step is not None:
            path.on_train_report(step, now)
        else:
            path.on_abandoned(now)
        assert_sane(path)


@settings(max_examples=200, deadline=None)
@given(hostile=st.lists(acks, min_size=1, max_size=20))
def test_after_any_numbers_an_ack_of_everything_lets_the_path_go_on(hostile: list[PathAck]) -> None:
    path, clock, now = working_path(), DelayClock(), 0.0
    for ack in hostile:
        now += 0.01
        send(path, now)
        path.on_ack(ack, clock, now, came_by_this_path=True)

    # Whatever was claimed: once all is settled, something leaves within a second.
    now += 1.0
    last = path.ledger.next_sequence - 1
    path.on_ack(hostile[-1]._replace(highest=last), clock, now, came_by_this_path=True)
    left = 0
    for _ in range(100):
        now += 0.01
        left += send(path, now)

    assert left >= 6


@given(frame=reports)
def test_any_report_of_a_train_survives_the_wire(frame: TrainReport) -> None:
    assert decode_frames_untrusted(encode_frames([frame])) == [frame]
