"""How large a datagram each path carries, and what the bond makes of it, in virtual time."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from multiwanbond.core.datagram import Address
from multiwanbond.core.events import MtuChanged
from multiwanbond.core.pmtu import MtuState, PathMtu
from multiwanbond.core.settings import FecSettings
from multiwanbond.core.statistics import PathStatistics
from multiwanbond.core.wire import OVERHEAD

from .pair import CLIENT_IP, SERVER, SERVER_IP, Pair, settings, udp_packet

SERVER6 = Address("2001:db8::1", 9000)
PATIENCE = 0.1
FULL = 1440 + OVERHEAD


class Line:
    """A path's MTU, over a line that swallows what is larger than `limit`."""

    def __init__(self, limit: int, *, full: int = FULL, remote: Address = SERVER) -> None:
        self.mtu = PathMtu(full)
        self.limit = limit
        self.header = 48 if ":" in remote.host else 28
        self.now = 100.0
        self.sequence = 1
        self.sent: list[int] = []
        self.loses: Callable[[], bool] = lambda: False
        self.mtu.on_link_up(remote, self.now)

    def run(self, seconds: float) -> None:
        """Let time pass; small datagrams are acknowledged all the time."""
        end = self.now + seconds
        while True:
            acked = self.sequence
            at = self.mtu.deadline(acked, PATIENCE, is_usable=True)
            if at is None or at > end:
                self.now = end
                return
            self.now = max(self.now, at)
            self.mtu.on_time(self.now, acked, PATIENCE)
            if self.mtu.is_due(self.now, is_usable=True):
                for probe_id, size in self.mtu.start_round(self.sequence, 0.0, self.now):
                    self.sequence += 1
                    self.sent.append(size + self.header)
                    if size + self.header <= self.limit and not self.loses():
                        self.mtu.on_reply(probe_id, self.now)
            self.sequence += 1


def test_an_ordinary_line_is_asked_once() -> None:
    line = Line(1500)

    line.run(2000.0)

    assert line.sent == [1500]
    assert (line.mtu.state, line.mtu.size) == (MtuState.FOUND, 1500)


@pytest.mark.parametrize("limit", [1499, 1492, 1480, 1437, 1428, 1340, 1280, 1201, 1200])
@pytest.mark.parametrize("remote", [SERVER, SERVER6], ids=["v4", "v6"])
def test_what_a_line_carries_is_found_to_the_byte_within_two_seconds(
    limit: int, remote: Address
) -> None:
    line = Line(limit, remote=remote, full=1452 if remote is SERVER6 else FULL)

    line.run(2.0)

    assert (line.mtu.state, line.mtu.size) == (MtuState.FOUND, limit)
    assert line.mtu.room == limit - line.header


def test_a_line_that_carries_less_than_anything_useful_is_known_to_and_tried_again() -> None:
    line = Line(900)
    line.run(2.0)
    narrow = line.mtu.size

    line.limit = 1500
    line.run(60.0)

    assert narrow < 1200
    assert line.mtu.size == 1500


def test_a_jumbo_size_is_found_too() -> None:
    line = Line(8123, full=8950)

    line.run(5.0)

    assert line.mtu.size == 8123


def test_one_lost_probe_does_not_make_a_line_narrow() -> None:
    line = Line(1500)
    fates = iter([True, True])
    line.loses = lambda: next(fates, False)

    line.run(1.0)

    assert line.mtu.size == 1500
    assert line.mtu.black_holes == 0


def test_larger_sizes_are_tried_again_after_ten_minutes() -> None:
    line = Line(1428)
    line.run(100.0)
    line.limit = 1500

    line.run(450.0)
    before = line.mtu.size
    line.run(100.0)

    assert before == 1428
    assert line.mtu.size == 1500


def test_an_attempt_in_vain_to_raise_it_stops_nothing() -> None:
    line = Line(1428)
    line.run(5.0)
    line.sent.clear()

    line.run(1300.0)

    assert line.mtu.size == 1428
    assert line.mtu.black_holes == 0
    assert len(line.sent) == 4  # two each time: bytes of an idle line count


def test_a_black_hole_is_noticed_once_large_datagrams_are_doubted() -> None:
    line = Line(1500)
    line.run(5.0)
    line.limit = 1400

    line.mtu.doubt(line.now)
    line.run(2.0)

    assert line.mtu.size == 1400
    assert line.mtu.black_holes == 1


def test_doubts_without_reason_cost_one_probe_a_second() -> None:
    line = Line(1500)
    line.run(5.0)
    line.sent.clear()

    for _ in range(500):
        line.mtu.doubt(line.now)
        line.run(0.01)

    assert line.mtu.size == 1500
    assert len(line.sent) <= 6


def test_what_our_own_interface_refuses_is_not_tried_again() -> None:
    line = Line(1500)
    line.run(5.0)
    line.limit = 1400
    line.sent.clear()

    line.mtu.on_refused(1500 - line.header, line.now)
    line.run(2.0)

    assert line.mtu.size == 1400
    assert 1500 not in line.sent


def test_a_silent_line_says_nothing_about_sizes() -> None:
    mtu = PathMtu(FULL)
    mtu.on_link_up(SERVER, 0.0)
    mtu.start_round(1, 0.0, 0.0)

    for tenth in range(1, 100):
        mtu.on_time(tenth / 10, 0, PATIENCE)

    assert mtu.state is MtuState.ASSUMED
    assert not mtu.is_due(10.0, is_usable=False)
    assert mtu.is_due(10.0, is_usable=True)


# --- the bond


def narrow(pair: Pair, limits: dict[int, int]) -> None:
    """Let WANs swallow IP packets that are larger than `limits` say."""
    pair.drop = lambda _up, wan, data: len(data) + 28 > limits.get(wan, 1500)


def path_of(pair: Pair, wan: int, *, at_server: bool = False) -> PathStatistics:
    endpoint = pair.server if at_server else pair.client
    return next(each for each in endpoint.statistics().peers[0].paths if each.path_id == wan)


def inner_mtu(pair: Pair, *, at_server: bool = False) -> int | None:
    endpoint = pair.server if at_server else pair.client
    return endpoint.statistics().peers[0].inner_mtu


def changes(pair: Pair, end: str = "client") -> list[int]:
    return [each.inner_mtu for each in pair.events[end] if isinstance(each, MtuChanged)]


def stream(pair: Pair, seconds: float, size: int) -> None:
    for _ in range(int(seconds * 50)):
        pair.send(udp_packet(bytes(size - 28)))
        pair.run(0.02)


def test_on_ordinary_lines_nothing_changes() -> None:
    pair = Pair()

    pair.connect()
    pair.run(700.0)

    assert inner_mtu(pair) == 1420
    assert changes(pair) == []
    assert [path_of(pair, wan).mtu for wan in (1, 2, 3)] == [1480] * 3


def test_the_inner_mtu_follows_the_narrowest_path_at_both_ends() -> None:
    pair = Pair()
    narrow(pair, {2: 1428})

    pair.connect()
    pair.run(3.0)

    for at_server in (False, True):
        assert path_of(pair, 2, at_server=at_server).mtu == 1428
        assert path_of(pair, 1, at_server=at_server).mtu == 1480
        assert inner_mtu(pair, at_server=at_server) == 1428 - 60
    assert changes(pair) == changes(pair, "server") == [1368]


def test_each_direction_has_its_own() -> None:
    pair = Pair(delays=(0.01,))
    pair.drop = lambda is_up, _wan, data: is_up and len(data) + 28 > 1400

    pair.connect()
    pair.run(3.0)

    assert inner_mtu(pair) == 1340
    assert inner_mtu(pair, at_server=True) == 1420


def test_padded_probes_that_are_lost_do_not_count_as_loss() -> None:
    pair = Pair(delays=(0.01,))
    narrow(pair, {1: 1400})

    pair.connect()
    pair.run(5.0)

    path = path_of(pair, 1)
    assert path.mtu == 1400
    assert path.loss == 0
    assert path.suspicions == 0


def test_a_path_too_narrow_for_ipv6_carries_no_packets_beside_another() -> None:
    pair = Pair()
    narrow(pair, {1: 1300})
    pair.connect()
    pair.run(3.0)
    before = path_of(pair, 1).sent_bytes

    stream(pair, 4.0, 1420)

    assert inner_mtu(pair) == 1420
    assert not path_of(pair, 1).is_fit
    assert path_of(pair, 1).sent_bytes - before < 20_000
    assert len(pair.received("server")) == 200


def test_the_only_path_carries_small_packets_however_narrow_it_is() -> None:
    pair = Pair(delays=(0.01,))
    narrow(pair, {1: 1300})
    pair.connect()
    pair.run(3.0)

    stream(pair, 1.0, 1000)

    assert inner_mtu(pair) == 1280
    assert len(pair.received("server")) == 50


def test_a_path_that_has_become_narrow_is_left_until_nothing_larger_comes() -> None:
    pair = Pair()
    pair.connect()
    pair.run(2.0)
    narrow(pair, {1: 1400})

    stream(pair, 4.0, 1420)
    pair.received("server")
    mtu, is_fit = inner_mtu(pair), path_of(pair, 1).is_fit
    stream(pair, 1.0, 1340)

    assert path_of(pair, 1).black_holes == 1
    assert mtu == 1340
    assert is_fit
    assert len(pair.received("server")) == 50


def test_the_inner_mtu_rises_again_when_the_line_does() -> None:
    pair = Pair()
    narrow(pair, {1: 1400})
    pair.connect()
    pair.run(5.0)
    narrow(pair, {})

    pair.run(700.0)

    assert path_of(pair, 1).mtu == 1480
    assert inner_mtu(pair) == 1420
    assert changes(pair) == [1340, 1420]


def test_parity_fits_too() -> None:
    fec = FecSettings(enabled=True)
    pair = Pair(
        client=replace(settings(is_client=True), fec=fec),
        server=replace(settings(is_client=False), fec=fec),
    )
    narrow(pair, {1: 1428})
    pair.connect()
    pair.run(3.0)
    pair.log.clear()

    mtu = inner_mtu(pair)
    assert mtu is not None
    stream(pair, 2.0, mtu)

    assert max(len(data) + 28 for _, wan, data in pair.log if wan == 1) <= 1428
    assert len(pair.received("server")) == 100


def test_packets_back_are_of_the_size_too() -> None:
    pair = Pair()
    narrow(pair, dict.fromkeys((1, 2, 3), 1428))
    pair.connect()
    pair.run(3.0)

    for _ in range(50):
        packet = udp_packet(bytes(1368 - 28), source=SERVER_IP, target=CLIENT_IP)
        pair.send(packet, from_client=False)
        pair.run(0.02)

    assert len(pair.received("client")) == 50


def test_what_no_path_carries_is_not_sent_and_counted() -> None:
    pair = Pair(delays=(0.01,))
    narrow(pair, {1: 1400})
    pair.connect()
    pair.run(3.0)
    pair.log.clear()

    narrow(pair, {1: 1300})
    stream(pair, 4.0, 1340)
    pair.log.clear()
    stream(pair, 1.0, 1340)

    # 1280 is the least an interface may have, so the kernel hands over what does not fit.
    assert max(len(data) + 28 for _, _, data in pair.log) <= 1300
    statistics = pair.client.statistics().peers[0]
    assert statistics.inner_mtu == 1280
    assert statistics.unsendable_packets >= 50
