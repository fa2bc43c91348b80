"""Which packets under way on a path are sent again."""

import pytest

from multiwanbond.core.burst import Burst
from multiwanbond.core.repair import OLDEST, InFlight, Relapses, SentRun

PACKET = Burst(b"packet")
RUN = Burst(bytes(40 + 10 * 100), segment_size=100, header_length=40, is_checksum_partial=True)


def sent(*runs: SentRun) -> InFlight:
    flight = InFlight()
    for run in runs:
        flight.on_sent(run)
    return flight


def packet(first: int, *, now: float = 0.0) -> SentRun:
    return SentRun(PACKET, first=first, count=1, number=first + 500, distance=7, now=now)


def test_a_missing_datagram_is_lost_after_three_later_arrivals() -> None:
    flight = sent(*(packet(n) for n in range(1, 6)))

    assert flight.judge(4, [(2, 2)], rtt=1.0, now=0.01) == []
    (lost,) = flight.judge(5, [(2, 2)], rtt=1.0, now=0.01)

    assert (lost.number, lost.distance, lost.sent_at) == (502, 7, 0.0)


def test_one_later_arrival_is_enough_after_a_round_trip_and_a_quarter() -> None:
    flight = sent(packet(1), packet(2))

    assert flight.judge(2, [(1, 1)], rtt=0.02, now=0.02) == []
    assert [lost.number for lost in flight.judge(2, [(1, 1)], rtt=0.02, now=0.03)] == [501]


def test_what_was_judged_once_is_not_lost_again() -> None:
    flight = sent(*(packet(n) for n in range(1, 10)))

    assert len(flight.judge(8, [(2, 3)], rtt=1.0, now=0.01)) == 2
    assert flight.judge(9, [(2, 3)], rtt=1.0, now=0.02) == []


def test_a_segment_is_found_in_its_run_also_when_half_of_it_was_judged_before() -> None:
    run = SentRun(RUN, first=1, count=10, number=1000, distance=5, now=0.0)
    flight = sent(run)

    assert flight.judge(6, [], rtt=1.0, now=0.01) == []
    lost = flight.judge(13, [(5, 5), (9, 10)], rtt=1.0, now=0.02)

    assert [(each.number, each.offset, each.distance) for each in lost] == [
        (1004, 400, 1),
        (1008, 800, 1),
        (1009, 900, 1),
    ]


def test_the_first_segment_keeps_its_distance() -> None:
    flight = sent(SentRun(RUN, first=1, count=10, number=1000, distance=5, now=0.0))

    (lost,) = flight.judge(10, [(1, 1)], rtt=1.0, now=0.01)

    assert (lost.number, lost.offset, lost.distance) == (1000, 0, 5)


def test_a_packet_whose_receiver_has_given_it_up_is_not_repaired() -> None:
    flight = sent(packet(1), packet(2), packet(3), packet(4))

    assert flight.judge(4, [(1, 1)], rtt=0.1, now=OLDEST) == []


def test_everything_under_way_can_be_taken_elsewhere_once() -> None:
    run = SentRun(RUN, first=2, count=10, number=1000, distance=5, now=0.0)
    flight = sent(packet(1), run)

    assert len(flight.take_all(0.1)) == 11
    assert flight.take_all(0.1) == []


def test_what_is_sent_again_ages_from_its_first_transmission() -> None:
    again = SentRun(
        PACKET, first=1, count=1, number=501, distance=7, now=0.3, first_sent_at=0.0, is_urgent=True
    )
    flight = sent(again, packet(2, now=0.3), packet(3, now=0.3), packet(4, now=0.3))

    (lost,) = flight.judge(4, [(1, 1)], rtt=1.0, now=0.9 * OLDEST)

    assert (lost.number, lost.sent_at, lost.is_urgent) == (501, 0.0, True)


def test_a_lost_repair_is_given_up_once_its_packet_is_too_old() -> None:
    again = SentRun(PACKET, first=1, count=1, number=501, distance=7, now=0.3, first_sent_at=0.0)
    flight = sent(again, *(packet(n, now=0.3) for n in (2, 3, 4)))

    assert flight.judge(4, [(1, 1)], rtt=0.05, now=OLDEST) == []


def test_a_piece_of_a_run_knows_its_place_in_it() -> None:
    piece = SentRun(RUN, first=1, count=4, number=1000, distance=1, now=0.0, offset=300)
    flight = sent(piece)

    (lost,) = flight.judge(6, [(3, 3)], rtt=1.0, now=0.01)

    assert (lost.number, lost.offset) == (1002, 500)


# --- what is sent twice


@pytest.mark.parametrize(("loss", "is_likely"), [(0.0, False), (0.005, False), (0.02, True)])
def test_repairs_are_likely_to_be_lost_again_where_there_are_many_and_much_is_lost(
    loss: float, is_likely: bool
) -> None:
    relapses = Relapses()

    answers = [relapses.are_likely(0.1, loss, now=each / 100) for each in range(50)]

    assert answers[-1] == is_likely


def test_repairs_are_not_likely_to_be_lost_again_where_they_are_few() -> None:
    relapses = Relapses()

    answers = [relapses.are_likely(0.05, 0.02, now=each / 50) for each in range(50)]

    assert not any(answers)
