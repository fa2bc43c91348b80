"""What hosts want of a link, by what they say and by what they no longer say."""

from ipaddress import ip_address

import pytest

from multiwanbond.core.ip import internet_sum
from multiwanbond.core.membership import (
    MEMBER_TIMEOUT,
    OTHER_QUERIER_TIMEOUT,
    QUERY_INTERVAL,
    Membership,
    Query,
    Report,
    decode_igmp_untrusted,
    decode_mld_untrusted,
    encode_igmp_query,
    encode_mld_query,
)
from multiwanbond.errors import DatagramError

GROUP = ip_address("239.1.2.3").packed
GROUP6 = ip_address("ff05::123").packed
SOURCE = ip_address("192.0.2.1").packed


def igmp(text: bytes) -> bytes:
    return text[:2] + (-internet_sum(text) % 0xFFFF).to_bytes(2, "big") + text[4:]


def igmp_v3(*records: bytes) -> bytes:
    return igmp(b"\x22\0\0\0\0\0" + len(records).to_bytes(2, "big") + b"".join(records))


def mld_v2(*records: bytes) -> bytes:
    return b"\x8f\0\0\0\0\0" + len(records).to_bytes(2, "big") + b"".join(records)


JOINED, LEFT = Report((GROUP,), ()), Report((), (GROUP,))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (igmp(b"\x12\0\0\0" + GROUP), JOINED),
        (igmp(b"\x16\0\0\0" + GROUP), JOINED),
        (igmp(b"\x17\0\0\0" + GROUP), LEFT),
        (igmp_v3(b"\x02\0\0\0" + GROUP), JOINED),
        (igmp_v3(b"\x04\0\0\0" + GROUP), JOINED),
        (igmp_v3(b"\x03\0\0\0" + GROUP), LEFT),
        (igmp_v3(b"\x03\0\0\1" + GROUP + SOURCE), JOINED),
        (igmp_v3(b"\x05\0\0\1" + GROUP + SOURCE), JOINED),
        (igmp_v3(b"\x06\0\0\1" + GROUP + SOURCE), Report((), ())),
        (igmp_v3(b"\x06\1\0\0" + GROUP + bytes(4), b"\x04\0\0\0" + GROUP), JOINED),
        (encode_igmp_query(None), Query(None)),
        (encode_igmp_query(GROUP), Query(GROUP)),
    ],
)
def test_all_versions_of_igmp_are_understood(message: bytes, expected: object) -> None:
    assert decode_igmp_untrusted(message) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"\x83\0\0\0\0\0\0\0" + GROUP6, Report((GROUP6,), ())),
        (b"\x84\0\0\0\0\0\0\0" + GROUP6, Report((), (GROUP6,))),
        (mld_v2(b"\x04\0\0\0" + GROUP6), Report((GROUP6,), ())),
        (mld_v2(b"\x03\0\0\0" + GROUP6), Report((), (GROUP6,))),
        (encode_mld_query(None), Query(None)),
        (encode_mld_query(GROUP6), Query(GROUP6)),
    ],
)
def test_all_versions_of_mld_are_understood(message: bytes, expected: object) -> None:
    assert decode_mld_untrusted(message) == expected


@pytest.mark.parametrize(
    "message",
    [b"", igmp(b"\x13\0\0\0" + GROUP), b"\x16\0\0\0" + GROUP, igmp(b"\x22\0\0\0\0\0\0\5" + GROUP)],
)
def test_igmp_that_is_broken_is_refused(message: bytes) -> None:
    with pytest.raises(DatagramError):
        decode_igmp_untrusted(message)


def test_a_host_that_answers_stays_a_member_and_one_that_does_not_is_forgotten() -> None:
    link = Membership(0.0)
    link.on_report(JOINED, 10.0)
    link.on_report(JOINED, 70.0)

    link.expire(70.0 + MEMBER_TIMEOUT - 0.1)
    before = link.groups
    link.expire(70.0 + MEMBER_TIMEOUT)

    assert before == {GROUP}
    assert link.groups == frozenset()


def test_hosts_are_asked_twice_at_the_start_and_then_every_minute() -> None:
    link = Membership(0.0)
    times = []
    while (due := link.deadline()) is not None and due < 200:
        times += [due for _ in link.take_queries(due)]

    assert times == [0.0, 15.0, 15.0 + QUERY_INTERVAL, 15.0 + 2 * QUERY_INTERVAL, 195.0]


def test_a_group_that_its_last_host_has_left_ends_within_two_seconds() -> None:
    link = Membership(0.0)
    link.on_report(JOINED, 0.0)

    link.on_report(LEFT, 30.0)
    asked = [group for at in (30.0, 31.0) for group in link.take_queries(at) if group]
    link.expire(32.0)

    assert asked == [GROUP, GROUP]
    assert link.groups == frozenset()


def test_a_group_that_another_host_still_wants_outlives_a_leave() -> None:
    link = Membership(0.0)
    link.on_report(JOINED, 0.0)

    link.on_report(LEFT, 30.0)
    link.on_report(JOINED, 30.5)
    link.expire(40.0)

    assert link.groups == {GROUP}


def test_of_two_routers_on_a_link_only_the_one_with_the_lower_address_asks() -> None:
    link = Membership(0.0)
    link.on_query(Query(None), 0.0, is_preferred=True)

    silent = list(link.take_queries(0.0))
    again = list(link.take_queries(OTHER_QUERIER_TIMEOUT))

    assert silent == []
    assert again == [None]


def test_another_router_that_asks_does_not_silence_us_if_we_come_first() -> None:
    link = Membership(0.0)

    link.on_query(Query(None), 0.0, is_preferred=False)

    assert list(link.take_queries(0.0)) == [None]


def test_groups_that_are_not_carried_are_not_remembered() -> None:
    link = Membership(0.0)

    link.on_report(Report((bytes([224, 0, 0, 251]), ip_address("ff02::fb").packed), ()), 0.0)

    assert link.groups == frozenset()
