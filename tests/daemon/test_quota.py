"""What metered WANs may carry: counted over bonds, restarts and periods, by clocks that are wrong.

Everything is under a virtual clock; only the file is real.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from multiwanbond.config.metered import QuotaAction, QuotaPeriod
from multiwanbond.config.model import Wan
from multiwanbond.config.notations import HostPort
from multiwanbond.core.datagram import Address
from multiwanbond.core.path_state import PathState
from multiwanbond.core.statistics import EndpointStatistics, PathStatistics, PeerStatistics
from multiwanbond.daemon import quota_file
from multiwanbond.daemon.machine import WanWish
from multiwanbond.daemon.plan import ClientPlan, QuotaPlan
from multiwanbond.daemon.quota import LOOK_WHETHER_TO_SAVE, SAVE_AFTER, Quotas
from multiwanbond.daemon.quota_period import DOUBT_AFTER, TRUST_AFTER, begin_of, end_of
from multiwanbond.daemon.report import Line

LTE = 2
MB = 1_000_000
NOVEMBER = datetime(2026, 11, 20, 12, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, 0, 1, tzinfo=UTC)


def lte(**wanted: Any) -> Wan:
    """A metered WAN, of 100 MB a month unless that is said otherwise."""
    return Wan(id=LTE, name="LTE", interface="wwan0", **{"quota": 100e6, **wanted})


def statistics(
    octets: int, *, datagrams: int = 0, bond: float = 1.0, host: str | None = "198.51.100.1"
) -> EndpointStatistics:
    """A client whose LTE path has carried so much, half of it each way, since its bond opened."""
    path = PathStatistics(
        path_id=LTE,
        state=PathState.UP,
        state_since=0.0,
        remote=None if host is None else Address(host, 9000),
        rtt=None,
        jitter=None,
        loss=0.0,
        capacity=1e6,
        queue=0.0,
        suspicions=0,
        sent_datagrams=datagrams // 2,
        sent_bytes=octets // 2,
        received_datagrams=datagrams - datagrams // 2,
        received_bytes=octets - octets // 2,
    )
    peer = PeerStatistics(
        name="vps",
        public_key=bytes(32),
        is_connected=True,
        connected_since=bond,
        cipher=None,
        inner_mtu=None,
        handshakes=1,
        sent_packets=0,
        sent_bytes=0,
        received_packets=0,
        received_bytes=0,
        repaired_packets=0,
        copied_packets=0,
        compressed_packets=0,
        saved_bytes=0,
        parity_datagrams=0,
        recovered_packets=0,
        queued_bytes=0,
        shed_packets=0,
        unsendable_packets=0,
        paths=(path,),
        reorder=None,
    )
    return EndpointStatistics(peers=(peer,), dropped={}, unroutable_packets=0)


class Meter:
    """The quotas of one daemon after the other, on a machine whose clocks we set."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "mwb0.quota.json"
        self.wall = NOVEMBER
        self.now = 0.0
        self.lines: list[Line] = []
        self.octets = 0
        self.bond = 1.0
        self.quotas: Quotas

    def start(self, *wans: Wan) -> None:
        """Start a daemon, which has no bond yet."""
        self.octets, self.bond = 0, self.bond + 1
        self.quotas = Quotas(self.plan(*wans), self.lines.append, self.now, lambda: self.wall)

    def plan(self, *wans: Wan) -> QuotaPlan:
        return QuotaPlan(file=self.file, wans=wans)

    def carry(self, octets: int) -> bool:
        """Let a second pass in which so much is carried; return whether something follows."""
        self.octets += octets
        self.now += 1.0
        self.wall += timedelta(seconds=1)
        return self.quotas.count(statistics(self.octets, bond=self.bond), self.now)

    def wait(self, seconds: float) -> None:
        """Let time pass in which nothing is carried."""
        self.now += seconds
        self.wall += timedelta(seconds=seconds)
        self.carry(0)

    def save(self) -> None:
        quota_file.write_counts(self.file, self.quotas._counts)

    @property
    def used(self) -> int:
        (described,) = self.quotas.describe()
        return described["used_bytes"]

    @property
    def said(self) -> list[str]:
        return [line.kind for line in self.lines]


@pytest.fixture
def meter(tmp_path: Path) -> Meter:
    return Meter(tmp_path)


# --- what is counted


def test_both_directions_and_the_headers_around_each_datagram_count(meter: Meter) -> None:
    meter.start(lte())

    meter.quotas.count(statistics(5000, datagrams=10), 1.0)

    assert meter.used == 5000 + 10 * 28


def test_headers_of_ipv6_are_longer_and_a_lost_link_changes_nothing(meter: Meter) -> None:
    meter.start(lte())

    meter.quotas.count(statistics(5000, datagrams=10, host="2001:db8::1"), 1.0)
    meter.quotas.count(statistics(5000, datagrams=10, host=None), 2.0)
    meter.quotas.count(statistics(5500, datagrams=11, host="2001:db8::1"), 3.0)

    assert meter.used == 5500 + 11 * 48


def test_a_new_bond_counts_from_its_beginning(meter: Meter) -> None:
    meter.start(lte())
    meter.quotas.count(statistics(5000, bond=1.0), 1.0)

    meter.quotas.count(statistics(7000, bond=2.0), 2.0)

    assert meter.used == 12_000


def test_a_path_that_leaves_its_bond_and_comes_back_is_not_counted_twice(meter: Meter) -> None:
    meter.start(lte())
    full = statistics(5000)
    without = replace(full, peers=(replace(full.peers[0], paths=()),))

    for each in (full, without, statistics(6000)):
        meter.quotas.count(each, 1.0)

    assert meter.used == 6000


def test_a_quota_that_is_added_counts_from_then_on(meter: Meter) -> None:
    meter.start()
    meter.carry(50 * MB)

    meter.quotas.reconfigure(meter.plan(lte()), statistics(meter.octets, bond=meter.bond), 1.0)
    meter.carry(3 * MB)

    assert meter.used == 3 * MB


# --- what follows


def test_a_wan_whose_quota_is_used_up_becomes_a_reserve(meter: Meter) -> None:
    meter.start(lte())
    fibre = Wan(id=1, interface="eth0")

    changes = [meter.carry(octets) for octets in (99 * MB, MB, MB)]

    assert changes == [False, True, False]
    limited = meter.quotas.limited((fibre, lte()))
    assert [wan.only_when_needed for wan in limited] == [False, True]
    assert [wan.enabled for wan in limited] == [True, True]


def test_or_is_left_out_if_the_operator_wants_that(meter: Meter) -> None:
    wan = lte(quota_action=QuotaAction.OFF)
    meter.start(wan)
    remote = HostPort("198.51.100.1", 9000)
    wishes = [WanWish(id=n, name=str(n), interface=f"eth{n}") for n in (1, LTE)]
    role = ClientPlan(wans=tuple((wish, remote) for wish in wishes), discovery=None)

    before = meter.quotas.left(role)
    meter.carry(100 * MB)
    after = meter.quotas.left(role)

    assert before == role
    assert isinstance(after, ClientPlan)
    assert [wish.id for wish, _ in after.wans] == [1]
    assert [each.enabled for each in meter.quotas.limited((wan,))] == [False]


def test_the_operator_hears_once_at_80_and_once_at_100_percent(meter: Meter) -> None:
    meter.start(lte())

    for _ in range(130):
        meter.carry(MB)

    assert meter.said == ["quota_nearly_used_up", "quota_used_up"]
    assert [line.level for line in meter.lines] == [logging.WARNING] * 2
    assert [line.text for line in meter.lines] == [
        "WAN LTE has used 80% of its quota of 100MB: 20MB are left until 2026-12-01.",
        "WAN LTE has used up its quota of 100MB: it is in reserve until 2026-12-01.",
    ]
    assert meter.lines[1].fields == {
        "wan": "LTE",
        "used_bytes": 100 * MB,
        "quota_bytes": 100 * MB,
    }


def test_a_quota_that_is_raised_lets_the_wan_work_again(meter: Meter) -> None:
    meter.start(lte())
    meter.carry(110 * MB)
    counted = statistics(meter.octets, bond=meter.bond)

    meter.quotas.reconfigure(meter.plan(lte(quota=200e6)), counted, meter.now)
    limited = meter.quotas.limited((lte(),))
    meter.carry(60 * MB)

    assert [wan.only_when_needed for wan in limited] == [False]
    assert meter.used == 170 * MB
    assert meter.said == ["quota_used_up", "quota_nearly_used_up"]


def test_a_quota_that_is_taken_away_limits_nothing(meter: Meter) -> None:
    meter.start(lte())
    meter.carry(110 * MB)

    meter.quotas.reconfigure(meter.plan(), statistics(meter.octets, bond=meter.bond), meter.now)

    assert [wan.only_when_needed for wan in meter.quotas.limited((lte(),))] == [False]
    assert meter.quotas.describe() == []


# --- restarts


def test_the_count_outlives_a_restart_and_nothing_is_said_twice(meter: Meter) -> None:
    meter.start(lte())
    meter.carry(100 * MB)
    meter.save()
    meter.lines.clear()

    meter.start(lte())
    limited = meter.quotas.limited((lte(),))
    meter.carry(MB)

    assert [wan.only_when_needed for wan in limited] == [True]
    assert meter.used == 101 * MB
    assert meter.said == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"wans": {"2": {"used": -1}}}', '{"wans": {"x": 1}}', "\xff"]
)
def test_a_file_that_is_none_counts_as_empty_and_is_named(
    meter: Meter, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    meter.file.write_text(text, encoding="latin-1")

    meter.start(lte())

    assert meter.used == 0
    assert f"{meter.file} cannot be read: " in caplog.text


def test_the_file_is_only_its_owners_and_half_of_it_is_never_there(meter: Meter) -> None:
    meter.start(lte())
    meter.carry(MB)
    meter.save()

    assert meter.file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in meter.file.parent.iterdir()] == [meter.file.name]
    assert json.loads(meter.file.read_text())["wans"]["2"] == {
        "used": MB,
        "since": "2026-11-20",
        "until": "2026-12-01",
        "rule": "month 1",
    }


# --- periods


@pytest.mark.parametrize(
    ("today", "day", "begin", "end"),
    [
        ("2026-11-20", 1, "2026-11-01", "2026-12-01"),
        ("2026-11-20", 20, "2026-11-20", "2026-12-20"),
        ("2026-11-20", 21, "2026-10-21", "2026-11-21"),
        ("2026-02-27", 31, "2026-01-31", "2026-02-28"),
        ("2026-02-28", 31, "2026-02-28", "2026-03-31"),
        ("2026-12-31", 31, "2026-12-31", "2027-01-31"),
        ("2026-12-31", 15, "2026-12-15", "2027-01-15"),
        ("2027-01-01", 15, "2026-12-15", "2027-01-15"),
    ],
)
def test_a_month_begins_on_the_day_that_was_agreed_or_the_last_one(
    today: str, day: int, begin: str, end: str
) -> None:
    found = [each(date.fromisoformat(today), QuotaPeriod.MONTH, day) for each in (begin_of, end_of)]

    assert found == [date.fromisoformat(begin), date.fromisoformat(end)]


def test_at_the_end_of_its_period_a_quota_begins_anew(meter: Meter) -> None:
    meter.wall = DECEMBER - timedelta(minutes=20)
    meter.start(lte())
    meter.carry(100 * MB)
    meter.wait(18 * 60)
    before = meter.used
    meter.wait(60)

    assert before == 100 * MB
    assert meter.used == 0
    assert meter.said == ["quota_used_up", "quota_renewed"]
    assert meter.lines[-1].text == "The quota of WAN LTE begins anew: 100MB until 2027-01-01."
    assert [wan.only_when_needed for wan in meter.quotas.limited((lte(),))] == [False]


def test_a_quota_of_a_day_begins_anew_at_midnight(meter: Meter) -> None:
    meter.start(lte(quota_period=QuotaPeriod.DAY))
    meter.carry(100 * MB)

    meter.wait(11.9 * 3600)
    before = meter.used
    meter.wait(0.2 * 3600)

    assert before == 100 * MB
    assert meter.used == 0


def test_a_machine_that_slept_over_the_end_begins_anew_with_what_it_has_carried_since(
    meter: Meter,
) -> None:
    meter.start(lte())
    meter.carry(90 * MB)
    meter.save()
    meter.wall = DECEMBER
    meter.start(lte())

    meter.carry(5 * MB)
    meter.wait(TRUST_AFTER)

    assert meter.used == 5 * MB


def test_another_period_keeps_the_count_until_its_own_end(meter: Meter) -> None:
    meter.start(lte())
    meter.carry(90 * MB)
    other = lte(quota_day=15)
    counted = statistics(meter.octets, bond=meter.bond)

    meter.quotas.reconfigure(meter.plan(other), counted, meter.now)
    meter.wait(TRUST_AFTER)

    assert meter.used == 90 * MB
    assert meter.quotas.describe()[0]["until"] == "2026-12-15"


# --- clocks that are wrong


@pytest.mark.parametrize("year", [1970, 2024, 2038])
def test_a_clock_that_is_wrong_at_boot_clears_nothing(meter: Meter, year: int) -> None:
    meter.start(lte())
    meter.carry(90 * MB)
    meter.save()

    meter.wall = datetime(year, 1, 1, tzinfo=UTC)
    meter.start(lte())
    meter.wait(TRUST_AFTER / 2)
    meter.carry(5 * MB)
    meter.wall = NOVEMBER
    meter.wait(2 * TRUST_AFTER)

    assert meter.used == 95 * MB
    assert meter.quotas.describe()[0]["until"] == "2026-12-01"


def test_a_clock_that_stays_in_1970_limits_all_the_same(meter: Meter) -> None:
    meter.wall = datetime(1970, 1, 1, tzinfo=UTC)
    meter.start(lte())
    meter.wait(10 * TRUST_AFTER)
    meter.carry(100 * MB)
    described = meter.quotas.describe()
    meter.wall = NOVEMBER
    meter.wait(2 * TRUST_AFTER)

    assert described[0]["until"] is None
    assert described[0]["is_used_up"]
    assert meter.used == 100 * MB


def test_a_clock_that_jumps_in_the_middle_of_the_run_clears_nothing(meter: Meter) -> None:
    meter.start(lte())
    meter.carry(90 * MB)
    meter.wait(2 * TRUST_AFTER)

    for wall in (datetime(2030, 5, 5, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC), NOVEMBER):
        meter.wall = wall
        meter.wait(TRUST_AFTER / 2)

    assert meter.used == 90 * MB


def test_a_period_that_began_under_a_wrong_clock_ends_when_a_right_one_says_so(
    meter: Meter,
) -> None:
    meter.wall = datetime(2038, 1, 1, tzinfo=UTC)
    meter.start(lte())
    meter.wait(2 * TRUST_AFTER)
    meter.carry(100 * MB)
    meter.wall = NOVEMBER
    meter.wait(60.0)
    meter.wait(DOUBT_AFTER)
    kept = meter.used
    meter.wait(15 * DOUBT_AFTER)

    assert kept == 100 * MB
    assert meter.used == 0


# --- writing seldom


async def writes_of(
    meter: Meter, monkeypatch: pytest.MonkeyPatch, seconds: float, act: Callable[[], object]
) -> list[int]:
    """Run the daemon's part for so long; return what was written, by when it was."""
    written: list[int] = []
    write = quota_file.write_counts

    def noting(file: Path, counts: Any) -> None:
        written.append(counts[LTE].used)
        write(file, counts)

    async def at_once(work: Callable[..., object], *args: object, **_: object) -> None:
        work(*args)  # for a thread the virtual clock would not wait

    monkeypatch.setattr(quota_file, "write_counts", noting)
    monkeypatch.setattr(trio.to_thread, "run_sync", at_once)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(meter.quotas.run)
        for _ in range(round(seconds)):
            act()
            await trio.sleep(1.0)
        nursery.cancel_scope.cancel()
    return written


async def test_an_idle_wan_is_written_every_fifteen_minutes_and_at_the_end(
    meter: Meter, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    meter.start(lte())

    written = await writes_of(meter, monkeypatch, 2 * SAVE_AFTER + 100, lambda: meter.carry(10))

    assert len(written) == 3
    assert json.loads(meter.file.read_text())["wans"]["2"]["used"] == meter.used


async def test_what_nobody_uses_is_not_written(
    meter: Meter, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    meter.start(lte())

    written = await writes_of(meter, monkeypatch, 2 * SAVE_AFTER, lambda: meter.carry(0))

    assert written == []


async def test_a_busy_wan_is_written_at_every_percent_but_not_every_second(
    meter: Meter, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    meter.start(lte(quota=1e9))

    written = await writes_of(meter, monkeypatch, 300, lambda: meter.carry(MB // 2))
    busiest = await writes_of(meter, monkeypatch, 30, lambda: meter.carry(20 * MB))

    assert len(written) == pytest.approx(15, abs=2)
    assert len(busiest) <= 30 / LOOK_WHETHER_TO_SAVE + 1


async def test_a_directory_that_cannot_be_written_is_named_once_and_counting_goes_on(
    meter: Meter,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    meter.file.parent.joinpath("taken").touch()
    meter.file = meter.file.parent / "taken" / "mwb0.quota.json"
    meter.start(lte())

    await writes_of(meter, monkeypatch, 2 * SAVE_AFTER, lambda: meter.carry(100_000))
    kept = meter.quotas.describe()[0]["is_kept"]
    meter.file.parent.unlink()
    await writes_of(meter, monkeypatch, SAVE_AFTER + 20, lambda: meter.carry(100_000))

    assert meter.used == pytest.approx(270 * MB, rel=0.02)
    assert not kept
    assert meter.quotas.describe()[0]["is_kept"]
    assert caplog.text.count("cannot be written") == 1
    assert caplog.text.count("is kept in") == 1


async def test_a_disk_that_hangs_does_not_hold_up_the_end(
    meter: Meter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    freed = trio.Event()
    monkeypatch.setattr(quota_file, "WRITE_LIMIT", 0.1)
    monkeypatch.setattr(quota_file, "write_counts", lambda *_: trio.from_thread.run(freed.wait))
    meter.start(lte())
    meter.carry(MB)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(meter.quotas.run)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    freed.set()

    assert "the disk does not answer" in caplog.text
