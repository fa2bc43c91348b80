"""What metered WANs have carried, and what follows when that is as much as they may.

The core counts each path's bytes for as long as its bond lives. Here the counts of all bonds of a
period add up, over restarts as well, and become settings: a WAN whose quota is used up is made a
reserve, or left out, as if the operator had said so.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

import trio

from multiwanbond.config.metered import QuotaAction
from multiwanbond.config.model import Wan
from multiwanbond.control.status import QuotaDocument
from multiwanbond.core.settings import WanSettings
from multiwanbond.core.statistics import EndpointStatistics, PathStatistics, PeerStatistics
from multiwanbond.units import format_size

from .plan import ClientPlan, QuotaPlan, ServerPlan
from .quota_file import Count, CountFile
from .quota_period import DOUBT_AFTER, TRUST_AFTER, Calendar, begin_of, end_of
from .report import Line, say

WARN_AT: Final = 0.8
"""Share of a quota at which the operator hears that it will soon be used up."""
LOOK_WHETHER_TO_SAVE: Final = 10.0
SAVE_AFTER: Final = 900.0
"""Seconds after which a changed count is written: what a power cut may make us forget. Flash wears
out by writing."""
SAVE_SHARE: Final = 0.01
"""Share of a quota that is written at once: a fast line uses up much in fifteen minutes."""
_IPV4_AND_UDP: Final = 28
_IPV6_AND_UDP: Final = 48
"""Bytes around each datagram. What a line puts around those, providers do not count."""

_Bond = tuple[bytes, float | None]
"""The peer, and since when: counters of another bond begin at zero."""


def local_time() -> datetime:
    """Return the time as the machine's clock and zone have it."""
    return datetime.now(UTC).astimezone()


class _Seen(NamedTuple):
    """What is counted already of one path."""

    octets: int
    datagrams: int
    headers: int
    """Bytes around each."""


@dataclass(slots=True, kw_only=True)
class Meter:
    """One metered WAN."""

    wan: Wan
    quota: int
    count: Count
    told: float
    """Share of the quota that the operator knows of."""
    saved: int
    """Bytes in the file."""
    used_before: int | None = None
    """What was counted when the clock first said that the period is over; None: it does not."""

    @property
    def is_used_up(self) -> bool:
        """True if the WAN should carry nothing more."""
        return self.count.used >= self.quota

    @property
    def share(self) -> float:
        """Return how much of the quota the operator should know to be used."""
        used = self.count.used / self.quota
        return next((step for step in (1.0, WARN_AT) if used >= step), 0.0)


class Quotas:
    """The metered WANs of a client; `count` keeps them up to date, `run` their file."""

    def __init__(
        self,
        plan: QuotaPlan | None,
        tell: Callable[[Line], None],
        now: float,
        wall: Callable[[], datetime] = local_time,
    ) -> None:
        """Read the file.

        Args:
            plan: which WANs, how much, and where the file is; None at a server.
            tell: takes what the operator should hear.
            now: the caller's clock.
            wall: returns the local time.
        """
        self._tell = tell
        self._calendar: Final = Calendar(wall, now)
        self._file: Final = CountFile(None if plan is None else plan.file)
        self._counts: dict[int, Count] = {}
        """Also of WANs that have no quota now."""
        self._meters: dict[int, Meter] = {}
        self._seen: dict[_Bond, dict[int, _Seen]] = {}
        """Of all paths, by bond and number."""
        self._has_read = False
        self._saved_at = now
        self._is_urgent = False
        self._limited: frozenset[int] = frozenset()
        self.reconfigure(plan, None, now)

    def reconfigure(
        self, plan: QuotaPlan | None, statistics: EndpointStatistics | None, now: float
    ) -> None:
        """Follow other quotas; what was carried stays carried.

        Args:
            plan: which WANs, and how much; the file is that of the start.
            statistics: what was counted until now, which concerns none that is new; None: nothing.
            now: the caller's clock.
        """
        if statistics is not None:
            self.count(statistics, now)
        wans = () if plan is None else plan.wans
        if wans and not self._has_read:
            self._counts = self._file.read()
            self._has_read = True
        before = self._meters
        self._meters = {wan.id: self._meter(wan, before.get(wan.id)) for wan in wans}
        if self._meters and not before and statistics is not None:
            self._carried(statistics)  # before there was a quota
        self._turn_pages(now)
        self._limited = self._used_up()
        for meter in self._meters.values():
            if meter.is_used_up and _is_news(meter, before.get(meter.wan.id)):
                say(logging.INFO, _used_up_text(meter), wan=meter.wan.label)

    def _meter(self, wan: Wan, before: Meter | None) -> Meter:
        assert wan.quota is not None
        count = self._counts.setdefault(wan.id, Count())
        rule = f"{wan.quota_period.value} {wan.quota_day}"
        if count.rule != rule:
            # The count stays, since nobody knows how much of it was carried on which day.
            count.rule, count.until = rule, None
        saved = count.used if before is None else before.saved
        meter = Meter(wan=wan, quota=round(wan.quota), count=count, told=0.0, saved=saved)
        meter.told = meter.share
        return meter

    # Counting

    def count(self, statistics: EndpointStatistics, now: float) -> bool:
        """Add what was carried since the last call; once a second or so.

        Returns:
            True if WANs are to be used otherwise from now on: see `limited` and `left`.
        """
        if not self._meters:
            return False
        self._calendar.look(now)
        for wan_id, octets in self._carried(statistics):
            if wan_id in self._meters:
                self._meters[wan_id].count.used += octets
        self._turn_pages(now)
        for meter in self._meters.values():
            self._tell_share(meter)
        before, self._limited = self._limited, self._used_up()
        self._is_urgent |= self._limited != before
        return self._limited != before

    def _carried(self, statistics: EndpointStatistics) -> list[tuple[int, int]]:
        """Return the number of each path, and the bytes it has carried since the last look."""
        carried = []
        # A path may leave its bond and come back to it, and then counts on.
        self._seen = {_bond(peer): self._seen.get(_bond(peer), {}) for peer in statistics.peers}
        for peer in statistics.peers:
            known = self._seen[_bond(peer)]
            for path in peer.paths:
                before = known.get(path.path_id, _NOTHING)
                seen = known[path.path_id] = _seen(path, before)
                octets = seen.octets - before.octets
                octets += (seen.datagrams - before.datagrams) * seen.headers
                carried.append((path.path_id, octets))
        return carried

    def _turn_pages(self, now: float) -> None:
        """Begin a new period where the clock says so and can be believed."""
        calendar = self._calendar
        for meter in self._meters.values():
            count, wan = meter.count, meter.wan
            if not calendar.is_possible:
                meter.used_before = None
                continue
            begin = begin_of(calendar.today, wan.quota_period, wan.quota_day)
            end = end_of(calendar.today, wan.quota_period, wan.quota_day)
            if count.until is None:
                count.since, count.until = count.since or calendar.today, end
            elif calendar.today < count.until:
                meter.used_before = None
                if count.until > end and calendar.even_for(now) >= DOUBT_AFTER:
                    count.until = end
            else:
                if meter.used_before is None:
                    meter.used_before = count.used
                if calendar.even_for(now) >= TRUST_AFTER:
                    count.used -= meter.used_before
                    count.since, count.until = begin, end
                    self._begin_anew(meter)

    def _begin_anew(self, meter: Meter) -> None:
        meter.used_before = None
        meter.told = meter.share
        self._is_urgent = True
        text = f"The quota of WAN {meter.wan.label} begins anew: {format_size(meter.quota)} until "
        self._tell(Line("quota_renewed", logging.INFO, f"{text}{meter.count.until}.", _of(meter)))

    def _tell_share(self, meter: Meter) -> None:
        share = meter.share
        if share > meter.told:
            self._is_urgent = True
            kind = "quota_used_up" if meter.is_used_up else "quota_nearly_used_up"
            text = _used_up_text(meter) if meter.is_used_up else _warning_text(meter)
            self._tell(Line(kind, logging.WARNING, text, _of(meter)))
        meter.told = share

    # What follows

    def _used_up(self) -> frozenset[int]:
        return frozenset(wan_id for wan_id, meter in self._meters.items() if meter.is_used_up)

    def limited(self, wans: Iterable[WanSettings]) -> tuple[WanSettings, ...]:
        """Return the WANs as they may be used now."""
        return tuple(self._limit(wan) if wan.id in self._limited else wan for wan in wans)

    def _limit(self, wan: WanSettings) -> WanSettings:
        if self._meters[wan.id].wan.quota_action is QuotaAction.OFF:
            return replace(wan, enabled=False)
        return replace(wan, only_when_needed=True)

    def left(self, role: ClientPlan | ServerPlan) -> ClientPlan | ServerPlan:
        """Return the role with the WANs that may be used at all."""
        if isinstance(role, ServerPlan) or not self._limited:
            return role
        is_off = {
            wan_id
            for wan_id in self._limited
            if self._meters[wan_id].wan.quota_action is QuotaAction.OFF
        }
        return replace(role, wans=tuple(each for each in role.wans if each[0].id not in is_off))

    def describe(self) -> list[QuotaDocument]:
        """Return every quota as the status document shows it."""
        return [
            {
                "wan_id": wan_id,
                "wan": meter.wan.label,
                "used_bytes": meter.count.used,
                "quota_bytes": meter.quota,
                "since": _text(meter.count.since),
                "until": _text(meter.count.until),
                "is_used_up": meter.is_used_up,
                "action": meter.wan.quota_action.value,
                "is_kept": not self._file.has_failed,
            }
            for wan_id, meter in self._meters.items()
        ]

    # The file

    async def run(self) -> None:
        """Keep the counts in the file, seldom, until cancelled; then once more."""
        try:
            while True:
                await trio.sleep(LOOK_WHETHER_TO_SAVE)
                if self._is_due(trio.current_time()):
                    await self._save()
        finally:
            if self._is_changed():
                await self._save()

    def _is_changed(self) -> bool:
        return any(meter.count.used != meter.saved for meter in self._meters.values())

    def _is_due(self, now: float) -> bool:
        """Say whether enough has changed, or for long enough, to be written."""
        if self._is_urgent:
            return True
        if now - self._saved_at >= SAVE_AFTER:
            return self._is_changed()
        return not self._file.has_failed and any(
            meter.count.used - meter.saved >= SAVE_SHARE * meter.quota
            for meter in self._meters.values()
        )

    async def _save(self) -> None:
        self._is_urgent = False
        self._saved_at = trio.current_time()
        saved = {wan_id: meter.count.used for wan_id, meter in self._meters.items()}
        if await self._file.write(self._counts):
            for wan_id, meter in self._meters.items():
                meter.saved = saved.get(wan_id, 0)


_NOTHING: Final = _Seen(0, 0, _IPV4_AND_UDP)


def _bond(peer: PeerStatistics) -> _Bond:
    return peer.public_key, peer.connected_since


def _seen(path: PathStatistics, before: _Seen) -> _Seen:
    """Return what is seen of a path now; without a link it has no address, and sends nothing."""
    headers = before.headers
    if path.remote is not None:
        headers = _IPV6_AND_UDP if ":" in path.remote.host else _IPV4_AND_UDP
    return _Seen(
        path.sent_bytes + path.received_bytes,
        path.sent_datagrams + path.received_datagrams,
        headers,
    )


def _text(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _is_news(meter: Meter, before: Meter | None) -> bool:
    """Say whether the operator has not heard what becomes of a WAN whose quota is used up."""
    if before is None or not before.is_used_up:
        return True
    return meter.wan.quota_action is not before.wan.quota_action


def _of(meter: Meter) -> dict[str, object]:
    return {"wan": meter.wan.label, "used_bytes": meter.count.used, "quota_bytes": meter.quota}


def _warning_text(meter: Meter) -> str:
    left = format_size(max(meter.quota - meter.count.used, 0))
    return (
        f"WAN {meter.wan.label} has used {WARN_AT:.0%} of its quota of "
        f"{format_size(meter.quota)}: {left} are left{_until(meter)}."
    )


def _used_up_text(meter: Meter) -> str:
    is_off = meter.wan.quota_action is QuotaAction.OFF
    fate = "off" if is_off else "in reserve"
    return (
        f"WAN {meter.wan.label} has used up its quota of {format_size(meter.quota)}: "
        f"it is {fate}{_until(meter)}."
    )


def _until(meter: Meter) -> str:
    """Return until when that is so, as far as the clock is known to be right."""
    return "" if meter.count.until is None else f" until {meter.count.until}"
