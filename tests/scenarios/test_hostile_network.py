"""A million datagrams from people who have no key change nothing, and each is counted."""

from collections.abc import Callable
from random import Random

from multiwanbond.core.datagram import Address, Received
from multiwanbond.errors import DropReason
from tests.core.pair import Pair, udp_packet

SEED = 4711
TOTAL = 1_000_000
BATCH = 100
STRANGER = Address("192.0.2.66", 6666)


def test_a_million_hostile_datagrams_change_nothing_and_are_counted_by_reason() -> None:
    print(f"seed {SEED}")
    random = Random(SEED)
    pair = Pair()
    pair.connect()
    pair.send(*(udp_packet(b"genuine %d" % n) for n in range(200)))
    pair.run(0.5)
    genuine = [data for is_up, _, data in pair.log if is_up]
    assert len(pair.received("server")) == 200
    before = pair.server.statistics().peers
    kinds: list[Callable[[bytes], bytes]] = [
        lambda data: data,  # replayed
        lambda data: flip(data, random.randrange(len(data) * 8)),  # forged
        lambda data: data[: random.randrange(len(data))],  # truncated
        lambda _data: random.randbytes(random.randrange(200)),  # random
    ]
    pair.log.clear()

    for _ in range(TOTAL // BATCH):
        batch = [kinds[n % 4](random.choice(genuine)) for n in range(BATCH)]
        received = [Received(data, STRANGER) for data in batch]
        pair.server.handle_datagrams(0, received, pair.now)
    pair.poll()

    after = pair.server.statistics()
    # An initiation repeated within seconds is answered again, since it may come by another WAN.
    answered = len([data for is_up, _, data in pair.log if not is_up])
    assert sum(after.dropped.values()) + answered == TOTAL
    assert {reason for reason, count in after.dropped.items() if count} >= {
        DropReason.REPLAYED,
        DropReason.FORGED,
        DropReason.TOO_SHORT,
        DropReason.UNKNOWN_TYPE,
        DropReason.UNKNOWN_SESSION,
        DropReason.BAD_MAC,
    }
    assert pair.received("server") == []
    assert after.peers == before
    pair.log.clear()

    pair.send(udp_packet(b"and it still works"))
    pair.run(0.1)

    assert pair.received("server") == [udp_packet(b"and it still works")]


def flip(data: bytes, bit: int) -> bytes:
    """Return `data` with one bit changed."""
    changed = bytearray(data)
    changed[bit >> 3] ^= 1 << (bit & 7)
    return bytes(changed)
