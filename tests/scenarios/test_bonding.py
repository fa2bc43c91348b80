"""What one flow gets of all lines together, and what those beside it notice: the product's purpose.

These runs are short and few, and their limits leave room; the scoreboard (`mwb simulate`) judges.
"""

from dataclasses import replace
from typing import Any

import pytest

from multiwanbond.core.settings import DuplicationSettings, EndpointSettings, RoutingMode
from multiwanbond.core.statistics import PathStatistics
from multiwanbond.sim.links import LinkSettings
from multiwanbond.sim.network import WanLinks
from multiwanbond.sim.random_mixes import scenario_named
from multiwanbond.sim.scoreboard import Bulk, InnerSender, Span, Traffic, capacity
from multiwanbond.sim.traffic import Stream
from tests.scenarios.bonded import Adjust, Bonded

SEED = 35
IDLE = 1.0
"""Seconds that a call has the bond for itself."""
MOST_WAIT = {"three_unequal": 0.03, "no_anchor": 0.04}
"""Seconds by which a call may be later beside a download. 30 ms are the aim; the slow lines of the
second mix come so close to it (20 to 29 ms with other seeds) that a shade more must do here."""
SECONDS = {"three_unequal": 3.0, "no_anchor": 4.0}
"""In which most of what the lines carry is to have arrived, the ramp included."""
MOST_STALL = 0.25
MOST_STALL_BY_CHANCE = 0.5
"""Seconds. 160 to 210 ms are usual. Where the queue happened to drop a packet just before the line
went, as it does with this seed, that one stands, sent again, behind all that was meant for both."""
IN_FLIGHT = 0.5
"""Packets of a call younger than this may be on their way."""


def line(mbit: float, *, rtt: float) -> WanLinks:
    """A line that is the same both ways, with much queue."""
    link = LinkSettings(rate=mbit * 125e3, delay=rtt / 2, queue=500_000)
    return WanLinks(link, link)


class Download:
    """One or more bulk flows towards a client, and a call beside them, from the first SYN on."""

    def __init__(
        self,
        mix: str | tuple[WanLinks, ...],
        *,
        sender: InnerSender = InnerSender.CUBIC,
        traffic: Traffic = Traffic.TCP,
        mode: RoutingMode = RoutingMode.ADAPTIVE,
        flows: int = 1,
        adjust: Adjust = lambda settings: settings,
    ) -> None:
        self.name, self.traffic = str(mix), traffic
        self.wans = scenario_named(mix).wans if isinstance(mix, str) else mix
        self.bonded = Bonded(SEED, wans=self.wans, mode=mode, adjust=adjust)
        self.bonded.connect()
        client = self.bonded.client
        self.call: Stream = client.stream(60.0, size=160, interval=0.02)
        self.bonded.world.run_for(IDLE)
        self.start = self.bonded.world.now
        self.flows: list[Bulk] = []
        for _ in range(flows):
            if traffic is Traffic.QUIC:
                self.flows.append(client.quic_transfer(controller=sender.quic_controller))
            else:
                self.flows.append(client.transfer(controller=sender.controller))

    def run(self, seconds: float) -> "Download":
        self.bonded.world.run_for(seconds)
        return self

    @property
    def now(self) -> float:
        return self.bonded.world.now

    def goodput(self, since: float = 0.0) -> float:
        return sum(flow.goodput(self.start + since, self.now) for flow in self.flows)

    def lines(self, since: float = 0.0) -> list[float]:
        """What each line carries at most after all headers."""
        span = Span(self.start + since, self.now)
        share = self.traffic.payload_share
        return [share * capacity(wan.down, span, (), self.start) for wan in self.wans]

    def norm(self, since: float = 0.0) -> float:
        """Goodput as a share of what all lines carry, the ramp included."""
        norm = self.goodput(since) / sum(self.lines(since))
        print(f"norm {norm:.3f}")
        return norm

    def ratio(self, line: int | None = None, since: float = 0.0) -> float:
        """Goodput over what one line carries at most; without its number, the best one."""
        lines = self.lines(since)
        ratio = self.goodput(since) / (max(lines) if line is None else lines[line])
        print(f"ratio {ratio:.2f}")
        return ratio

    def call_p95(self) -> tuple[float, float]:
        """95th percentile of the call's delay before the download and beside it."""
        until = self.now - IN_FLIGHT
        idle = self.call.delay(0.95, end=self.start)
        beside = self.call.delay(0.95, start=self.start, end=until)
        print(f"call {1e3 * idle:.0f} ms idle, {1e3 * beside:.0f} ms beside")
        return idle, beside

    def call_lost(self) -> int:
        """How many of the call's packets did not arrive."""
        until = self.now - IN_FLIGHT
        arrived = sum(self.start <= sent < until for sent, _ in self.call.arrivals)
        return self.call.sent_between(self.start, until) - arrived

    def paths(self) -> list[PathStatistics]:
        """All paths as the server sees them, which sends."""
        return list(self.bonded.server_statistics.peers[0].paths)

    def suspicions(self) -> int:
        """How often a path was suspected, at either end."""
        ends = (self.bonded.client.statistics, self.bonded.server_statistics)
        return sum(path.suspicions for end in ends for path in end.peers[0].paths)


# --- all lines for one flow, from its first packet on


@pytest.fixture(scope="module", params=["three_unequal", "no_anchor"])
def cubic(request: pytest.FixtureRequest) -> Download:
    return Download(request.param).run(SECONDS[request.param])


def test_a_cubic_download_gets_nearly_all_lines_together_within_seconds(cubic: Download) -> None:
    assert cubic.norm() >= 0.85
    assert [flow.timeouts for flow in cubic.flows] == [0]


def test_a_call_beside_a_download_is_hardly_later_and_loses_nothing(cubic: Download) -> None:
    idle, beside = cubic.call_p95()

    assert beside <= idle + MOST_WAIT[cubic.name]
    assert cubic.call_lost() == 0
    assert cubic.call.duplicates == 0


def test_no_line_is_suspected_while_it_is_merely_full(cubic: Download) -> None:
    assert cubic.suspicions() == 0


@pytest.mark.parametrize(("name", "least"), [("three_unequal", 0.8), ("no_anchor", 0.7)])
def test_a_bbr_download_gets_most_of_all_lines_together(name: str, least: float) -> None:
    download = Download(name, sender=InnerSender.BBR).run(SECONDS[name])

    assert download.norm() >= least


def test_a_long_bbr_download_gets_a_fat_line_beside_a_thin_quick_one() -> None:
    lines = (line(4, rtt=0.016), line(60, rtt=0.084))

    download = Download(lines, sender=InnerSender.BBR).run(16.0)

    assert download.norm(since=13.0) >= 0.85


def test_a_quic_download_beats_the_best_line_though_it_takes_disorder_for_loss() -> None:
    download = Download("three_unequal", traffic=Traffic.QUIC).run(2.0)

    assert download.ratio() >= 1.3


@pytest.mark.parametrize(
    ("name", "least"), [("random15", 0.85), ("random17", 0.8), ("random18", 0.8)]
)
def test_a_download_gets_most_of_lines_that_nobody_has_tuned_for(name: str, least: float) -> None:
    download = Download(name).run(6.0)

    assert download.norm() >= least
    assert download.ratio() > 1.0
    assert download.suspicions() == 0


def test_a_slow_start_over_thin_lines_ends_before_it_has_lost_hundreds_of_packets() -> None:
    download = Download("random18").run(8.0)

    assert sum(flow.resent for flow in download.flows) < 100


def test_a_line_so_long_that_no_window_fills_all_slows_no_download_down() -> None:
    fibre, satellite = line(80.0, rtt=0.02), line(4.0, rtt=0.7)

    download = Download((fibre, satellite)).run(5.0)

    assert download.norm(since=1.0) >= 0.85


def test_no_line_of_the_headline_mix_is_suspected_while_it_is_merely_full() -> None:
    download = Download("mix4").run(2.5)

    assert download.suspicions() == 0
    assert download.ratio() > 1.3


# --- several flows


def test_two_downloads_share_the_lines_fairly() -> None:
    download = Download("random17", flows=2).run(6.0)

    rates = [flow.goodput(download.start + 2.0, download.now) for flow in download.flows]
    jain = sum(rates) ** 2 / (len(rates) * sum(rate**2 for rate in rates))
    print(f"fairness {jain:.3f}")
    assert jain >= 0.95
    assert download.norm() >= 0.8


# --- when a line goes black


def test_a_download_hardly_notices_that_its_best_line_goes_black_and_comes_back() -> None:
    download = Download("three_unequal").run(0.6)
    world, best = download.bonded.world, download.bonded.client.uplinks[0]
    best.black_out()
    cut_at = world.now
    world.run_for(0.8)
    best.restore()
    before = download.paths()[0].sent_bytes
    world.run_for(1.5)

    [flow] = download.flows
    stall = flow.longest_stall(cut_at - 0.1, world.now)
    print(f"stall {1e3 * stall:.0f} ms")
    assert stall <= MOST_STALL
    assert flow.timeouts == 0
    assert not download.bonded.server.strays
    assert not download.bonded.client.host.strays
    # Half a second's worth of what it can carry: probes alone would be a few kilobytes.
    carried = download.paths()[0].sent_bytes - before
    assert carried >= 0.5 * download.lines()[0]
    assert download.suspicions() >= 1


def test_a_download_has_the_whole_bond_again_when_its_busiest_line_was_black_for_4_s() -> None:
    download = Download("black_busiest").run(3.0)
    world, busiest = download.bonded.world, download.bonded.client.uplinks[0]
    busiest.black_out()
    cut_at = world.now
    world.run_for(4.0)
    left = download.goodput(since=3.5) / download.lines()[1]
    busiest.restore()
    back_at = world.now - download.start
    world.run_for(3.0)

    print(f"{left:.2f} of the line that was left")
    assert left >= 0.9
    assert download.norm(since=back_at + 0.5) >= 0.9
    [flow] = download.flows
    assert flow.longest_stall(cut_at - 0.1, world.now) <= MOST_STALL_BY_CHANCE
    assert flow.timeouts == 0


def test_a_fast_stream_loses_little_when_its_line_goes_black_and_then_nothing() -> None:
    bonded = Bonded(SEED)
    bonded.connect()
    world = bonded.world
    stream = bonded.client.stream(6.0, interval=0.002)
    world.run_for(1.0)
    cut_at = world.now

    bonded.client.uplinks[0].black_out()
    world.run_for(7.0)

    spoilt = stream.sent - sum(got - sent <= 0.25 for sent, got in stream.arrivals)
    print(f"{spoilt} late or lost")
    assert spoilt <= 60
    settled = [sent for sent, got in stream.arrivals if sent >= cut_at + 0.5 and got - sent <= 0.25]
    assert len(settled) == stream.sent_between(cut_at + 0.5, world.now)
    assert stream.duplicates == 0
    assert bonded.server_statistics.peers[0].repaired_packets >= 10


# --- the operator's other routing modes


def test_round_robin_gets_more_than_the_best_line_too() -> None:
    download = Download("three_unequal", mode=RoutingMode.ROUND_ROBIN).run(2.0)

    assert download.ratio(since=0.5) >= 1.2


@pytest.mark.parametrize("mode", [RoutingMode.LEAST_LATENCY, RoutingMode.PER_FLOW])
def test_modes_that_keep_a_flow_on_one_line_fill_it(mode: RoutingMode) -> None:
    download = Download("three_unequal", mode=mode).run(1.5)

    sent = [path.sent_bytes for path in download.paths()]
    used = sent.index(max(sent))
    print(f"line {used}")
    assert download.ratio(used, since=0.5) >= 0.9


@pytest.mark.parametrize("mode", [RoutingMode.WEIGHTED, RoutingMode.LEAST_USED])
def test_modes_that_share_packets_out_get_more_than_the_best_line_too(mode: RoutingMode) -> None:
    download = Download("three_unequal", mode=mode).run(3.0)

    assert download.ratio(since=1.0) >= 1.3


# --- what the operator wants of a line


def with_wan(number: int, **wishes: Any) -> Adjust:
    """Set something for one WAN of the client."""

    def adjust(settings: EndpointSettings) -> EndpointSettings:
        wans = [replace(wan, **wishes) if wan.id == number else wan for wan in settings.wans]
        return replace(settings, wans=tuple(wans))

    return adjust


@pytest.mark.parametrize("is_upload", [False, True])
def test_a_line_is_not_used_for_more_than_its_max_bandwidth_either_way(*, is_upload: bool) -> None:
    wans = (line(20, rtt=0.02), line(20, rtt=0.03))
    bonded = Bonded(SEED, wans=wans, adjust=with_wan(2, max_bandwidth=500e3))
    bonded.connect()
    transfer = bonded.client.transfer(is_upload=is_upload)
    bonded.world.run_for(1.0)
    (sender,) = (bonded.client.statistics if is_upload else bonded.server_statistics).peers
    before = [path.sent_bytes for path in sender.paths]
    start = bonded.world.now

    bonded.world.run_for(4.0)

    (sender,) = (bonded.client.statistics if is_upload else bonded.server_statistics).peers
    after = [path.sent_bytes for path in sender.paths]
    free, capped = ((new - old) / 4 for new, old in zip(after, before, strict=True))
    assert 450e3 <= capped <= 525e3
    assert free >= 2.2e6
    assert transfer.goodput(start, bonded.world.now) >= 0.85 * (free + capped)


def test_weights_share_a_call_that_no_line_is_filled_by() -> None:
    wans = (line(20, rtt=0.02), line(20, rtt=0.02))
    mode = RoutingMode.WEIGHTED
    bonded = Bonded(SEED, wans=wans, mode=mode, adjust=with_wan(2, weight=40))
    bonded.connect()
    bonded.world.run_for(1.0)  # until the peer was told, and the lines' rates are known
    before = [path.sent_bytes for path in bonded.server_statistics.peers[0].paths]

    bonded.client.stream(10.0, size=1000, interval=0.005)
    bonded.world.run_for(10.0)

    after = [path.sent_bytes for path in bonded.server_statistics.peers[0].paths]
    one, other = (new - old for new, old in zip(after, before, strict=True))
    assert 2.5 <= other / one <= 6


def duplicating(settings: EndpointSettings) -> EndpointSettings:
    return replace(settings, duplication=DuplicationSettings(packets=True))


def test_a_download_that_is_duplicated_still_gets_what_a_line_carries() -> None:
    wans = (line(20, rtt=0.02), line(20, rtt=0.03))

    download = Download(wans, adjust=duplicating).run(3.0)

    assert download.ratio(since=1.0) >= 0.9
    assert download.call_lost() == 0


def test_a_duplicated_call_loses_nothing_over_two_lossy_lines() -> None:
    link = LinkSettings(rate=2.5e6, delay=0.02, loss=0.05)
    bonded = Bonded(SEED, wans=(WanLinks(link, link),) * 2, adjust=duplicating)
    bonded.connect()

    stream = bonded.client.stream(20.0, size=160, interval=0.01)
    bonded.world.run_for(20.5)

    late = sum(got - sent > 0.05 for sent, got in stream.arrivals)
    # Both copies of a packet are lost one time in 400, and such a packet is sent again: with 12
    # seeds 1 to 18 come late. By one line it would be a hundred.
    assert stream.lost == 0
    assert late <= 20
    assert stream.duplicates == 0
