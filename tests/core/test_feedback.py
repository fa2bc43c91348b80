"""The peer hears of its datagrams soon, twice, and on thin ways back less often."""

import pytest

from multiwanbond.core.feedback import (
    GAP_DELAY,
    INTERVAL,
    THIN_INTERVAL,
    THIN_RATE,
    WAYS,
    Feedback,
)
from multiwanbond.core.frames import encode_frames
from multiwanbond.core.path import Path
from multiwanbond.core.settings import HealthSettings
from multiwanbond.core.wire import OVERHEAD

START = 100.0
QUICK_RATE = 10 * THIN_RATE


def way(path_id: int, *, rate: float = QUICK_RATE, rtt: float = 0.02) -> Path:
    path = Path(path_id, wan_id=path_id, is_ours=True, health=HealthSettings(), now=START)
    path.capacity.on_train(rate, START)
    path.rtt.on_sample(rtt, START)
    return path


def ids(feedback: Feedback, paths: list[Path], now: float) -> list[int]:
    """The paths by which something leaves now."""
    return [path.path_id for path, _ in feedback.take(paths, now)]


def times(paths: list[Path], *, seconds: float) -> dict[int, list[float]]:
    """When an ack leaves by which path while something arrives every millisecond."""
    feedback, left = Feedback(), {path.path_id: list[float]() for path in paths}
    for tick in range(round(seconds * 1000)):
        now = START + tick / 1000
        for path_id in ids(feedback, paths, now):
            left[path_id].append(now)
        if paths[0] not in feedback.unreported:
            feedback.want(paths[0], now)
    return left


def test_an_arrival_is_reported_after_the_interval_and_once() -> None:
    feedback, path = Feedback(), way(1)
    feedback.want(path, START)
    feedback.want(path, START + INTERVAL / 2)

    assert feedback.deadline() == START + INTERVAL
    assert ids(feedback, [path], START + 0.9 * INTERVAL) == []
    assert ids(feedback, [path], START + INTERVAL) == [1]
    assert feedback.deadline() is None
    assert ids(feedback, [path], START + 2 * INTERVAL) == []


def test_what_is_missing_is_reported_sooner() -> None:
    feedback, path = Feedback(), way(1)
    feedback.want(path, START)
    feedback.want_soon(path, START)

    assert feedback.deadline() == START + GAP_DELAY


def test_every_ack_leaves_by_the_two_quickest_ways() -> None:
    feedback = Feedback()
    paths = [way(1, rtt=0.06), way(2, rtt=0.01), way(3, rtt=0.03)]
    feedback.want(paths[0], START)

    assert ids(feedback, paths, START + INTERVAL) == [2, 3]
    assert WAYS == 2


def test_one_ack_tells_of_all_paths_on_which_something_arrived() -> None:
    feedback, paths = Feedback(), [way(1), way(2)]
    for path in paths:
        feedback.want(path, START)

    (_, frames), (_, same) = feedback.take(paths, START + INTERVAL)

    assert frames is same
    [ack] = frames
    assert [report.path_id for report in ack.paths] == [1, 2]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("rate", "pause"), [(QUICK_RATE, INTERVAL), (THIN_RATE / 2, THIN_INTERVAL)]
)
def test_a_thin_way_carries_an_ack_every_20_ms(rate: float, pause: float) -> None:
    [left] = times([way(1, rate=rate)], seconds=1.0).values()

    assert len(left) == pytest.approx(1.0 / (pause + 0.001), rel=0.1)


def test_a_thin_way_beside_a_quick_one_delays_nothing() -> None:
    left = times([way(1), way(2, rate=THIN_RATE / 2)], seconds=1.0)

    assert len(left[1]) > 1.5 * len(left[2])
    assert len(left[1]) == pytest.approx(90, abs=5)


def test_what_is_missing_is_reported_at_once_on_a_thin_way_too() -> None:
    feedback, path = Feedback(), way(1, rate=THIN_RATE / 2)
    feedback.want(path, START)
    feedback.take([path], START + INTERVAL)
    feedback.want_soon(path, START + INTERVAL)

    assert ids(feedback, [path], START + INTERVAL + GAP_DELAY) == [1]


def test_very_many_paths_share_the_work_of_telling_of_them() -> None:
    feedback, paths = Feedback(), [way(number, rtt=number / 1000) for number in range(1, 256)]
    for path in paths:
        feedback.want(path, START)

    sent = feedback.take(paths, START + INTERVAL)

    acks = [(by.path_id, frames[0]) for by, frames in sent]
    told = [report.path_id for _, ack in acks for report in ack.paths]  # type: ignore[union-attr]
    assert sorted(told) == sorted(2 * [path.path_id for path in paths])
    assert max(len(encode_frames([ack])) for _, ack in acks) + OVERHEAD <= 1200
    assert len({by for by, _ in acks}) == len(acks)
    assert not feedback.unreported


def test_large_acks_take_no_more_than_a_tenth_of_a_thin_way() -> None:
    paths = [way(number, rate=50e3) for number in range(1, 13)]
    feedback, octets, told = Feedback(), dict.fromkeys(paths, 0), dict.fromkeys(paths, 0)

    for tick in range(2000):
        for path in paths:
            feedback.want(path, START + tick / 1000)
        for by, frames in feedback.take(paths, START + tick / 1000):
            octets[by] += len(encode_frames(frames)) + OVERHEAD
            for report in frames[0].paths:  # type: ignore[union-attr]
                told[paths[report.path_id - 1]] += 1

    assert max(octets.values()) <= 0.12 * 50e3 * 2
    assert min(told.values()) >= 2 * 2 / 0.1


def test_without_any_way_nothing_is_kept_for_later() -> None:
    feedback, path = Feedback(), way(1)
    feedback.want(path, START)

    assert ids(feedback, [], START + INTERVAL) == []
    assert feedback.deadline() is None
