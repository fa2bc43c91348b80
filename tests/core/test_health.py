"""Health of a path: its five states, what leads from one to the next, and what both ends know."""

from dataclasses import replace
from typing import Any

import pytest

from multiwanbond.core.events import PathStateChanged
from multiwanbond.core.frames import View
from multiwanbond.core.path_state import TRANSITIONS, PathState, Trigger, next_state
from multiwanbond.core.peer_view import IDLE_INTERVAL, INTERVAL, STALE_AFTER, PeerView
from multiwanbond.core.settings import RoutingMode
from multiwanbond.core.statistics import PathStatistics

from .pair import Pair, settings, udp_packet

UP, DOWN = PathState.UP, PathState.DOWN
DEGRADED, RECOVERING = PathState.DEGRADED, PathState.RECOVERING


def path_of(pair: Pair, end: str, wan: int = 1) -> PathStatistics:
    endpoint = pair.client if end == "client" else pair.server
    return next(p for p in endpoint.statistics().peers[0].paths if p.path_id == wan)


def travelled(pair: Pair, end: str, wan: int = 1) -> list[tuple[PathState, Trigger]]:
    """The states a path came to, and why."""
    return [
        (event.state_to, event.trigger)
        for event in pair.events[end]
        if isinstance(event, PathStateChanged) and event.path_id == wan
    ]


def busy(pair: Pair, seconds: float, *, from_both: bool = False) -> None:
    """Let packets travel, 200 a second, a flow each, so that every path carries some."""
    for number in range(round(seconds * 200)):
        pair.send(udp_packet(b"%d" % number))
        if from_both:
            packet = udp_packet(b"%d" % number, source=bytes([10, 77, 0, 1]), target=CLIENT)
            pair.send(packet, from_client=False)
        pair.run(0.005)


CLIENT = bytes([10, 77, 0, 2])


# --- the states


def test_a_path_starts_is_up_goes_down_recovers_and_is_up_again() -> None:
    pair = Pair()
    pair.connect()
    pair.drop = lambda _up, wan, _data: wan == 1
    busy(pair, 2)
    pair.drop = lambda _up, _wan, _data: False
    pair.run(3)

    for end in ("client", "server"):
        assert travelled(pair, end) == [
            (UP, Trigger.ANSWERED),
            (DOWN, Trigger.SILENT),
            (RECOVERING, Trigger.ANSWERED),
            (UP, Trigger.PROVEN),
        ]


def test_a_path_that_loses_too_much_is_degraded_and_up_again_when_it_does_no_more() -> None:
    pair = Pair(delays=(0.005, 0.005), mode=RoutingMode.ROUND_ROBIN)
    pair.connect()
    busy(pair, 1)
    pair.drop = lambda up, wan, _data: up and wan == 1 and pair.random.random() < 0.1
    busy(pair, 8)
    while_lossy = path_of(pair, "client").state
    pair.drop = lambda _up, _wan, _data: False
    busy(pair, 16)

    assert while_lossy is DEGRADED
    assert travelled(pair, "client")[1:] == [
        (DEGRADED, Trigger.LIMITS_EXCEEDED),
        (UP, Trigger.LIMITS_KEPT),
    ]


def test_a_limit_that_is_crossed_for_a_moment_changes_no_state() -> None:
    pair = Pair(delays=(0.005, 0.005), mode=RoutingMode.ROUND_ROBIN)
    pair.connect()
    busy(pair, 2)
    pair.drop = lambda up, wan, _data: up and wan == 1 and pair.random.random() < 0.5
    busy(pair, 0.5)
    pair.drop = lambda _up, _wan, _data: False
    busy(pair, 5)

    assert travelled(pair, "client") == [(UP, Trigger.ANSWERED)]


def test_a_line_that_is_too_long_is_degraded_and_still_used() -> None:
    pair = Pair(delays=(0.080,))
    pair.connect()
    busy(pair, 3)

    assert path_of(pair, "client").state is DEGRADED
    assert len(pair.received("server")) > 500


@pytest.mark.parametrize(
    ("limits", "is_exceeded"),
    [
        ({"max_latency": 0.05}, True),
        ({"max_latency": 0.07}, False),
        ({"max_jitter": 0.01}, True),
        ({"max_jitter": 0.2}, False),
        ({"max_packet_loss": 1.0}, True),
        ({"max_packet_loss": 30.0}, False),
    ],
)
def test_each_limit_of_the_operator_degrades_a_line_that_exceeds_it(
    limits: dict[str, Any], *, is_exceeded: bool
) -> None:
    """A line of 60 ms that varies by 40 and loses 10 %, with generous limits but for one."""
    generous: dict[str, Any] = {"max_latency": 5.0, "max_jitter": 5.0, "max_packet_loss": 100.0}
    client = settings(is_client=True, wan_count=1)
    wan = replace(client.wans[0], **{**generous, **limits})
    pair = Pair(delays=(0.03,), client=replace(client, wans=(wan,)))
    pair.connect()
    (limit,) = limits
    if limit == "max_packet_loss":
        pair.drop = lambda up, _wan, _data: up and pair.random.random() < 0.1
    for number in range(1200):
        if limit == "max_jitter":
            pair.delays = (0.03 + 0.04 * (number // 10 % 2),)
        busy(pair, 0.005)

    assert path_of(pair, "client").state is (DEGRADED if is_exceeded else UP)


@pytest.mark.parametrize(
    ("interval", "threshold", "least", "most"), [(0.05, 2, 0.0, 0.4), (0.2, 10, 1.0, 2.6)]
)
def test_failures_are_noticed_after_so_many_probes_at_that_interval(
    interval: float, threshold: int, least: float, most: float
) -> None:
    client = settings(is_client=True, wan_count=2)
    health: dict[str, Any] = {
        "health_check_interval": interval,
        "failure_threshold": threshold,
    }
    wans = tuple(replace(wan, **health) for wan in client.wans)
    pair = Pair(delays=(0.01, 0.01), client=replace(client, wans=wans))
    pair.connect()
    busy(pair, 2)
    cut_at = pair.now
    pair.drop = lambda _up, wan, _data: wan == 1
    busy(pair, 4)

    path = path_of(pair, "client")
    assert path.state is DOWN
    assert least <= path.state_since - cut_at <= most


@pytest.mark.parametrize("state", PathState)
def test_every_state_but_down_ends_when_a_path_goes_silent_or_loses_its_link(
    state: PathState,
) -> None:
    assert next_state(state, Trigger.SILENT) is DOWN
    assert next_state(state, Trigger.LINK_LOST) is DOWN


def test_every_state_can_be_reached_and_left() -> None:
    reached = set(TRANSITIONS.values())
    left = {state for state, _ in TRANSITIONS}

    assert reached | {PathState.STARTING} == set(PathState)
    assert left == set(PathState)


# --- how soon


@pytest.mark.parametrize("delay", [0.005, 0.020])
def test_a_line_that_goes_silent_on_an_idle_bond_is_down_within_a_second(delay: float) -> None:
    worst = {"client": 0.0, "server": 0.0}
    for phase in range(24):
        pair = Pair(delays=(delay, 0.01))
        pair.connect()
        pair.run(15 + phase * 0.0331)
        cut_at = pair.now
        pair.drop = lambda _up, wan, _data: wan == 1
        pair.run(1.0)
        assert path_of(pair, "server").suspicions == 1  # it was told, and uses another
        pair.run(1.0)
        for end in worst:
            path = path_of(pair, end)
            assert path.state is DOWN
            worst[end] = max(worst[end], path.state_since - cut_at)

    assert worst["client"] < 1.0
    assert worst["server"] < 1.5


def test_a_line_that_goes_silent_under_load_is_down_within_a_second() -> None:
    worst = 0.0
    for phase in range(10):
        pair = Pair()
        pair.connect()
        busy(pair, 1 + phase * 0.02)
        cut_at = pair.now
        pair.drop = lambda _up, wan, _data: wan == 1
        busy(pair, 1.5)
        for end in ("client", "server"):
            path = path_of(pair, end)
            assert path.state is DOWN
            worst = max(worst, path.state_since - cut_at)

    assert worst < 0.8


# --- both directions


def test_each_end_knows_what_the_other_measures() -> None:
    pair = Pair(delays=(0.005, 0.005), mode=RoutingMode.ROUND_ROBIN)
    pair.connect()
    pair.drop = lambda up, wan, _data: not up and wan == 1 and pair.random.random() < 0.2
    busy(pair, 8, from_both=True)

    ours, theirs = path_of(pair, "client"), path_of(pair, "server")
    assert ours.peer_view is not None
    assert theirs.peer_view is not None
    # Only the server loses what it sends, and only by being told does the client know.
    assert ours.loss < 0.02
    assert ours.peer_view.loss > 0.1
    assert ours.peer_view.loss == pytest.approx(theirs.loss, abs=0.05)
    assert theirs.peer_view.loss < 0.02
    assert ours.peer_view.state is DEGRADED
    assert ours.peer_view.rtt == pytest.approx(theirs.rtt, rel=0.5)
    assert ours.peer_view.capacity > 0


def test_a_path_that_is_down_shows_nothing_of_what_the_peer_once_said() -> None:
    pair = Pair()
    pair.connect()
    busy(pair, 2)
    before = path_of(pair, "client").peer_view
    pair.drop = lambda _up, wan, _data: wan == 1
    busy(pair, 2)

    assert before is not None
    assert path_of(pair, "client").peer_view is None


def test_a_view_is_told_each_second_rarely_when_idle_and_at_once_when_the_state_changes() -> None:
    view = PeerView()
    view.tell(UP, rtt=0.01, jitter=0.0, loss=0.0, capacity=1e6, now=0.0)

    assert not view.is_due(UP, INTERVAL - 0.1, is_idle=False)
    assert view.is_due(UP, INTERVAL, is_idle=False)
    assert not view.is_due(UP, IDLE_INTERVAL - 0.1, is_idle=True)
    assert view.is_due(DEGRADED, 0.1, is_idle=True)


def test_a_view_is_forgotten_that_is_not_renewed_and_one_of_an_unknown_state_is_not_taken() -> None:
    view = PeerView()
    view.on_view(View(state=2, loss=6554, rtt_us=12_000, jitter_us=500, capacity=5), 0.0)
    view.on_view(View(state=77, loss=0, rtt_us=0, jitter_us=0, capacity=0), 1.0)

    heard = view.statistics(2.0)

    assert heard is not None
    assert (heard.state, round(heard.loss, 2), heard.rtt) == (UP, 0.1, 0.012)
    assert view.statistics(STALE_AFTER + 1.0) is None
