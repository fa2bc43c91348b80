"""Messages as UDP packets: what any other host's UDP would make of them."""

from ipaddress import ip_address, ip_interface, ip_network

import pytest

from multiwanbond.api.addressing import Directory
from multiwanbond.api.messages import IpAddress, decode_untrusted, encode, header
from multiwanbond.core import ip
from multiwanbond.core.burst import Burst
from multiwanbond.core.datagram import Address
from multiwanbond.core.settings import PeerSettings
from multiwanbond.errors import DatagramError, DropReason, MessageError

V4 = (ip_address("10.77.0.2"), ip_address("10.77.0.1"))
V6 = (ip_address("fd77::2"), ip_address("fd77::1"))


def peer(*prefixes: str, name: str = "vps") -> PeerSettings:
    return PeerSettings(
        name=name,
        public_key=name.encode().ljust(32),
        preshared_key=bytes(32),
        allowed_ips=tuple(ip_network(prefix) for prefix in prefixes),
        is_initiator=True,
    )


@pytest.mark.parametrize(("source", "target"), [V4, V6])
@pytest.mark.parametrize("data", [b"", b"x", bytes(range(200))])
def test_a_message_is_read_as_it_was_written(
    source: IpAddress, target: IpAddress, data: bytes
) -> None:
    burst = encode(header(source, 9077, target, 53), data)

    read = decode_untrusted(Burst(ip.complete_checksum(burst.packet)))

    assert read == (data, Address(str(source), 9077), Address(str(target), 53))


@pytest.mark.parametrize(("source", "target"), [V4, V6])
def test_a_message_whose_checksum_is_wrong_is_malformed(
    source: IpAddress, target: IpAddress
) -> None:
    packet = bytearray(ip.complete_checksum(encode(header(source, 1, target, 2), b"data").packet))
    packet[-1] ^= 1

    with pytest.raises(DatagramError) as caught:
        decode_untrusted(Burst(bytes(packet)))

    assert caught.value.reason is DropReason.MALFORMED


def test_a_packet_of_another_protocol_is_no_message() -> None:
    packet = bytearray(encode(header(V4[0], 1, V4[1], 2), bytes(20)).packet)
    packet[9] = ip.TCP

    with pytest.raises(DatagramError):
        decode_untrusted(Burst(bytes(packet)))


@pytest.mark.parametrize(
    ("own", "prefixes", "expected"),
    [
        (["10.77.0.2/24"], ["10.77.0.1/32", "10.77.0.0/24"], "10.77.0.1"),  # what is certain
        (["10.77.0.2/24"], ["10.77.0.0/24"], "10.77.0.1"),  # the first of the network
        (["10.77.0.1/24"], ["10.77.0.0/24"], "10.77.0.2"),  # which we are ourselves
        (["10.77.0.2/24"], ["0.0.0.0/0"], "10.77.0.1"),
        (["10.77.0.8/31"], ["0.0.0.0/0"], "10.77.0.9"),
        (["fd77::2/64"], ["10.0.0.0/8", "::/0"], "fd77::1"),
    ],
)
def test_the_address_of_a_peer_follows_from_the_configuration(
    own: list[str], prefixes: list[str], expected: str
) -> None:
    directory = Directory([ip_interface(each) for each in own], [peer(*prefixes)], 9077)

    destination = directory.destination("vps")

    assert str(destination.target) == expected
    assert destination.port == 9077


def test_where_the_configuration_does_not_tell_the_address_is_asked_for() -> None:
    directory = Directory([ip_interface("10.77.0.2/24")], [peer("192.0.2.0/24")], 9077)

    with pytest.raises(MessageError, match="does not say which address vps itself has"):
        directory.destination(None)


def test_an_address_of_the_other_ip_version_needs_one_of_ours() -> None:
    directory = Directory([ip_interface("10.77.0.2/24")], [peer("10.77.0.0/24", "::/0")], 9077)

    with pytest.raises(MessageError, match="no IPv6 address to send to fd77::1 from"):
        directory.destination("fd77::1")
