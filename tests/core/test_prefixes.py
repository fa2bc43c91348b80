"""Which prefix an inner address belongs to."""

from ipaddress import ip_address, ip_network

from multiwanbond.core.prefixes import PrefixMap

ROUTES = PrefixMap(
    [
        (ip_network("0.0.0.0/0"), "default"),
        (ip_network("10.0.0.0/8"), "ten"),
        (ip_network("10.77.0.2/32"), "host"),
        (ip_network("2001:db8::/32"), "six"),
    ]
)


def lookup(address: str) -> str | None:
    return ROUTES.lookup(ip_address(address).packed)


def test_the_longest_prefix_wins() -> None:
    assert [lookup(a) for a in ("10.77.0.2", "10.77.0.3", "8.8.8.8")] == ["host", "ten", "default"]


def test_families_do_not_mix() -> None:
    assert lookup("2001:db8::1") == "six"
    assert lookup("::1") is None
    assert PrefixMap([(ip_network("::/0"), 1)]).lookup(bytes(4)) is None


def test_scanning_all_addresses_does_not_eat_memory_and_keeps_answering() -> None:
    for number in range(10_000):
        ROUTES.lookup(number.to_bytes(4, "big"))

    assert lookup("10.77.0.2") == "host"
