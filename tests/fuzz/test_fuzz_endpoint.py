"""Whatever arrives on a WAN's socket, an endpoint neither raises nor loses its bond."""

from hypothesis import given, settings
from hypothesis import strategies as st

from multiwanbond.core.datagram import Address, Received
from multiwanbond.core.wire import WIRE_VERSION, DatagramType
from tests.core.pair import Pair, udp_packet

STRANGER = Address("192.0.2.66", 6666)

# Enough of each type's head for the bytes behind it to be looked at.
heads = st.sampled_from(
    [b"", *(bytes([kind << 4, WIRE_VERSION, 0, 0]) for kind in DatagramType), b"\x41\x01", b"\x50"]
)
datagrams = st.builds(bytes.__add__, heads, st.binary(max_size=300))


@settings(max_examples=100)
@given(reads=st.lists(st.tuples(datagrams, st.integers(0, 64)), max_size=20))
def test_any_reads_are_counted_and_the_bond_goes_on(reads: list[tuple[bytes, int]]) -> None:
    pair = Pair(delays=(0.01,))
    pair.connect()
    received = [Received(data, STRANGER, segment_size=size) for data, size in reads]
    expected = sum(-(-len(data) // size) if size and data else 1 for data, size in reads)

    pair.server.handle_datagrams(0, received, pair.now)
    pair.client.handle_datagrams(1, received, pair.now)
    pair.poll()
    pair.send(udp_packet(b"still here"))
    pair.run(0.1)

    for endpoint in (pair.server, pair.client):
        assert sum(endpoint.statistics().dropped.values()) == expected
    assert pair.received("server") == [udp_packet(b"still here")]


@settings(max_examples=100)
@given(cut=st.integers(0, 500), flip=st.integers(0, 4000), choice=st.integers(0, 10_000))
def test_any_damage_to_a_genuine_datagram_is_noticed(cut: int, flip: int, choice: int) -> None:
    pair = Pair(delays=(0.01,))
    pair.drop = lambda is_up, _wan, _data: is_up and len(pair.log) > 6
    pair.connect()
    fresh = [data for is_up, _, data in pair.log[6:] if is_up]
    genuine = fresh[choice % len(fresh)]
    damaged = bytearray(genuine)
    damaged[flip // 8 % len(damaged)] ^= 1 << flip % 8
    before = sum(pair.server.statistics().dropped.values())

    pair.inject(bytes(damaged), source=STRANGER)
    pair.inject(genuine[: cut % len(genuine)], source=STRANGER)

    assert sum(pair.server.statistics().dropped.values()) == before + 2
