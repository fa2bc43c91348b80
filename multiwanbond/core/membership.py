"""Which groups the hosts of one link want: IGMP and MLD, as a router speaks and hears them.

A router asks (query), hosts answer (report), and whoever does not answer for long enough is
forgotten. Every version hosts speak is understood: IGMPv1-3 (RFC 1112, 2236, 3376), MLDv1-2 (RFC
2710, 3810). Sources are not told apart: a host that wants a group from one source gets the group.
"""

from collections.abc import Iterator
from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple

from multiwanbond.core.burst import Bytes
from multiwanbond.core.groups import MOST_WISHES, is_carried
from multiwanbond.core.ip import internet_sum
from multiwanbond.core.timers import earliest
from multiwanbond.errors import DatagramError, DropReason

# --- from a specification --------------------------------------------------------------------

_IGMP_QUERY, _IGMP_V1, _IGMP_V2, _IGMP_LEAVE, _IGMP_V3 = 0x11, 0x12, 0x16, 0x17, 0x22
_MLD_QUERY, _MLD_V1, _MLD_DONE, _MLD_V2 = 130, 131, 132, 143
_IS_IN, _IS_EX, _TO_IN, _TO_EX, _ALLOW = 1, 2, 3, 4, 5
"""Record types (RFC 3376, section 4.2.12); 6, "block old sources", wants nothing."""
_IGMP_HEAD: Final = Struct("!BBH4s")
"""Type, maximum response code, checksum, group."""
_IGMP_V3_QUERY: Final = Struct("!BBH4sBBH")
_MLD_HEAD: Final = Struct("!BBHHH16s")
"""Type, code, checksum, maximum response code, reserved, group."""
_MLD_V2_QUERY: Final = Struct("!BBHHH16sBBH")
_REPORT: Final = Struct("!BBHHH")
"""Type, reserved, checksum, reserved, count of records."""
_RECORD: Final = Struct("!BBH")
"""Type, words of auxiliary data, count of sources; the group follows, then sources and data."""
OTHER_QUERIER_TIMEOUT: Final = 255.0
"""Seconds after its last query in which another router is believed to ask (RFC 3376, 8.5)."""
_ROBUSTNESS: Final = 2

# --- chosen by us ----------------------------------------------------------------------------

QUERY_INTERVAL: Final = 60.0
"""Seconds between two queries; the standards' 125 leave a group alive for four minutes after its
last host was unplugged."""
RESPONSE_TIME: Final = 5.0
"""Seconds that hosts may take to answer."""
MEMBER_TIMEOUT: Final = _ROBUSTNESS * QUERY_INTERVAL + RESPONSE_TIME
LAST_MEMBER_TIME: Final = 1.0
"""Seconds that hosts have to say that they still want a group that one of them has left."""
_MOST_RECORDS: Final = 512


class Report(NamedTuple):
    """What a host said about itself."""

    wanted: tuple[bytes, ...]
    left: tuple[bytes, ...]


class Query(NamedTuple):
    """What another router asked."""

    group: bytes | None
    """None: about all groups."""


Message = Report | Query


def decode_igmp_untrusted(data: Bytes) -> Message:
    """Return what an IGMP message (without its IP header) says.

    Raises:
        DatagramError: MALFORMED, or a kind that says nothing about groups.
    """
    if len(data) < _IGMP_HEAD.size or internet_sum(data):
        raise DatagramError(DropReason.MALFORMED)
    kind, _, _, group = _IGMP_HEAD.unpack_from(data)
    if kind == _IGMP_QUERY:
        return Query(group if any(group) else None)
    if kind in (_IGMP_V1, _IGMP_V2):
        return Report((group,), ())
    if kind == _IGMP_LEAVE:
        return Report((), (group,))
    if kind == _IGMP_V3:
        return _report_untrusted(data, 4)
    raise DatagramError(DropReason.MALFORMED)


def decode_mld_untrusted(data: Bytes) -> Message:
    """Return what an MLD message says; its checksum is the kernel's affair.

    Raises:
        DatagramError: MALFORMED, or a kind that says nothing about groups.
    """
    if len(data) < _REPORT.size:
        raise DatagramError(DropReason.MALFORMED)
    if data[0] == _MLD_V2:
        return _report_untrusted(data, 16)
    if len(data) < _MLD_HEAD.size:
        raise DatagramError(DropReason.MALFORMED)
    kind, *_, group = _MLD_HEAD.unpack_from(data)
    if kind == _MLD_QUERY:
        return Query(group if any(group) else None)
    if kind == _MLD_V1:
        return Report((group,), ())
    if kind == _MLD_DONE:
        return Report((), (group,))
    raise DatagramError(DropReason.MALFORMED)


def _report_untrusted(data: Bytes, size: int) -> Report:
    """Return what the records of an IGMPv3 or MLDv2 report say; addresses have `size` bytes."""
    count = min(_REPORT.unpack_from(data)[-1], _MOST_RECORDS)
    wanted, left = [], []
    offset = _REPORT.size
    try:
        for _ in range(count):
            kind, words, sources = _RECORD.unpack_from(data, offset)
            offset += _RECORD.size
            group = bytes(data[offset : offset + size])
            offset += size + sources * size + words * 4
            if offset > len(data):
                raise DatagramError(DropReason.MALFORMED)
            if kind in (_IS_EX, _TO_EX) or (kind in (_IS_IN, _TO_IN, _ALLOW) and sources):
                wanted.append(group)
            elif kind == _TO_IN:
                left.append(group)
    except struct_error:
        raise DatagramError(DropReason.MALFORMED) from None
    return Report(tuple(wanted), tuple(left))


def encode_igmp_query(group: bytes | None) -> bytes:
    """Return an IGMPv3 query, which hosts of all versions understand; None: for all groups."""
    time = RESPONSE_TIME if group is None else LAST_MEMBER_TIME
    fields = (group or bytes(4), _ROBUSTNESS, round(QUERY_INTERVAL), 0)
    query = _IGMP_V3_QUERY.pack(_IGMP_QUERY, round(time * 10), 0, *fields)
    checksum = -internet_sum(query) % 0xFFFF
    return query[:2] + checksum.to_bytes(2, "big") + query[4:]


def encode_mld_query(group: bytes | None) -> bytes:
    """Return an MLDv2 query, its checksum left to the kernel; None: for all groups."""
    time = RESPONSE_TIME if group is None else LAST_MEMBER_TIME
    fields = (group or bytes(16), _ROBUSTNESS, round(QUERY_INTERVAL), 0)
    return _MLD_V2_QUERY.pack(_MLD_QUERY, 0, 0, round(time * 1000), 0, *fields)


class Membership:
    """The groups that hosts of one link want, for one IP version, and when to ask them again."""

    __slots__ = ("_asked", "_members", "_other_until", "_query_at", "_short_queries")

    def __init__(self, now: float) -> None:
        self._members: dict[bytes, float] = {}  # group -> until when
        self._query_at = now
        self._short_queries = 1
        """Queries that follow the first sooner than usual: one may be lost."""
        self._asked: dict[bytes, float] = {}  # group a host has left -> when to ask again
        self._other_until = now

    @property
    def groups(self) -> frozenset[bytes]:
        """The groups wanted now."""
        return frozenset(self._members)

    def on_report(self, report: Report, now: float) -> None:
        """Believe a host."""
        for group in report.wanted:
            if is_carried(group) and (group in self._members or len(self._members) < MOST_WISHES):
                self._members[group] = now + MEMBER_TIMEOUT
                self._asked.pop(group, None)
        for group in report.left:
            if group in self._members and group not in self._asked and self._is_querier(now):
                self._asked[group] = now
                self._members[group] = min(self._members[group], now + 2 * LAST_MEMBER_TIME)

    def on_query(self, query: Query, now: float, *, is_preferred: bool) -> None:
        """Another router asked.

        Args:
            query: what about.
            now: the caller's clock.
            is_preferred: its address is lower than ours, so it is the one to ask (RFC 3376, 6.6.2).
        """
        if not is_preferred:
            return
        self._other_until = now + OTHER_QUERIER_TIMEOUT
        self._asked.clear()
        if query.group in self._members:
            group = query.group
            self._members[group] = min(self._members[group], now + 2 * LAST_MEMBER_TIME)

    def _is_querier(self, now: float) -> bool:
        return now >= self._other_until

    def take_queries(self, now: float) -> Iterator[bytes | None]:
        """Yield what to ask now: a group, or None for all of them."""
        for group, at in list(self._asked.items()):
            if at <= now:
                yield group
                self._asked[group] = now + LAST_MEMBER_TIME
        if self._query_at <= now:
            if self._is_querier(now):
                yield None
            is_short, self._short_queries = self._short_queries > 0, self._short_queries - 1
            self._query_at = now + QUERY_INTERVAL / (4 if is_short else 1)

    def expire(self, now: float) -> None:
        """Forget the groups nobody has asked for lately."""
        for group, until in list(self._members.items()):
            if until <= now:
                del self._members[group]
                self._asked.pop(group, None)

    def deadline(self) -> float | None:
        """When `take_queries` or `expire` has something to do."""
        return earliest([self._query_at, *self._asked.values(), *self._members.values()])
