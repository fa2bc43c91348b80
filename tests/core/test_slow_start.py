"""Acks are thinned beside a young sender: few of them, the newest, none lost, and not for long."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from multiwanbond.core.burst import Burst
from multiwanbond.core.flow import Flow
from multiwanbond.core.ip import flow_key
from multiwanbond.core.slow_start import (
    DEEP_BACKLOG,
    FEW,
    FIRST_BYTES,
    FLAT_ROUNDS,
    GROWS,
    LEAST_GAP,
    LEAST_RISE,
    MOST_FLOWS,
    MOST_GAP,
    OVER_AFTER,
    PER_ROUND,
    WAITS,
    WAITS_FOR,
    AckThinner,
)

from .inner_packets import ACK, CWR, ECE, FIN, ICMP, PSH, SYN, UDP, Shape
from .thinned_download import (
    RATE,
    SACK,
    SEGMENT,
    START,
    TIMESTAMPS,
    TRAIN,
    Download,
    answer,
    backlogged,
    bulk,
    line,
    set_rate,
)

# --- how many pass


@pytest.mark.parametrize("rtt", [0.002, 0.01, 0.04, 0.08])
def test_few_acks_a_round_trip_pass_beside_a_backlog_and_no_two_look_like_a_train(
    rtt: float,
) -> None:
    download = Download()
    download.measure(rtt)
    download.flow.backlog = 40_000
    download.go_on(rtt + 0.05, rtt=rtt)
    whole = rtt + 0.04

    passed = download.go_on(1.0, rtt=whole)

    assert passed <= PER_ROUND / whole + 1
    assert passed >= 0.8 / MOST_GAP
    times = [at for at, _ in download.passed]
    assert all(after - before > TRAIN for before, after in pairwise(times))


def test_no_ack_waits_long_even_if_the_round_trip_is_long() -> None:
    download = backlogged(rtt=1.0)

    download.go_on(2.0, rtt=1.2)

    times = [at for at, _ in download.passed if at > START + 2.5]
    assert max(after - before for before, after in pairwise(times)) < MOST_GAP + 0.002


# --- which pass


def test_of_acks_that_are_held_the_newest_passes() -> None:
    download = backlogged()
    acks = [download.next_answer() for _ in range(5)]

    at_once = [packet for ack in acks for packet in download.receive(ack)]

    assert at_once == []
    assert download.wait(MOST_GAP) == acks[-1:]


def test_the_last_ack_goes_when_the_deadline_says_so() -> None:
    download = backlogged(rtt=1.0)
    held_at, last = download.now, download.next_answer()

    download.receive(last)

    deadline = download.thinner.deadline()
    assert deadline is not None
    assert held_at < deadline <= held_at + MOST_GAP
    download.wait(deadline - download.now - 0.001)
    assert download.passed[-1][1] != last
    assert download.wait(0.001001) == [last]
    assert download.thinner.deadline() is None
    assert download.wait(1.0) == []


def test_a_newer_ack_that_may_pass_takes_the_place_of_one_that_is_held() -> None:
    download = backlogged()
    held, newer = download.next_answer(), download.next_answer()
    download.receive(held)
    deadline = download.thinner.deadline()
    assert deadline is not None

    download.now = deadline - 1e-9  # the owner's timer has not rung yet
    assert download.receive(newer) == []
    download.now = deadline

    assert download.receive() == [newer]


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param({"options": TIMESTAMPS + SACK}, id="sack"),
        pytest.param({"flags": ACK | FIN}, id="fin"),
        pytest.param({"flags": ACK | PSH, "payload": b"data"}, id="data"),
        pytest.param({"payload": b"data"}, id="data without push"),
        pytest.param({"flags": ACK | ECE}, id="congestion echo"),
        pytest.param({"flags": ACK | CWR}, id="window reduced"),
        pytest.param({"flags": ACK | 0x04}, id="reset"),
        pytest.param({"flags": ACK | 0x20}, id="urgent"),
    ],
)
def test_an_ack_that_says_more_passes_at_once_after_the_one_that_is_held(
    shape: dict[str, int | bytes],
) -> None:
    download = backlogged()
    held, telling = download.next_answer(), download.next_answer(**shape)
    assert download.receive(held) == []

    assert download.receive(telling) == [held, telling]
    assert download.thinner.deadline() is None


def test_a_sack_of_a_host_without_timestamps_passes_at_once() -> None:
    """Windows sends none: its header with one gap is as long as another's with timestamps."""
    download = backlogged()
    held, telling = download.next_answer(options=b""), download.next_answer(options=SACK)
    assert download.receive(held) == []

    assert download.receive(telling) == [held, telling]


def test_a_run_of_data_passes_after_the_ack_that_is_held() -> None:
    download = backlogged()
    held = download.next_answer()
    data = download.next_answer(payload=bytes(2 * SEGMENT))
    run = Burst(data, segment_size=SEGMENT, header_length=len(data) - 2 * SEGMENT)
    assert download.receive(held) == []

    passed = download.thinner.thin([run], download.lines, download.now)

    assert [bytes(burst.packet) for burst in passed] == [held, data]
    assert download.thinner.deadline() is None


def test_repeated_acks_and_new_windows_pass_at_once_after_the_one_that_is_held() -> None:
    """They tell of a gap, or that the receiver takes more: both are waited for."""
    download = backlogged()
    held = download.next_answer()
    repeated, wider = answer(download.acked), answer(download.acked, window=99)

    passed = [*download.receive(held), *download.receive(repeated), *download.receive(wider)]

    assert passed == [held, repeated, wider]


def test_an_old_ack_that_comes_late_is_left_out_and_changes_nothing() -> None:
    download = backlogged()
    old = download.next_answer()
    held = download.next_answer()
    download.receive(held)

    assert download.receive(old) == []
    assert download.wait(MOST_GAP) == [held]


def test_an_old_ack_that_tells_of_a_gap_passes() -> None:
    download = backlogged()
    old = answer(download.acked, options=SACK)
    held = download.next_answer()
    download.receive(held)

    assert download.receive(old) == [held, old]


def test_every_ack_tells_the_round_trip() -> None:
    """A hole makes some packets of a round late, and HyStart takes these for a full line."""
    download = Download()
    download.measure(0.04)
    for _ in range(3):
        download.send()
    download.wait(0.04)
    download.receive(download.next_answer())
    download.wait(0.03)
    download.receive(download.next_answer())

    download.wait(0.003)

    assert download.receive(download.next_answer()) == []


def test_what_comes_at_one_instant_keeps_its_order() -> None:
    download = backlogged()
    acks = [download.next_answer() for _ in range(3)]
    data = download.next_answer(payload=b"data")
    last = download.next_answer()

    assert download.receive(*acks, data, last) == [acks[-1], data]
    assert download.wait(MOST_GAP) == [last]


# --- when there is nothing to hide


def test_a_flow_without_backlog_whose_round_trip_is_steady_keeps_all_acks() -> None:
    download = Download()
    download.measure(0.04)
    acks = [download.next_answer() for _ in range(50)]

    passed = []
    for ack in acks:
        download.send()
        passed += download.receive(ack)
        download.wait(0.0001)

    assert passed == acks


def test_of_acks_of_one_instant_the_first_and_the_last_are_enough() -> None:
    download = Download()
    download.measure(0.04)
    acks = [download.next_answer() for _ in range(10)]

    assert download.receive(*acks) == acks[:1]
    assert download.wait(LEAST_GAP) == acks[-1:]


def test_a_backlog_of_a_few_packets_is_none() -> None:
    download = Download()
    download.measure(0.04)

    download.flow.backlog = FEW

    assert not download.loses_acks()


def test_all_acks_pass_until_the_round_trip_is_known() -> None:
    download = Download()
    download.flow.backlog = 40_000
    download.send()
    download.acked -= 10 * SEGMENT  # what came before is acknowledged now

    assert not download.loses_acks()


def test_all_acks_pass_while_there_is_no_path() -> None:
    download = backlogged()

    download.lines = ()

    assert not download.loses_acks()


def test_the_acks_of_a_flow_that_has_moved_are_thinned() -> None:
    download = Download()
    download.measure(0.04)
    assert not download.loses_acks()

    download.flow.has_moved = True

    assert download.loses_acks()


@pytest.mark.parametrize(
    ("rtt", "rise", "is_thinned"),
    [
        pytest.param(0.01, 0.5 * LEAST_RISE, False, id="little"),
        pytest.param(0.01, 1.5 * LEAST_RISE, True, id="much"),
        pytest.param(0.2, 0.2 / 16, False, id="little of a long one"),
        pytest.param(0.2, 0.2 / 6, True, id="much of a long one"),
    ],
)
def test_acks_are_thinned_once_the_round_trip_has_grown(
    rtt: float, rise: float, is_thinned: bool
) -> None:
    download = Download()
    download.measure(rtt)

    download.measure(rtt + rise)

    assert download.loses_acks() == is_thinned


def test_what_another_line_is_longer_by_counts_as_part_of_the_round_trip() -> None:
    near, far = line(1, delay=0.005), line(2, delay=0.065)
    alone, helped = backlogged(near, rtt=0.01), backlogged(near, far, rtt=0.01)
    for download in (alone, helped):
        download.receive(download.next_answer())

    sooner, later = alone.thinner.deadline(), helped.thinner.deadline()

    assert sooner is not None
    assert later is not None
    assert later > sooner


# --- when it is over


def test_thinning_ends_when_packets_wait_long_at_rates_that_do_not_grow() -> None:
    download = bulk()
    download.flow.waited = 2 * WAITS
    assert download.loses_acks()

    download.wait(WAITS_FOR)

    download.receive(download.next_answer())
    assert not download.loses_acks()
    assert not download.flow.is_content


def test_thinning_goes_on_while_the_lines_turn_out_to_carry_more() -> None:
    download, rate = bulk(), RATE
    download.flow.waited = 2 * WAITS

    for _ in range(10):
        assert download.loses_acks()
        download.wait(0.6 * WAITS_FOR)
        rate *= 1.1 * GROWS
        download.flow.backlog = int(0.05 * rate)
        set_rate(download.lines[0], rate)


def test_thinning_goes_on_while_packets_wait_only_now_and_then() -> None:
    download = bulk()

    for _ in range(10):
        download.flow.waited = 2 * WAITS
        assert download.loses_acks()
        download.wait(0.6 * WAITS_FOR)
        download.flow.waited = WAITS / 2
        assert download.loses_acks()


def round_of(download: Download, segments: int) -> None:
    """Send so many segments, of which nothing waits here, and get the ack of all of them."""
    for _ in range(segments):
        download.send()
    download.wait(0.03)
    download.acked = download.next - SEGMENT
    download.receive(download.next_answer())
    download.wait(MOST_GAP)


@pytest.mark.parametrize(("rounds", "is_thinned"), [(FLAT_ROUNDS, True), (FLAT_ROUNDS + 1, False)])
def test_thinning_ends_when_a_sender_has_no_more_on_the_way_than_three_rounds_ago(
    rounds: int, *, is_thinned: bool
) -> None:
    download = bulk(backlog=0)

    for _ in range(rounds):
        round_of(download, 100)

    assert download.loses_acks() == is_thinned
    assert download.flow.is_content != is_thinned


def test_thinning_goes_on_while_a_sender_has_more_on_the_way_every_round() -> None:
    download = bulk(backlog=0)

    for number in range(3 * FLAT_ROUNDS):
        round_of(download, int(20 * 1.5**number))

    assert download.loses_acks()


@pytest.mark.parametrize("download_of", [bulk, backlogged], ids=["bulk", "young"])
def test_thinning_ends_for_good_when_very_much_waits(download_of: Callable[[], Download]) -> None:
    download = download_of()
    assert download.loses_acks()

    download.flow.backlog = int(1.1 * DEEP_BACKLOG * RATE)

    assert not download.loses_acks()
    download.flow.backlog = 40_000
    assert not download.loses_acks()


def test_a_flow_on_one_line_may_wait_there_as_long_as_it_is_young() -> None:
    download = backlogged()
    download.flow.waited = 2 * WAITS

    for _ in range(5):
        assert download.loses_acks()
        download.wait(WAITS_FOR)


def test_thinning_ends_after_some_seconds_without_losing_the_ack_that_is_held() -> None:
    download = backlogged()
    download.wait(START + OVER_AFTER - download.now - LEAST_GAP / 2)
    download.receive(download.next_answer())
    last = download.next_answer()
    assert download.receive(last) == []

    passed = download.wait(MOST_GAP)
    download.receive()

    assert passed == [last]
    assert not download.thinner.is_busy
    assert not download.loses_acks()


# --- whose acks


def test_a_flow_that_nobody_saw_begin_is_left_alone() -> None:
    download = Download(octets=FIRST_BYTES)

    download.measure(0.04)
    download.flow.backlog = 40_000

    assert not download.thinner.is_busy
    assert not download.loses_acks()


@pytest.mark.parametrize("protocol", [UDP, ICMP])
def test_other_protocols_pass(protocol: int) -> None:
    download = backlogged()
    packet = bytearray(answer(download.acked))
    packet[9] = protocol

    assert download.receive(*[bytes(packet)] * 5) == [bytes(packet)] * 5


def test_acks_of_other_flows_pass_and_do_not_release_those_that_are_held() -> None:
    download = backlogged()
    held = download.next_answer()
    other = bytearray(answer(5))
    other[20:22] = b"\1\2"

    assert download.receive(held, bytes(other), bytes(other)) == [bytes(other)] * 2
    assert download.wait(MOST_GAP) == [held]


def test_what_is_no_whole_packet_passes() -> None:
    download, stumps = backlogged(), [b"", b"\x45", answer(1)[:30], bytes(60)]

    assert download.receive(*stumps) == stumps


def test_no_more_than_so_many_flows_are_thinned_at_a_time() -> None:
    thinner = AckThinner()
    for number in range(MOST_FLOWS):
        packet = bytearray(Shape().packet(bytes(SEGMENT)))
        packet[20:22] = number.to_bytes(2, "big")
        packet[15] = 99
        thinner.on_data(Flow(flow_key(packet), START), Burst(bytes(packet)), START)
    late = Download(thinner=thinner)

    late.measure(0.04)
    late.flow.backlog = 40_000

    assert late.flow.slow_start is None
    assert not late.loses_acks()
    late.wait(OVER_AFTER)
    late.receive()
    assert not thinner.is_busy


def test_ipv6_is_treated_alike() -> None:
    download = Download(version=6)
    download.measure(0.04)
    assert not download.loses_acks()

    download.flow.backlog = 40_000

    assert download.loses_acks()


@pytest.mark.parametrize("before", [0, 500, 2500, 100_000])
def test_sequence_numbers_may_wrap_around(before: int) -> None:
    download = Download(first=0x1_0000_0000 - before)
    download.measure(0.04)
    download.flow.backlog = 40_000
    download.go_on(0.1, rtt=0.08)

    passed = download.go_on(1.0, rtt=0.08)

    assert 0.8 / MOST_GAP <= passed <= PER_ROUND / 0.08 + 1
    acked = [int.from_bytes(packet[28:32], "big") for _, packet in download.passed]
    assert all(0 < (after - before & 0xFFFFFFFF) < 1 << 31 for before, after in pairwise(acked))


def test_runs_of_data_make_the_round_trip_known_as_packets_do() -> None:
    download = Download()
    run = Shape(sequence=download.next).run(bytes(10 * SEGMENT), SEGMENT)
    download.thinner.on_data(download.flow, run, download.now)
    download.wait(0.04)
    download.acked += 9 * SEGMENT
    download.receive(download.next_answer())
    download.wait(MOST_GAP)

    download.flow.backlog = 40_000

    assert download.loses_acks()


def test_the_round_trip_is_that_of_the_handshake_already() -> None:
    download = Download(first=1001)
    opening = Shape(sequence=1000, flags=SYN | ACK).packet(b"")
    download.thinner.on_data(download.flow, Burst(opening), download.now)
    download.wait(0.04)
    download.receive(answer(download.acked))

    download.measure(0.06)

    assert download.loses_acks()


# --- what is left alone, and the train


def test_over_a_single_line_every_ack_passes() -> None:
    download = Download()
    download.lines = (line(),)
    download.measure(0.02)

    assert download.go_on(0.5, rtt=0.1) >= 0.95 * (0.5 - 0.1) / 0.001


def test_before_the_window_has_sixteen_segments_every_ack_passes() -> None:
    download = Download(octets=0)
    download.measure(0.02)

    assert download.receive(download.next_answer(), download.next_answer())[-1:] != []
    download.send()
    assert len(download.receive(download.next_answer())) == 1


def test_one_pause_in_every_round_breaks_the_train_of_a_steady_flow() -> None:
    download = Download()
    download.measure(0.02)
    before = len(download.passed)

    download.go_on(0.4, rtt=0.02)

    times = [at for at, _ in download.passed[before:]]
    pauses = [at for at, after in pairwise(times) if after - at > TRAIN]
    assert all(later - earlier <= 1.5 * 0.02 + MOST_GAP for earlier, later in pairwise(pauses))
    assert len(pauses) >= 0.4 / (0.02 + 2 * LEAST_GAP) - 3
    assert len(times) > 0.7 * (0.4 - 0.02) / 0.001
