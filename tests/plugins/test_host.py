"""What goes wrong in a plugin ends that plugin, and nothing else."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from multiwanbond.core.burst import Burst
from multiwanbond.plugins import filters
from multiwanbond.plugins.api import Alert, AlertManager, MetricsCollector, PacketFilter, Plugin
from multiwanbond.plugins.host import MOST_WAITING, PATIENCE, PluginHost
from multiwanbond.plugins.registry import Wanted
from tests.core.inner_packets import Shape

from .collected import Log, alert

PACKET = Burst(Shape().packet(b"x"))


def wanted(plugin: type[Plugin], *, label: str = "it", fail_closed: bool = False) -> Wanted:
    return Wanted(label=label, plugin=plugin, options=None, fail_closed=fail_closed)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
async def host(log: Log, nursery: trio.Nursery) -> PluginHost:
    made = PluginHost(tunnel="mwb0", log=log, status=lambda: {"pid": 1})
    await nursery.start(made.run)
    return made


class Second(PacketFilter):
    """Lets every second packet to the peer pass."""

    def outbound(self, bursts: Sequence[Burst]) -> Sequence[Burst]:
        return bursts[::2]


class Crashing(PacketFilter):
    def outbound(self, bursts: Sequence[Burst]) -> Sequence[Burst]:
        raise ZeroDivisionError("division by zero")


class Looping(PacketFilter):
    def outbound(self, bursts: Sequence[Burst]) -> Sequence[Burst]:
        while True:
            pass


class Seeing(PacketFilter):
    takes_runs = True
    seen: list[int] = []  # noqa: RUF012  # shared on purpose

    def inbound(self, bursts: Sequence[Burst]) -> Sequence[Burst]:
        self.seen.extend(burst.segment_count for burst in bursts)
        return bursts


async def test_filters_follow_each_other_and_see_single_packets(host: PluginHost) -> None:
    host.use([wanted(Second), wanted(Second, label="again")])

    kept = host.filters.outbound([Shape().run(bytes(8 * 1000), 1000)])

    assert [burst.segment_count for burst in kept] == [1, 1]
    assert [bytes(burst.packet)[-1000:] for burst in kept] == [bytes(1000)] * 2
    assert host.filters.inbound([PACKET]) == [PACKET]


async def test_a_filter_that_takes_runs_gets_them(host: PluginHost) -> None:
    host.use([wanted(Seeing)])
    Seeing.seen.clear()

    host.filters.inbound([Shape().run(bytes(8000), 1000)])

    assert Seeing.seen == [8]


@pytest.mark.parametrize("fail_closed", [False, True])
async def test_a_filter_that_crashes_is_disabled(
    host: PluginHost, log: Log, *, fail_closed: bool
) -> None:
    host.use([wanted(Crashing, fail_closed=fail_closed)])

    for _ in range(2):
        assert list(host.filters.outbound([PACKET])) == ([] if fail_closed else [PACKET])

    (status,) = host.statuses()
    assert status.failure == "ZeroDivisionError: division by zero"
    (problem,) = log.problems
    assert problem.startswith("Plugin it was disabled: ZeroDivisionError: division by zero.")
    assert ("No packet passes" in problem) == fail_closed


async def test_a_filter_that_loops_for_ever_is_interrupted(
    host: PluginHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters, "MOST_TIME", 0.05)
    host.use([wanted(Looping), wanted(Second, label="next")])

    kept = host.filters.outbound([PACKET, PACKET])

    assert list(kept) == [PACKET]
    looping, following = host.statuses()
    assert (looping.failure or "").startswith("HungError")
    assert following.failure is None


class Collecting(MetricsCollector):
    interval = 10.0
    got: list[Mapping[str, Any]] = []  # noqa: RUF012

    async def collect(self, status: Mapping[str, Any]) -> None:
        self.got.append(status)
        if len(self.got) == 3:
            raise OSError("the disk is full")


class Hanging(MetricsCollector, AlertManager):
    async def collect(self, status: Mapping[str, Any]) -> None:
        await trio.sleep_forever()

    async def alert(self, alert: Alert) -> None:
        await trio.sleep_forever()


class Listening(AlertManager):
    got: list[Alert] = []  # noqa: RUF012

    async def alert(self, alert: Alert) -> None:
        self.got.append(alert)


class Unborn(AlertManager):
    def __init__(self, options: Any, context: Any) -> None:
        raise ValueError("no such thing")


async def test_a_collector_gets_the_status_again_and_again_until_it_fails(
    host: PluginHost, log: Log, autojump_clock: MockClock
) -> None:
    Collecting.got.clear()
    Listening.got.clear()
    host.use([wanted(Collecting, label="one"), wanted(Listening, label="two")])

    await trio.sleep(100)

    assert Collecting.got == [{"pid": 1}] * 3
    assert log.problems == ["Plugin one was disabled: OSError: the disk is full."]
    (told,) = Listening.got
    assert (told.kind, told.fields) == ("plugin_disabled", {"plugin": "one"})


async def test_one_that_hangs_is_disabled_after_a_minute(
    host: PluginHost, autojump_clock: MockClock
) -> None:
    host.use([wanted(Hanging)])

    await trio.sleep(PATIENCE + 1)

    (status,) = host.statuses()
    assert status.failure == "it took longer than 60 s"


async def test_alerts_never_wait_for_a_slow_manager(
    host: PluginHost, autojump_clock: MockClock
) -> None:
    host.use([wanted(Hanging)])
    await trio.lowlevel.checkpoint()
    for _ in range(3 * MOST_WAITING):
        host.alert(alert())

    (status,) = host.statuses()
    assert status.dropped_alerts >= MOST_WAITING


async def test_one_that_cannot_start_hinders_no_other(host: PluginHost, log: Log) -> None:
    Listening.got.clear()
    host.use([wanted(Unborn, label="unborn"), wanted(Listening)])
    await trio.sleep(0.01)
    host.alert(alert())
    await trio.sleep(0.01)

    unborn, listening = host.statuses()
    assert unborn.failure == "ValueError: no such thing"
    assert unborn.kinds == ("alert manager",)
    assert listening.failure is None
    assert Listening.got[-1] == alert()


async def test_what_is_wanted_again_goes_on_and_what_failed_starts_anew(
    host: PluginHost, log: Log
) -> None:
    host.use([wanted(Crashing), wanted(Listening, label="kept"), wanted(Second, label="gone")])
    host.filters.outbound([PACKET])
    kept = host._running[1]

    host.use([wanted(Crashing), wanted(Listening, label="kept")])

    assert host._running[1] is kept
    assert [each.failure for each in host.statuses()] == [None, None]
    stopped = [text for level, text in log.lines if level == logging.INFO and "stopped" in text]
    assert stopped == ["Plugin gone was stopped."]


async def test_without_filters_there_is_no_chain(host: PluginHost) -> None:
    host.use([wanted(Listening)])

    assert not host.filters
    assert host.filters.outbound([PACKET]) == [PACKET]
