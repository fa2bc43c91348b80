"""Inner packets are what a kernel writes, and damage to them is noticed."""

import pytest

from multiwanbond.core.burst import Burst
from multiwanbond.core.datagram import Address
from multiwanbond.core.ip import split_run
from multiwanbond.errors import LocalProtocolError
from multiwanbond.sim.packets import (
    TCP,
    TCP_ACK,
    TCP_PSH,
    UDP,
    Conversation,
    TcpHeader,
    check_burst,
    destination_of,
    packed,
    pattern,
    read_tcp,
    read_udp,
)

V4 = (Address("10.77.0.1", 4000), Address("10.77.0.2", 53))
V6 = (Address("fd77::1", 4000), Address("fd77::2", 53))
BOTH = pytest.mark.parametrize("ends", [V4, V6], ids=["ipv4", "ipv6"])


@BOTH
def test_a_udp_packet_is_valid_and_comes_apart_again(ends: tuple[Address, Address]) -> None:
    burst = Conversation(*ends, UDP).udp(b"hello")

    check_burst(burst)
    assert destination_of(burst.packet) == (UDP, packed(ends[1].host), 53)
    assert bytes(read_udp(burst.packet)) == b"hello"


@BOTH
def test_a_damaged_packet_is_noticed(ends: tuple[Address, Address]) -> None:
    whole = Conversation(*ends, UDP).udp(b"hello, world")

    for place in (12, len(whole.packet) - 1):  # in the source address, in the payload
        damaged = bytearray(whole.packet)
        damaged[place] ^= 4

        with pytest.raises(LocalProtocolError):
            check_burst(Burst(damaged))


@BOTH
def test_a_run_is_split_into_valid_packets(ends: tuple[Address, Address]) -> None:
    payload = pattern(0, 3300)
    header = TcpHeader(0xFFFFFF00, 5, TCP_ACK | TCP_PSH)
    run = Conversation(*ends, TCP).tcp(header, payload, 1388)

    packets = split_run(run)

    check_burst(run)
    assert run.segment_count == 3
    for packet in packets:
        check_burst(packet)
    heads = [read_tcp(packet.packet)[0] for packet in packets]
    assert [head.sequence for head in heads] == [0xFFFFFF00, 0x46C, 0x9D8]
    assert [head.flags for head in heads] == [TCP_ACK, TCP_ACK, TCP_ACK | TCP_PSH]
    assert b"".join(bytes(read_tcp(packet.packet)[1]) for packet in packets) == payload


def test_a_wrong_length_is_noticed() -> None:
    burst = Conversation(*V4, UDP).udp(b"hello")

    with pytest.raises(LocalProtocolError, match="length"):
        check_burst(Burst(bytes(burst.packet) + b"x"))


def test_the_pattern_differs_from_itself_when_shifted() -> None:
    assert pattern(0, 1388) != pattern(1388, 1388)
    assert pattern(5, 100) == pattern(65521 + 5, 100)
