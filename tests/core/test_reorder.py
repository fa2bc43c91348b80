"""What the re-order buffer releases, when, and in which order."""

from collections.abc import Iterable
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multiwanbond.core.reorder import QUIET_AFTER, WINDOW, ReorderBuffer
from multiwanbond.core.segments import Segments
from multiwanbond.core.wire import DataForm

from .inner_packets import Shape

TIMEOUT = 0.5


class Bench:
    """A buffer, a clock, and packets that are told apart by their sequence."""

    def __init__(self, *, capacity: int = 1000, timeout: float = TIMEOUT) -> None:
        self.buffer = ReorderBuffer(capacity, timeout)
        self.now = 0.0

    def push(self, sequence: int, distance: int = 1, *, path: int = 1) -> list[int]:
        """One packet alone in its batch; returns what that released."""
        packet = sequence.to_bytes(8, "big")
        self.buffer.push(path, sequence, distance, DataForm.PACKET, packet, self.now)
        return self.release()

    def push_run(self, first: int, count: int, distance: int = 1, *, path: int = 1) -> list[int]:
        """Neighbours that came together, alone in their batch; returns what that released."""
        payload = b"".join(number.to_bytes(8, "big") for number in range(first, first + count))
        run = Shape().run(payload, 8)
        segments = Segments(bytearray(run.packet), run.header_length, 8)
        form = DataForm.SEGMENT
        self.buffer.push_run(path, first, count, distance, form, segments, self.now)
        return self.release()

    def push_all(self, sequences: Iterable[int], *, path: int = 1) -> list[int]:
        """One batch of packets of one flow that has no others."""
        for sequence in sequences:
            packet = sequence.to_bytes(8, "big")
            self.buffer.push(path, sequence, int(sequence > 1), DataForm.PACKET, packet, self.now)
        return self.release()

    def note(self, sequence: int, *, path: int) -> list[int]:
        self.buffer.note(path, sequence, self.now)
        return self.release()

    def wait(self, seconds: float) -> list[int]:
        self.now += seconds
        return self.release()

    def release(self) -> list[int]:
        self.buffer.expire(self.now)
        numbers = []
        for _, packet in self.buffer.poll():
            plaintexts = packet.split() if isinstance(packet, Segments) else [packet]
            numbers += [int.from_bytes(plaintext[-8:], "big") for plaintext in plaintexts]
        return numbers

    def counts(self) -> dict[str, int]:
        """Everything that is not zero."""
        figures = self.buffer.statistics()
        names = ("released", "held", "late", "duplicates", "given_up")
        return {name: count for name in names if (count := getattr(figures, name))}


# --- order


def test_packets_in_order_are_released_at_once() -> None:
    bench = Bench()

    assert bench.push_all(range(1, 101)) == list(range(1, 101))
    assert bench.counts() == {"released": 100}
    assert bench.buffer.deadline() is None


def test_form_and_packet_are_handed_on_as_they_came() -> None:
    bench = Bench()
    packet = bytearray(b"segment")

    bench.buffer.push(1, 1, 0, DataForm.LAST_SEGMENT, packet, 0.0)

    ((form, released),) = bench.buffer.poll()
    assert form is DataForm.LAST_SEGMENT
    assert released is packet


def test_a_packet_waits_for_its_predecessor_on_a_slower_path() -> None:
    bench = Bench()
    bench.note(0, path=2)
    bench.push(1)

    assert bench.push(3) == []
    assert bench.push(4) == []
    assert bench.counts() == {"released": 1, "held": 2}
    assert bench.push(2, path=2) == [2, 3, 4]
    assert bench.counts() == {"released": 4}


def test_many_holes_are_filled_in_any_order() -> None:
    bench = Bench()
    bench.note(0, path=2)
    bench.push_all(range(1, 100, 2), path=1)

    released = bench.push_all(range(98, 0, -2), path=2)

    assert sorted(released) == list(range(2, 100))
    assert released == list(range(2, 100))


def test_a_hole_in_one_flow_does_not_delay_another() -> None:
    bench = Bench()
    bench.note(0, path=2)
    bench.push(1, 0)
    bench.push(2, 0)

    assert bench.push(5, 2) == []  # flow A: 1, 3 (missing), 5
    assert bench.push(6, 4) == [6]  # flow B: 2, 6
    assert bench.push(7, 0) == [7]  # unordered
    assert bench.push(3, 2, path=2) == [3, 5]


# --- giving up


def test_a_packet_lost_on_the_only_path_is_not_waited_for() -> None:
    bench = Bench()
    bench.push(1)

    assert bench.push(3) == [3]
    assert bench.counts() == {"released": 2, "given_up": 1}


def test_packets_that_overtake_each_other_within_a_batch_are_put_right() -> None:
    bench = Bench()

    assert bench.push_all([1, 3, 2, 4]) == [1, 2, 3, 4]
    assert bench.counts() == {"released": 4}


def test_a_hole_is_given_up_once_every_path_has_delivered_something_later() -> None:
    bench = Bench()
    bench.note(1, path=2)
    bench.note(1, path=3)
    bench.push(1)

    assert bench.push(3) == []
    assert bench.push(4, 0, path=2) == [4]
    assert bench.push(5, 0, path=3) == [5, 3]
    assert bench.counts() == {"released": 4, "given_up": 1}


def test_a_note_tells_that_a_path_has_nothing_earlier_to_bring() -> None:
    bench = Bench()
    bench.note(1, path=2)
    bench.push(1)
    bench.push(3)

    assert bench.note(1, path=2) == []
    assert bench.note(2, path=2) == [3]


def test_an_old_note_takes_nothing_back() -> None:
    bench = Bench()
    bench.note(2, path=2)
    bench.note(1, path=2)
    bench.push(1)

    assert bench.push(3) == [3]


def test_a_path_that_fell_silent_is_not_waited_for() -> None:
    bench = Bench()
    bench.note(1, path=2)
    bench.push(1)
    bench.wait(QUIET_AFTER / 2)
    bench.push(3)

    assert bench.buffer.deadline() == QUIET_AFTER
    assert bench.wait(QUIET_AFTER / 2) == [3]


def test_the_silence_of_a_path_that_has_nothing_to_bring_is_not_waited_for() -> None:
    bench = Bench()
    bench.note(1, path=3)
    bench.push(1)
    bench.wait(QUIET_AFTER / 2)
    bench.note(2, path=2)

    bench.push(3)

    assert bench.buffer.deadline() == QUIET_AFTER  # that of path 3


def test_a_packet_is_held_for_the_timeout_and_not_longer() -> None:
    bench = Bench()
    bench.push(1)
    bench.note(1, path=2)
    bench.push(3)
    for _ in range(49):
        assert bench.wait(0.01) == []
        bench.note(1, path=2)  # alive, so still to be waited for

    deadline = bench.buffer.deadline()

    assert deadline == TIMEOUT
    assert bench.wait(deadline - bench.now) == [3]


def test_every_hole_has_its_own_deadline() -> None:
    """With one timer that each arrival re-arms, the first hole would wait behind the last."""
    bench = Bench()
    bench.note(0, path=2)
    arrived: dict[int, float] = {}
    waited: dict[int, float] = {}
    for sequence in range(2, 202, 2):  # every other one is lost
        arrived[sequence] = bench.now
        for released in bench.push(sequence):
            waited[released] = bench.now - arrived[released]
        bench.note(0, path=2)
        bench.now += 0.02
    while (deadline := bench.buffer.deadline()) is not None:
        bench.now = deadline
        for released in bench.release():
            waited[released] = bench.now - arrived[released]

    assert set(waited) == set(arrived)
    assert max(waited.values()) == pytest.approx(TIMEOUT, abs=0.021)
    assert bench.counts() == {"released": 100, "given_up": 100}


def test_a_hole_behind_a_hole_does_not_double_the_wait() -> None:
    bench = Bench()
    bench.note(0, path=2)
    bench.push(4)
    for _ in range(49):
        assert bench.wait(0.01) == []
        bench.note(0, path=2)

    bench.push(3, path=1)  # it arrives just in time, and its own predecessor is missing

    bench.note(0, path=2)
    assert bench.wait(0.01) == [3, 4]


def test_the_hole_waited_for_longest_goes_first_when_too_much_is_held() -> None:
    bench = Bench(capacity=3)
    bench.note(0, path=2)
    bench.push(10, 5)
    bench.push(11, 5)
    bench.push(4, 2)

    assert bench.push(8, 2) == [10]
    assert bench.counts() == {"released": 1, "held": 3, "given_up": 1}


def test_a_late_packet_is_delivered_still() -> None:
    bench = Bench()
    bench.push(1)
    bench.push(3)

    assert bench.push(2) == [2]
    assert bench.push(4) == [4]
    assert bench.counts() == {"released": 3, "late": 1, "given_up": 1}


def test_a_new_timeout_counts_for_what_is_held_already() -> None:
    bench = Bench()
    bench.note(0, path=2)
    bench.push(2)

    bench.buffer.timeout = 0.02

    assert bench.buffer.deadline() == 0.02
    assert bench.wait(0.02) == [2]


# --- duplicates


def test_a_packet_seen_before_is_dropped_whatever_became_of_the_first() -> None:
    bench = Bench()
    bench.note(1, path=2)
    bench.push(1)
    bench.push(3)

    assert bench.push(1, path=2) == []  # released
    assert bench.push(3, path=3) == []  # held
    assert bench.push(2, path=2) == [2, 3]
    assert bench.push(3, path=2) == []
    assert bench.counts() == {"released": 3, "duplicates": 3}


def test_a_late_packet_is_delivered_once() -> None:
    bench = Bench()
    bench.push(1)
    bench.push(3)
    bench.push(2)

    assert bench.push(2, path=2) == []
    assert bench.counts()["duplicates"] == 1


def test_duplicates_are_known_as_far_back_as_the_window_reaches() -> None:
    bench = Bench()
    bench.push_all(range(1, WINDOW + 2))

    assert bench.push(2, path=2) == []
    assert bench.push(1, path=2) == [1]  # beyond: cannot be told, and may be useful
    assert bench.counts() == {"released": WINDOW + 1, "late": 1, "duplicates": 1}


# --- jumps


@pytest.mark.parametrize(
    "jump", [4, WINDOW - 3, WINDOW - 1, WINDOW, WINDOW + 1, 10 * WINDOW, 2**23]
)
def test_a_jump_forward_releases_what_fell_out_of_the_window(jump: int) -> None:
    bench = Bench()
    bench.note(1, path=2)
    bench.push_all([1, 3, 4])

    released = bench.push(1 + jump, 0)

    if jump >= WINDOW + 1:
        assert released == [3, 4, 1 + jump]
    assert set(released) | set(bench.wait(TIMEOUT)) == {3, 4, 1 + jump}
    assert bench.counts() == {"released": 4, "given_up": 1}
    assert bench.push_all([2 + jump, 3 + jump]) == [2 + jump, 3 + jump]


def test_nothing_of_the_old_window_shows_in_the_new_one() -> None:
    """Each place in the window is used again and again; a jump must leave it blank."""
    bench = Bench()
    bench.note(1, path=2)
    bench.push_all([1, 3, 4, 700, 65_000])
    bench.push(50_000, 49_998)  # waits for 2, far behind
    bench.push(5 * WINDOW + 40_000, 0)

    released = [
        sequence
        for sequence in range(4 * WINDOW + 40_001, 5 * WINDOW + 40_000)
        for sequence in bench.push(sequence, 0)
    ]

    assert len(released) == WINDOW - 1
    assert "duplicates" not in bench.counts()


def test_a_distance_beyond_the_first_packet_is_not_waited_for() -> None:
    assert Bench().push(5, 60_000) == [5]


# --- properties


journeys = st.lists(
    st.tuples(
        st.integers(0, 2),  # flow
        st.integers(1, 3),  # path
        st.sampled_from(["arrives", "arrives", "arrives", "lost"]),
        st.integers(0, 40),  # ms it takes longer than its path's least
    ),
    min_size=1,
    max_size=60,
)


def travel(
    packets: list[tuple[int, int, str, int]], *, spread: float
) -> list[tuple[float, int, int, int, int]]:
    """(arrival, sequence, distance, path, flow) of what arrives; each path keeps its order."""
    latest: dict[int, int] = {}
    path_clock = dict.fromkeys((1, 2, 3), 0.0)
    arrivals = []
    for sequence, (flow, path, fate, delay) in enumerate(packets, start=1):
        distance = sequence - latest.get(flow, sequence)
        latest[flow] = sequence
        at = max(path_clock[path], sequence * 0.001 + path * 0.002 + delay * spread)
        path_clock[path] = at
        if fate == "arrives":
            arrivals.append((at, sequence, distance, path, flow))
    return sorted(arrivals)


@settings(max_examples=400)
@given(packets=journeys, is_ordered=st.booleans(), data=st.data())
def test_whatever_arrives_is_released_once_and_after_its_predecessor(
    packets: list[tuple[int, int, str, int]], is_ordered: bool, data: st.DataObject
) -> None:
    arrivals = travel(packets, spread=0.02)
    if not is_ordered:
        shuffled = data.draw(st.permutations(arrivals), label="order of arrival")
        times = [arrival[0] for arrival in arrivals]
        arrivals = [(at, *rest[1:]) for at, rest in zip(times, shuffled, strict=True)]
    bench = Bench(timeout=0.1)
    order: list[int] = []
    late: set[int] = set()
    arrived_at: dict[int, float] = {}
    released_at: dict[int, float] = {}

    def note_released(released: list[int]) -> None:
        order.extend(released)
        released_at.update(dict.fromkeys(released, bench.now))

    def wait_until(at: float) -> None:
        while (deadline := bench.buffer.deadline()) is not None and deadline <= at:
            assert deadline > bench.now  # else the caller would spin
            bench.now = deadline
            note_released(bench.release())
        bench.now = at

    for at, sequence, distance, path, _ in arrivals:
        wait_until(at)
        arrived_at[sequence] = at
        late_before = bench.buffer.statistics().late
        note_released(bench.push(sequence, distance, path=path))
        if bench.buffer.statistics().late > late_before:
            late.add(sequence)
    wait_until(inf)

    assert sorted(order) == sorted(arrived_at)
    assert bench.buffer.statistics().held == 0
    assert bench.buffer.deadline() is None
    place = {sequence: index for index, sequence in enumerate(order)}
    for _, sequence, distance, _, _ in arrivals:
        predecessor = sequence - distance
        if distance and predecessor in place and not {predecessor, sequence} & late:
            assert place[predecessor] < place[sequence]
    assert all(released_at[n] - arrived_at[n] <= 0.1 + 1e-9 for n in order)


@settings(max_examples=300)
@given(packets=journeys)
def test_flows_keep_their_order_while_paths_do_and_are_never_silent(
    packets: list[tuple[int, int, str, int]],
) -> None:
    arrivals = travel(packets, spread=0.001)
    bench = Bench()
    for path in (1, 2, 3):
        bench.note(0, path=path)
    order: list[int] = []

    for at, sequence, distance, path, _ in arrivals:
        bench.now = at
        order += bench.push(sequence, distance, path=path)
    order += bench.wait(TIMEOUT)

    flow_of = {sequence: flow for _, sequence, _, _, flow in arrivals}
    for flow in (0, 1, 2):
        own = [sequence for sequence in order if flow_of[sequence] == flow]
        assert own == sorted(own)
    assert bench.buffer.statistics().late == 0


@settings(max_examples=300)
@given(
    packets=st.lists(
        st.tuples(
            st.one_of(st.integers(1, 40), st.integers(1, 2**24), st.integers(65_500, 65_600)),
            st.one_of(st.integers(0, 5), st.integers(0, 65_535)),
            st.integers(0, 255),
            st.floats(0, 0.1),
        ),
        max_size=60,
    ),
    capacity=st.integers(1, 10),
)
def test_no_invented_numbers_break_the_bounds(
    packets: list[tuple[int, int, int, float]], capacity: int
) -> None:
    bench = Bench(capacity=capacity)
    released = 0

    for sequence, distance, path, delay in packets:
        bench.now += delay
        released += len(bench.push(sequence, distance, path=path))
        assert bench.buffer.statistics().held <= capacity
    released += len(bench.wait(TIMEOUT))

    counts = bench.buffer.statistics()
    assert counts.held == 0
    assert released == len(packets) - counts.duplicates


# --- neighbours ----------------------------------------------------------------------------------


def test_neighbours_that_wait_for_nothing_are_released_at_once() -> None:
    bench = Bench()

    assert bench.push_run(1, 5, 0) == [1, 2, 3, 4, 5]
    assert bench.push_run(6, 3) == [6, 7, 8]
    assert bench.counts() == {"released": 8}


def test_neighbours_wait_together_and_others_wait_for_the_last_of_them() -> None:
    bench = Bench()
    bench.note(0, path=2)
    bench.push(1, 0)

    assert bench.push_run(3, 4) == []
    assert bench.push(7) == []
    assert bench.counts() == {"released": 1, "held": 5}
    assert bench.push(2, path=2) == [2, 3, 4, 5, 6, 7]
    assert bench.counts() == {"released": 7}


def test_neighbours_that_were_in_part_there_already_are_delivered_once() -> None:
    bench = Bench()
    bench.push_run(1, 2, 0)
    bench.push(4, 0, path=2)

    assert bench.push_run(3, 3) == [3, 5]
    assert bench.counts() == {"released": 5, "duplicates": 1}


def test_neighbours_across_the_windows_end_are_released() -> None:
    bench = Bench()
    bench.note(0, path=2)
    bench.push(WINDOW - 2, 0)

    assert bench.push_run(WINDOW - 1, 4) == [WINDOW - 1, WINDOW, WINDOW + 1, WINDOW + 2]
    assert bench.push_run(WINDOW + 4, 2) == []
    assert bench.push(WINDOW + 3, path=2) == [WINDOW + 3, WINDOW + 4, WINDOW + 5]


runs = st.lists(
    st.tuples(
        st.integers(1, 40),  # first
        st.integers(1, 6),  # count
        st.integers(0, 8),  # distance
        st.integers(1, 2),  # path
        st.sampled_from([0.0, 0.01, 0.7]),  # seconds later
    ),
    max_size=30,
)


@settings(max_examples=400)
@given(runs=runs, begin=st.sampled_from([0, WINDOW - 20]))
def test_neighbours_meet_the_fate_of_as_many_packets(
    runs: list[tuple[int, int, int, int, float]], begin: int
) -> None:
    together, singly = Bench(), Bench()
    for first, count, distance, path, later in runs:
        assert sorted(together.wait(later)) == sorted(singly.wait(later))
        released = together.push_run(begin + first, count, distance, path=path)
        for index in range(count):
            packet = (begin + first + index).to_bytes(8, "big")
            singly.buffer.push(
                path,
                begin + first + index,
                1 if index else distance,
                DataForm.SEGMENT,
                packet,
                singly.now,
            )
        assert sorted(released) == sorted(singly.release())
        assert together.counts() == singly.counts()
        assert together.buffer.deadline() == singly.buffer.deadline()
