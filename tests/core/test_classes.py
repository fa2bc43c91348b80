"""Traffic classes: which flows they match, and what becomes of those."""

from collections import Counter
from dataclasses import replace
from ipaddress import ip_network

import pytest

from multiwanbond.core.classes import REST, Classifier
from multiwanbond.core.ip import flow_key
from multiwanbond.core.settings import (
    DuplicationSettings,
    FecSettings,
    Priority,
    RoutingMode,
    TrafficClass,
)
from multiwanbond.core.wire import DatagramType

from .inner_packets import ICMP, TCP, UDP, Shape
from .pair import Pair, settings, udp_packet

VOICE = TrafficClass(name="voice", dscp=(46,))
SIP = TrafficClass(name="sip", protocols=(UDP,), ports=((5060, 5080), (12345, 12345)))
OFFICE = TrafficClass(name="office", prefixes=(ip_network("10.0.0.2/32"), ip_network("fd00::/16")))


def class_of(packet: bytes, *classes: TrafficClass) -> str:
    return Classifier(classes).classify(flow_key(packet), packet).name


@pytest.mark.parametrize("version", [4, 6])
def test_a_class_matches_by_code_point(version: int) -> None:
    assert class_of(Shape(version=version, traffic_class=46 << 2).packet(b"x"), VOICE) == "voice"
    assert class_of(Shape(version=version, traffic_class=45 << 2).packet(b"x"), VOICE) == "rest"


@pytest.mark.parametrize("version", [4, 6])
def test_a_class_matches_by_port_of_either_end_and_by_protocol(version: int) -> None:
    packet = Shape(version=version, protocol=UDP).packet(b"x")  # from 12345 to 443

    assert class_of(packet, SIP) == "sip"
    assert class_of(packet, replace(SIP, ports=((440, 450),))) == "sip"
    assert class_of(packet, replace(SIP, ports=((444, 450),))) == "rest"
    assert class_of(packet, replace(SIP, protocols=(TCP,))) == "rest"
    assert (
        class_of(Shape(version=version).packet(b"x"), replace(SIP, protocols=(ICMP, TCP))) == "sip"
    )


@pytest.mark.parametrize("version", [4, 6])
def test_a_class_matches_by_network_of_either_end(version: int) -> None:
    packet = Shape(version=version).packet(b"x")

    assert class_of(packet, OFFICE) == "office"
    source = ip_network("10.0.0.1/32" if version == 4 else "fd00::1/128")
    assert class_of(packet, TrafficClass(name="home", prefixes=(source,))) == "home"
    elsewhere = (ip_network("10.0.0.3/32"), ip_network("fd01::/16"))
    assert class_of(packet, TrafficClass(name="home", prefixes=elsewhere)) == "rest"


def test_the_first_class_that_matches_counts_and_one_without_conditions_matches_all() -> None:
    packet = Shape(traffic_class=46 << 2).packet(b"x")

    assert class_of(packet, OFFICE, VOICE) == "office"
    assert class_of(packet, VOICE, OFFICE) == "voice"
    assert class_of(packet, TrafficClass(name="all")) == "all"


@pytest.mark.parametrize("packet", [b"", b"\x45", b"\x60" * 10, bytes(60), b"\x45" + bytes(19)])
def test_what_is_no_ip_packet_belongs_to_the_rest(packet: bytes) -> None:
    assert class_of(packet, VOICE, SIP, OFFICE) == REST.name


# --- what becomes of them


def pair_with(*classes: TrafficClass, wans: int = 3, **wishes: object) -> Pair:
    """Two endpoints over lines of 10, 20, ... ms one way, with classes for packets to port 53."""
    ends = [
        replace(
            settings(is_client=is_client, wan_count=wans, mode=RoutingMode.LEAST_LATENCY),
            classes=classes,
            **wishes,  # type: ignore[arg-type]
        )
        for is_client in (True, False)
    ]
    delays = tuple(0.01 * number for number in range(1, wans + 1))
    pair = Pair(delays=delays, client=ends[0], server=ends[1])
    pair.connect()
    pair.run(1.0)
    pair.log.clear()
    return pair


def question(text: bytes = b"?", port: int = 53) -> bytes:
    packet = bytearray(udp_packet(text))
    packet[22:24] = port.to_bytes(2, "big")
    return bytes(packet)


def carried(pair: Pair, kind: DatagramType = DatagramType.DATA) -> Counter[int]:
    """How many datagrams of a kind left the client by which WAN."""
    return Counter(wan for up, wan, data in pair.log if up and data[0] >> 4 == kind)


def test_a_class_keeps_to_its_wans_with_what_is_sent_again_too() -> None:
    pair = pair_with(TrafficClass(name="dns", ports=((53, 53),), wans=frozenset({2, 3})))
    count = iter(range(1000))
    pair.drop = lambda up, wan, data: up and data[0] >> 4 == 4 and next(count) % 3 == 1

    for number in range(30):
        pair.send(question(b"%d" % number))
        pair.run(0.02)
    pair.run(0.5)

    used = carried(pair)
    assert used[1] == 0
    assert used[2] > 30
    assert len(pair.received("server")) == 30


def test_a_class_whose_wans_are_gone_uses_the_others() -> None:
    pair = pair_with(TrafficClass(name="dns", ports=((53, 53),), wans=frozenset({9})))

    pair.send(question())
    pair.run(0.1)

    assert carried(pair) == {1: 1}


def test_only_the_class_is_duplicated() -> None:
    pair = pair_with(TrafficClass(name="dns", ports=((53, 53),), duplicate=True), wans=2)

    pair.send(question(), question(port=54))
    pair.run(0.1)

    assert carried(pair) == {1: 2, 2: 1}


def test_a_class_can_be_spared_from_duplication_and_from_parity() -> None:
    spared = TrafficClass(name="dns", ports=((53, 53),), duplicate=False, is_protected=False)
    pair = pair_with(
        spared,
        wans=2,
        duplication=DuplicationSettings(packets=True),
        fec=FecSettings(enabled=True, redundancy=1.0),
    )

    pair.send(*(question(b"%d" % number) for number in range(8)))
    pair.run(0.2)

    assert carried(pair) == {1: 8}
    assert carried(pair, DatagramType.PARITY) == {}


@pytest.mark.parametrize("is_ordered", [True, False])
def test_a_class_is_put_in_order_or_not(*, is_ordered: bool) -> None:
    pair = pair_with(TrafficClass(name="dns", ports=((53, 53),), is_ordered=is_ordered), wans=1)
    lost = iter([True])
    pair.drop = lambda up, wan, data: up and data[0] >> 4 == 4 and next(lost, False)

    sent = [question(b"%d" % number) for number in range(6)]
    for packet in sent:
        pair.send(packet)
        pair.run(0.001)
    pair.run(0.5)

    assert (pair.received("server") == sent) == is_ordered


@pytest.mark.parametrize("priority", [Priority.LATENCY_FIRST, Priority.AUTO])
def test_latency_first_passes_downloads_however_much_it_is(priority: Priority) -> None:
    pair = pair_with(TrafficClass(name="video", ports=((53, 53),), priority=priority), wans=1)
    pair.rates = (1e6,)
    sent = []
    for number in range(20):
        # Ten downloads together fill the line twice; the video has a quarter of it.
        pair.send(*(question(bytes(1300), port=99 + flow) for flow in range(10)))
        sent += [question(bytes(1200) + bytes([number, half])) for half in (0, 1)]
        pair.send(*sent[-2:])
        pair.run(0.01)
    pair.run(0.02)

    arrived = [packet for packet in pair.received("server") if packet[22:24] == b"\0\x35"]
    print(f"{len(arrived)} of {len(sent)}")
    assert (len(arrived) >= 0.85 * len(sent)) == (priority is Priority.LATENCY_FIRST)


def test_throughput_first_is_a_download_from_its_first_packet_on() -> None:
    bulk = TrafficClass(name="backup", ports=((53, 53),), priority=Priority.THROUGHPUT_FIRST)
    ends = [
        replace(settings(is_client=is_client, wan_count=2), classes=(bulk,))
        for is_client in (True, False)
    ]
    pair = Pair(delays=(0.01, 0.02), rates=(1e6, 1e6), client=ends[0], server=ends[1])
    pair.connect()
    pair.run(1.0)
    pair.log.clear()

    pair.send(*(question(bytes(1300)) for _ in range(60)))
    pair.run(0.2)

    used = carried(pair)
    assert min(used[1], used[2]) >= 15


def test_flows_are_classified_anew_when_the_classes_change() -> None:
    pair = pair_with(wans=2)
    pair.send(question())
    pair.run(0.1)
    duplicated = TrafficClass(name="dns", ports=((53, 53),), duplicate=True)
    changed = replace(
        settings(is_client=True, wan_count=2, mode=RoutingMode.LEAST_LATENCY), classes=(duplicated,)
    )

    pair.client.reconfigure(changed, pair.now)
    pair.poll()
    pair.log.clear()
    pair.send(question())
    pair.run(0.1)

    assert carried(pair) == {1: 1, 2: 1}
