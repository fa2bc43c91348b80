"""Packets made smaller on the line, and the same again behind it."""

from base64 import b64encode
from dataclasses import replace
from ipaddress import ip_network
from random import Random

import pytest

from multiwanbond.core import peer as peer_module
from multiwanbond.core.compression import FAILURES, PAUSE, SMALLEST
from multiwanbond.core.handshake import public_key_of
from multiwanbond.core.ip import complete_checksum, split_run
from multiwanbond.core.settings import (
    Compression,
    DuplicationSettings,
    EndpointSettings,
    FecSettings,
    TrafficClass,
)
from multiwanbond.core.statistics import PeerStatistics

from .inner_packets import Shape
from .pair import SERVER_KEY, Pair, settings, udp_packet

ZSTD = Compression.ZSTD

_RANDOM = Random(1)
TEXT = b"".join(
    b"%d.%03d WAN %s: probe %d answered | path=%d rtt_ms=%d loss=%d key=%s\n"
    % (
        index * 7,
        _RANDOM.randrange(1000),
        _RANDOM.choice([b"Fibre", b"Starlink", b"LTE", b"DSL"]),
        _RANDOM.randrange(100_000),
        _RANDOM.randrange(1, 9),
        _RANDOM.randrange(300),
        _RANDOM.randrange(10),
        b64encode(_RANDOM.randbytes(12)),
    )
    for index in range(3000)
)
"""A log: it shrinks to about half."""
SERVER = public_key_of(SERVER_KEY)


def pair_with(**changes: object) -> Pair:
    """Two ends joined by one line, the client with these settings."""
    client: EndpointSettings = replace(settings(is_client=True, wan_count=1), **changes)  # type: ignore[arg-type]  # of EndpointSettings
    server = settings(is_client=False)
    allowed = (ip_network("10.0.0.0/8"),)
    server = replace(server, peers=(replace(server.peers[0], allowed_ips=allowed),))
    pair = Pair(delays=(0.01,), client=client, server=server)
    pair.connect()
    return pair


def sent_by(pair: Pair) -> PeerStatistics:
    (peer,) = pair.client.statistics().peers
    return peer


def texts(count: int, size: int = 1200) -> list[bytes]:
    """Different pieces of a text."""
    step = max((len(TEXT) - size) // count, 1)
    return [TEXT[index * step : index * step + size] for index in range(count)]


def noise(count: int, size: int = 1200) -> list[bytes]:
    random = Random(3)
    return [random.randbytes(size) for _ in range(count)]


def carry(pair: Pair, payloads: list[bytes]) -> tuple[list[bytes], int]:
    """Send UDP packets, one every 20 ms; return what arrived, and the bytes of their datagrams."""
    before = sum(path.sent_bytes for path in sent_by(pair).paths)
    for payload in payloads:
        pair.send(udp_packet(payload))
        pair.run(0.02)
    pair.run(0.5)
    octets = sum(path.sent_bytes for path in sent_by(pair).paths) - before
    return [packet[28:] for packet in pair.received("server")], octets


def test_text_takes_half_of_the_line_and_arrives_as_it_was() -> None:
    payloads = texts(50)
    _, plain = carry(pair_with(), payloads)
    pair = pair_with(compression=ZSTD)

    arrived, octets = carry(pair, payloads)

    assert arrived == payloads
    assert octets < 0.65 * plain
    assert sent_by(pair).compressed_packets == 50
    assert sent_by(pair).saved_bytes > 0.4 * sum(map(len, payloads))


def test_what_does_not_shrink_travels_as_it_is_and_is_soon_left_alone() -> None:
    pair = pair_with(compression=ZSTD)
    payloads = noise(100)

    arrived, _ = carry(pair, payloads)

    assert arrived == payloads
    assert sent_by(pair).compressed_packets == sent_by(pair).saved_bytes == 0


def test_a_flow_that_was_left_alone_is_tried_again() -> None:
    pair = pair_with(compression=ZSTD)
    carry(pair, noise(FAILURES))

    carry(pair, texts(PAUSE))
    while_alone = sent_by(pair).compressed_packets
    arrived, _ = carry(pair, texts(20))

    assert while_alone <= 1
    assert sent_by(pair).compressed_packets >= 20
    assert arrived == texts(20)


def test_small_packets_are_left_alone() -> None:
    pair = pair_with(compression=ZSTD)

    carry(pair, [b"a" * (SMALLEST - 28)] * 20)

    assert sent_by(pair).compressed_packets == 0


def test_without_the_setting_nothing_is_compressed() -> None:
    pair = pair_with()

    carry(pair, texts(20))

    assert sent_by(pair).compressed_packets == 0


def test_a_peer_that_cannot_read_it_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_module, "FEATURES", 0)  # the handshake of both, as before
    pair = pair_with(compression=ZSTD)
    payloads = texts(20)

    arrived, _ = carry(pair, payloads)

    assert arrived == payloads
    assert sent_by(pair).compressed_packets == 0


def test_each_end_decides_for_what_it_sends() -> None:
    pair = pair_with(compression=ZSTD)
    down = [udp_packet(text, source=bytes([10, 77, 0, 1]), target=bytes([10, 77, 0, 2]))
            for text in texts(10)]  # fmt: skip

    for packet in down:
        pair.send(packet, from_client=False)
        pair.run(0.02)

    assert pair.received("client") == down
    (server,) = pair.server.statistics().peers
    assert server.compressed_packets == 0


@pytest.mark.parametrize("is_lossy", [False, True])
def test_the_segments_of_a_run_are_compressed_one_by_one(*, is_lossy: bool) -> None:
    pair = pair_with(compression=ZSTD)
    if is_lossy:
        random = Random(5)
        pair.drop = lambda up, _wan, data: up and len(data) > 300 and random.random() < 0.2
    shape, payload = Shape(), (TEXT * 3)[: 20 * 1300 + 100]

    pair.client.handle_bursts([shape.run(payload, 1300)], pair.now)
    pair.poll()
    pair.run(3.0)

    # Without the IP header: a short last segment may have another identification there.
    arrived = {
        complete_checksum(each.packet)[20:]
        for burst in pair.delivered["server"]
        for each in split_run(burst)
    }
    assert arrived == {shape.segment(payload, 1300, index)[20:] for index in range(21)}
    assert sent_by(pair).compressed_packets >= 20


def test_a_run_that_does_not_shrink_stays_a_run() -> None:
    pair = pair_with(compression=ZSTD)
    (payload,) = noise(1, 20 * 1300)

    pair.client.handle_bursts([Shape().run(payload, 1300)], pair.now)
    pair.poll()
    pair.run(1.0)

    assert b"".join(
        bytes(burst.packet)[burst.header_length :] for burst in pair.delivered["server"]
    ) == payload  # fmt: skip
    assert sent_by(pair).compressed_packets == 0


def test_copies_and_parity_of_compressed_packets_are_good_for_what_they_are() -> None:
    client = replace(
        settings(is_client=True, wan_count=2),
        compression=ZSTD,
        duplication=DuplicationSettings(packets=True),
        fec=FecSettings(enabled=True, redundancy=1.0),
    )
    pair = Pair(delays=(0.01, 0.02), client=client)
    pair.connect()
    random = Random(5)
    pair.drop = lambda up, _wan, data: up and len(data) > 300 and random.random() < 0.3
    payloads = texts(100)

    arrived, _ = carry(pair, payloads)

    assert set(arrived) == set(payloads)
    assert len(arrived) == 100


def test_a_class_may_be_compressed_or_spared() -> None:
    packed = TrafficClass(name="packed", ports=((53, 53),), compression=ZSTD)
    spared = TrafficClass(name="spared", ports=((53, 53),), compression=Compression.NONE)

    only = pair_with(classes=(packed,))
    carry(only, texts(20))
    all_but = pair_with(classes=(spared,), compression=ZSTD)
    carry(all_but, texts(20))

    assert sent_by(only).compressed_packets == 20
    assert sent_by(all_but).compressed_packets == 0


def test_a_running_bond_follows_the_setting() -> None:
    pair, plain = pair_with(), settings(is_client=True, wan_count=1)
    counts = []

    for wish in (Compression.NONE, ZSTD, Compression.NONE):
        pair.client.reconfigure(replace(plain, compression=wish), pair.now)
        before = sent_by(pair).compressed_packets
        arrived, _ = carry(pair, texts(10))
        counts.append(sent_by(pair).compressed_packets - before)
        assert arrived == texts(10)

    assert counts == [0, 10, 0]


def test_a_thin_line_carries_twice_as_much_text() -> None:
    goodput = {wish: carried_over_thin_line(texts(400, 1372), wish) for wish in Compression}

    assert goodput[ZSTD] > 1.6 * goodput[Compression.NONE]


def test_a_thin_line_carries_as_much_noise_as_without() -> None:
    goodput = {wish: carried_over_thin_line(noise(400, 1372), wish) for wish in Compression}

    assert goodput[ZSTD] == pytest.approx(goodput[Compression.NONE], rel=0.02)


def carried_over_thin_line(payloads: list[bytes], wish: Compression) -> float:
    """Bytes a second of payload over 2 Mbit/s, by a sender that fills the line for ten seconds."""
    client = replace(settings(is_client=True, wan_count=1), compression=wish)
    pair = Pair(delays=(0.02,), rates=(250e3,), client=client)
    pair.connect()
    number = 0
    for _ in range(1000):
        while pair.client.room(SERVER):
            pair.send(udp_packet(payloads[number % len(payloads)]))
            number += 1
        pair.run(0.01)
    return sum(
        len(burst.packet) - 28 for each in pair.delivered["server"] for burst in split_run(each)
    ) / 10.0  # fmt: skip
