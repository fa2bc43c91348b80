"""Which netlink messages are news about uplinks."""

from struct import pack

from multiwanbond.linux.watch import concerns_uplinks

NEW_LINK, NEW_ADDRESS, NEW_ROUTE, DELETE_ROUTE = 16, 20, 24, 25


def route_message(kind: int, bits: int, protocol: int, *, tail: bytes = b"") -> bytes:
    body = pack("=8BI", 2, bits, 0, 0, 254, protocol, 0, 1, 0) + tail
    return pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def test_links_and_addresses_are_news() -> None:
    for kind in (NEW_LINK, NEW_ADDRESS):
        assert concerns_uplinks(pack("=IHHII", 16, kind, 0, 0, 0))


def test_default_routes_are_news() -> None:
    for kind in (NEW_ROUTE, DELETE_ROUTE):
        assert concerns_uplinks(route_message(kind, 0, 16))


def test_specific_routes_and_our_own_are_not() -> None:
    assert not concerns_uplinks(route_message(NEW_ROUTE, 24, 186))
    assert not concerns_uplinks(route_message(NEW_ROUTE, 0, 77))


def test_every_message_of_a_read_counts() -> None:
    specific = route_message(NEW_ROUTE, 24, 186, tail=b"\x05\x00\x0f\x00\x01\0\0\0")

    assert not concerns_uplinks(specific * 3)
    assert concerns_uplinks(specific * 3 + route_message(DELETE_ROUTE, 0, 16))
