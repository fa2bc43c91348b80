"""Parity: what is computed, when it leaves, and what is made of it."""

import multiprocessing
from collections import Counter
from dataclasses import replace
from itertools import combinations
from random import Random
from typing import Any

import pytest
import zfec

from multiwanbond.core.burst import Burst
from multiwanbond.core.fec.decoder import MEMORY, MOST_BLOCKS, MOST_BYTES, ParityDecoder, Recovered
from multiwanbond.core.fec.encoder import (
    FLUSH,
    RESIDUAL,
    ParityEncoder,
    needed,
    residual_loss,
)
from multiwanbond.core.fec.shards import (
    RESERVED,
    Parity,
    Shard,
    decode_parity_untrusted,
    encode_parity,
    pack_shard,
    parity_of,
    recover,
    unpack_shard_untrusted,
)
from multiwanbond.core.path import Path
from multiwanbond.core.settings import MOST_SHARDS, FecSettings, HealthSettings, RoutingMode
from multiwanbond.core.wire import DataForm, DatagramType
from multiwanbond.errors import DatagramError, DropReason

from .pair import Pair, settings, udp_packet

START = 100.0
RANDOM = Random(11)


def packet(size: int) -> Shard:
    return Shard(DataForm.PACKET, RANDOM.randrange(5), RANDOM.randbytes(size))


def line(path_id: int = 1) -> Path:
    return Path(path_id, wan_id=path_id, is_ours=True, health=HealthSettings(), now=START)


def fec(**wishes: object) -> FecSettings:
    return FecSettings(enabled=True, **wishes)  # type: ignore[arg-type]


def block_of(shards: list[Shard], count: int = 2, first: int = 1000) -> list[Parity]:
    """The parity of packets with global sequences in a row."""
    gaps = bytes([1]) * (len(shards) - 1)
    found = parity_of([pack_shard(shard) for shard in shards], count)
    return [Parity(first, gaps, number, shard) for number, shard in enumerate(found)]


# --- blocks


def test_any_k_shards_give_back_all() -> None:
    shards = [packet(size) for size in (1400, 60, 1, 900)]
    packed = [pack_shard(shard) for shard in shards]
    length = max(map(len, packed))
    every = [shard.ljust(length, b"\0") for shard in packed] + parity_of(packed, 3)

    for chosen in combinations(range(7), 4):
        found = recover(4, {number: every[number] for number in chosen})
        assert [unpack_shard_untrusted(data) for data in found] == shards


def test_parity_is_longer_than_its_longest_packet_by_no_more_than_is_reserved() -> None:
    shards = [packet(1400) for _ in range(MOST_SHARDS)]

    (parity,) = block_of(shards, count=1)

    assert len(encode_parity(parity)) == 1400 + RESERVED
    assert decode_parity_untrusted(encode_parity(parity)) == parity


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        bytes(10),
        b"\0\0\0\1" + b"\0\0" + bytes(20),
        b"\0\0\0\1" + bytes([MOST_SHARDS + 1, 0]) + bytes([1]) * 200,
        b"\0\0\0\1" + bytes([2, MOST_SHARDS]) + bytes([1]) * 200,
        b"\0\0\0\1" + b"\3\0" + b"\1\0" + bytes(20),
        b"\0\0\0\1" + b"\x20\0" + bytes([1]) * 31,
        b"\1\0\0\0" + b"\1\0" + bytes(20),
    ],
    ids=["empty", "short", "k 0", "k 33", "parity 32", "gap 0", "no shard", "25 bits"],
)
def test_parity_that_no_block_has_is_malformed(plain: bytes) -> None:
    with pytest.raises(DatagramError) as caught:
        decode_parity_untrusted(plain)

    assert caught.value.reason is DropReason.MALFORMED


def _decode_twice_the_same() -> None:
    zfec.Decoder(4, 6).decode((b"a", b"b", b"c", b"c"), (0, 1, 2, 2))


def test_a_number_that_comes_twice_never_reaches_zfec_which_hangs_on_it() -> None:
    """A peer cannot make it come twice: shards are kept by number. The trap is still there."""
    child = multiprocessing.get_context("spawn").Process(target=_decode_twice_the_same)
    child.start()
    child.join(1.5)
    is_hanging = child.is_alive()
    child.kill()
    child.join()
    decoder = ParityDecoder()
    shards = [packet(100) for _ in range(4)]
    first, second = block_of(shards)
    decoder.on_parity(1, block_of(shards, first=1)[0], START)

    assert decoder.on_parity(1000, first, START) == []
    assert decoder.on_parity(1000, first, START) == []
    assert decoder.on_packet(1000, shards[0], START) == []
    assert decoder.on_packet(1000, shards[0], START) == []
    assert decoder.on_parity(1000, second, START) == []
    found = decoder.on_packet(1003, shards[3], START)

    assert found == [Recovered(1001, shards[1]), Recovered(1002, shards[2])]
    assert is_hanging


# --- what leaves


def parity_of_stream(
    settings: FecSettings, count: int, *, interval: float = 0.002, path: Path | None = None
) -> list[int]:
    """How many parity shards each block of a stream gets, the last one's flush included."""
    encoder, path, found, now = ParityEncoder(settings), path or line(), [], START
    for number in range(1, count + 1):
        now = START + number * interval
        found += [len(each.parity) for each in encoder.take(now)]
        encoder.add(number, packet(100), path, now)
    return found + [len(each.parity) for each in encoder.take(now + FLUSH)]


def test_redundancy_is_exact_in_the_long_run() -> None:
    assert sum(parity_of_stream(fec(redundancy=0.2), 1000)) == 200
    assert sum(parity_of_stream(fec(redundancy=0.3), 1000)) == 300
    assert parity_of_stream(fec(redundancy=0.5), 40) == [2] * 10
    assert parity_of_stream(fec(redundancy=0.0), 40) == []


def test_a_block_gets_no_more_than_parity_shards() -> None:
    assert parity_of_stream(fec(redundancy=2.0, parity_shards=3), 40) == [3] * 10


def test_a_block_that_stays_short_gets_its_parity_after_60_ms() -> None:
    encoder = ParityEncoder(fec(redundancy=0.5))
    encoder.add(7, packet(100), line(), START)
    encoder.add(9, packet(300), line(), START + 0.02)

    assert encoder.deadline() == START + FLUSH
    assert encoder.take(START + 0.9 * FLUSH) == []
    ((parity, _),) = encoder.take(START + FLUSH)

    assert [(each.first, each.gaps, each.shard_index) for each in parity] == [(7, b"\2", 0)]
    assert encoder.deadline() is None


def test_auto_follows_what_the_lines_lose() -> None:
    assert [needed(4, loss, 4) for loss in (0.0, 0.0005, 0.01, 0.05, 0.2)] == [0, 0, 1, 3, 4]
    assert needed(4, 0.05, 2) == 2
    assert parity_of_stream(fec(redundancy=None), 40) == []


def test_the_chance_of_a_missing_packet_is_the_binomial_one() -> None:
    assert residual_loss(4, 0, 0.1) == pytest.approx(0.1)
    assert residual_loss(1, 1, 0.1) == pytest.approx(0.01)
    assert residual_loss(4, 1, 0.1) == pytest.approx(0.1 * (1 - 0.9**4))
    assert residual_loss(4, needed(4, 0.03, 9), 0.03) <= RESIDUAL


# --- what arrives


def active(first: int = 1) -> ParityDecoder:
    """A decoder whose peer sends parity."""
    decoder = ParityDecoder()
    decoder.on_parity(first, block_of([packet(10)], first=first)[0], START)
    return decoder


def test_nothing_is_remembered_for_a_peer_that_sends_no_parity() -> None:
    decoder, shards = ParityDecoder(), [packet(100) for _ in range(4)]
    for number, shard in enumerate(shards[:3], start=1000):
        decoder.on_packet(number, shard, START)

    assert not decoder.is_active
    assert decoder.on_parity(1000, block_of(shards)[0], START) == []
    assert decoder.is_active
    decoder.on_packet(2000, shards[0], START + MEMORY + 0.1)
    assert not decoder.is_active


@pytest.mark.parametrize("is_parity_first", [True, False])
def test_a_lost_packet_is_made_up_for_whichever_comes_last(*, is_parity_first: bool) -> None:
    decoder, shards = active(), [packet(size) for size in (10, 1400, 7, 300)]
    parity = block_of(shards)[0]

    found = decoder.on_parity(1000, parity, START) if is_parity_first else []
    for number in (0, 2, 3):
        found += decoder.on_packet(1000 + number, shards[number], START)
    if not is_parity_first:
        found += decoder.on_parity(1000, parity, START)

    assert found == [Recovered(1001, shards[1])]
    assert decoder.recovered_packets == 2  # `active` needed one
    assert decoder.on_packet(1001, shards[1], START) == []


def test_parity_of_a_block_that_is_whole_costs_nothing() -> None:
    decoder, shards = active(), [packet(100) for _ in range(4)]
    for number, shard in enumerate(shards, start=1000):
        decoder.on_packet(number, shard, START)

    assert decoder.on_parity(1000, block_of(shards)[0], START) == []
    assert not decoder._blocks


def test_what_a_hostile_peer_says_is_bounded() -> None:
    decoder = active()
    for number in range(4 * MOST_BLOCKS):
        parity = Parity(0, bytes([255]) * 31, number % 32, RANDOM.randbytes(1400))
        assert decoder.on_parity(10_000 * number, parity, START) == []
    for number in range(20_000):
        decoder.on_packet(number, packet(1400), START)

    assert len(decoder._blocks) <= MOST_BLOCKS
    assert len(decoder._wanted) <= MOST_BLOCKS * MOST_SHARDS
    assert decoder._octets <= MOST_BYTES


def test_shards_that_do_not_belong_together_give_nothing() -> None:
    decoder, shards = active(), [packet(100) for _ in range(4)]
    first, second = block_of(shards)
    decoder.on_packet(1002, shards[2], START)
    decoder.on_packet(1003, packet(5000), START)
    decoder.on_parity(1000, first._replace(shard=first.shard[:-1]), START)

    assert decoder.on_parity(1000, second, START) == []


# --- between two endpoints


def pair_with(fec: FecSettings, **how: Any) -> Pair:
    client, server = (settings(is_client=each, wan_count=2, **how) for each in (True, False))
    pair = Pair(
        delays=(0.01, 0.02), client=replace(client, fec=fec), server=replace(server, fec=fec)
    )
    pair.connect()
    pair.run(1.0)
    return pair


def is_data(datagram: bytes) -> bool:
    return datagram[0] >> 4 == DatagramType.DATA


def test_parity_leaves_by_another_path_than_its_packets() -> None:
    pair = pair_with(fec(redundancy=0.5), mode=RoutingMode.LEAST_LATENCY)
    pair.log.clear()

    for number in range(20):
        pair.send(udp_packet(b"%d" % number))
        pair.run(0.01)

    sent = Counter((wan, DatagramType(data[0] >> 4)) for up, wan, data in pair.log if up)
    assert sent[1, DatagramType.DATA] == 20
    assert sent[2, DatagramType.PARITY] == 10
    assert sent[1, DatagramType.PARITY] == sent[2, DatagramType.DATA] == 0
    assert pair.client.statistics().peers[0].parity_datagrams == 10


def test_lost_packets_arrive_before_they_could_have_been_sent_again() -> None:
    pair = pair_with(fec(redundancy=0.5), mode=RoutingMode.LEAST_LATENCY)
    packets = [udp_packet(b"%d" % number) for number in range(60)]
    pair.send(*packets[:20])
    pair.run(0.2)  # from the first parity on it is known that some will come
    lost = iter([False, True, False, True] * 10)
    pair.drop = lambda up, wan, data: up and is_data(data) and next(lost, False)

    pair.send(*packets[20:])
    pair.run(0.025)

    assert sorted(pair.received("server")) == sorted(packets)
    assert pair.server.statistics().peers[0].recovered_packets == 20
    pair.run(0.5)  # what is sent again nevertheless is dropped
    assert pair.received("server") == []


def tcp_run(number: int, size: int = 20_000) -> Burst:
    """What the kernel hands over for the next bytes of a TCP stream."""
    head = bytearray(udp_packet(b"")[:20])
    head[9] = 6
    head[2:4] = (40 + size).to_bytes(2, "big")
    tcp = b"\x30\x39\x00\x50" + (number * size).to_bytes(4, "big") + bytes(4)
    packet = bytes(head) + tcp + b"\x50\x10\x01\x00" + bytes(4) + RANDOM.randbytes(size)
    return Burst(packet, segment_size=1300, header_length=40, is_checksum_partial=True)


def test_segments_of_runs_are_protected_too() -> None:
    pair = pair_with(fec(redundancy=0.5, data_shards=8, parity_shards=4))
    runs = [tcp_run(number) for number in range(5)]
    count = iter(range(10_000))

    for run in runs:
        pair.client.handle_bursts([run], pair.now)
        pair.poll()
        pair.run(0.1)
        pair.drop = lambda up, wan, data: up and is_data(data) and next(count) % 8 == 5

    pair.run(0.5)
    payloads = [bytes(burst.packet[40:]) for burst in pair.delivered["server"]]
    assert b"".join(payloads) == b"".join(bytes(run.packet[40:]) for run in runs)
    assert pair.server.statistics().peers[0].recovered_packets >= 5
