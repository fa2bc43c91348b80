"""How much a sender that can wait may hand over, so that nothing of it is shed."""

from multiwanbond.core.burst import Burst
from multiwanbond.core.handshake import public_key_of
from multiwanbond.core.ip import split_run

from .pair import SERVER_KEY, Pair, udp_packet

SERVER = public_key_of(SERVER_KEY)
SLOW = 250e3
"""Bytes a second: 2 Mbit/s."""


def test_there_is_no_room_before_a_bond_and_none_for_strangers() -> None:
    pair = Pair()

    assert pair.client.room(SERVER) == 0
    pair.connect()
    assert pair.client.room(SERVER) > 0
    assert pair.client.room(bytes(32)) == 0


def payloads(burst: Burst) -> list[bytes]:
    """What each UDP packet of a burst carries."""
    return [bytes(packet.packet[28:]) for packet in split_run(burst)]


def send_for(pair: Pair, seconds: float, *, minds_room: bool) -> int:
    """Send all the time, either what there is room for or as much as that line never carries."""
    sent = 0
    for _ in range(int(seconds / 0.01)):
        for _ in range(20):
            if minds_room and not pair.client.room(SERVER):
                break
            pair.send(udp_packet(sent.to_bytes(4, "big") * 300))
            sent += 1
        pair.run(0.01)
    pair.run(2.0)
    return sent


def test_whoever_minds_the_room_fills_a_slow_line_and_loses_nothing() -> None:
    pair = Pair(delays=(0.02,), rates=(SLOW,))
    pair.connect()

    sent = send_for(pair, 10.0, minds_room=True)

    (peer,) = pair.client.statistics().peers
    arrived = {payload for burst in pair.delivered["server"] for payload in payloads(burst)}
    assert peer.shed_packets == 0
    assert len(arrived) == sent
    assert sent * 1228 > 0.8 * SLOW * 10.0


def test_whoever_does_not_loses_some() -> None:
    pair = Pair(delays=(0.02,), rates=(SLOW,))
    pair.connect()

    send_for(pair, 5.0, minds_room=False)

    (peer,) = pair.client.statistics().peers
    assert peer.shed_packets > 0
