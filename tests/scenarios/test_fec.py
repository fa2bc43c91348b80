"""What forward error correction leaves missing where nothing can be sent again in time.

The line takes a third of a second each way, and a packet must be there a tenth after it could have
been: a re-send comes too late, and what is missing is the line's loss or made up for by parity.
`pytest -s tests/scenarios/test_fec.py` prints the figures, as docs/fec.md has them of twice as many
packets.
"""

from dataclasses import replace

import pytest

from multiwanbond.core.fec.encoder import residual_loss
from multiwanbond.core.settings import EndpointSettings, FecSettings
from multiwanbond.sim.links import BurstLoss, LinkSettings
from multiwanbond.sim.network import WanLinks
from tests.scenarios.bonded import Adjust, Bonded

SEED = 41
DELAY = 0.33
IN_TIME = DELAY + 0.1
INTERVAL = 0.005
PACKETS = 6000
BURST = 3.0
"""Packets that a burst takes on average."""


def line(loss: float, *, is_bursty: bool = False, mbit: float = 20.0) -> WanLinks:
    """A long line that loses packets both ways, one by one or several in a row."""
    bursts = BurstLoss(to_bad=loss / BURST / (1 - loss), to_good=1 / BURST, loss_in_bad=1.0)
    link = LinkSettings(
        rate=mbit * 125e3,
        delay=DELAY,
        queue=500_000,
        loss=0.0 if is_bursty else loss,
        burst_loss=bursts if is_bursty else None,
    )
    return WanLinks(link, link)


def with_fec(fec: FecSettings) -> Adjust:
    def adjust(settings: EndpointSettings) -> EndpointSettings:
        return replace(settings, fec=fec)

    return adjust


def missing(wans: tuple[WanLinks, ...], fec: FecSettings) -> tuple[float, float]:
    """The share of a stream's packets that are not there in time, and what the line lost then."""
    bonded = Bonded(SEED, wans=wans, adjust=with_fec(fec))
    bonded.connect()
    bonded.world.run_for(8.0)  # until each end knows what the line loses
    wire = bonded.client.uplinks[0].down
    before = wire.statistics
    stream = bonded.client.stream(PACKETS * INTERVAL, size=120, interval=INTERVAL)
    bonded.world.run_for(PACKETS * INTERVAL + 2.0)
    in_time = sum(got - sent <= IN_TIME for sent, got in stream.arrivals)
    assert stream.duplicates == 0
    after = wire.statistics
    lost = sum(after.lost.values()) - sum(before.lost.values())
    return 1 - in_time / stream.sent, lost / (after.pushed - before.pushed)


CODES = [
    pytest.param(FecSettings(), id="off"),
    pytest.param(FecSettings(enabled=True, redundancy=0.25), id="4+1"),
    pytest.param(FecSettings(enabled=True, redundancy=0.5), id="4+2"),
    pytest.param(
        FecSettings(enabled=True, redundancy=0.5, data_shards=8, parity_shards=4), id="8+4"
    ),
    pytest.param(FecSettings(enabled=True, redundancy=None, parity_shards=4), id="auto"),
]


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("fec", CODES)
def test_random_loss_leaves_missing_what_the_theory_says(fec: FecSettings, loss: float) -> None:
    found, _ = missing((line(loss),), fec)

    size = fec.data_shards
    parity = round(size * (fec.redundancy or 0.0)) if fec.enabled else 0
    theory = residual_loss(size, parity, loss)
    print(f"random {100 * loss:g} %: missing {100 * found:.3f} %, theory {100 * theory:.3f} %")
    if fec.redundancy is None:
        assert found <= max(0.2 * loss, 0.003)
    else:
        # A packet in a block of its own luck: the spread of so many is within these bounds. Of
        # fewer than fifty that should be missing, which are in a handful of blocks, it is all.
        least = 0.6 * theory if theory * PACKETS > 50 else 0.0
        assert least - 0.0005 <= found <= 1.5 * theory + 0.0008


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("fec", CODES)
def test_bursts_leave_more_missing_and_still_far_less_than_the_line_loses(
    fec: FecSettings, loss: float
) -> None:
    found, lost = missing((line(loss, is_bursty=True),), fec)

    print(f"bursts of {BURST:g}, {100 * loss:g} %: missing {100 * found:.3f} %")
    # Some twenty bursts of chance length: what the line has really lost is what counts.
    if not fec.enabled:
        assert found == pytest.approx(lost, rel=0.35)
    elif fec.data_shards == 8:
        assert found <= 0.55 * lost
    else:
        # Whether the few bursts of a line that loses little meet packets or parity is chance, too.
        assert found < lost + 0.002


def test_a_download_beside_parity_arrives_whole() -> None:
    fec = FecSettings(enabled=True, redundancy=0.25)
    bonded = Bonded(SEED, adjust=with_fec(fec))
    bonded.connect()

    transfer = bonded.client.transfer(3_000_000)
    bonded.world.run_until(lambda: transfer.is_done, within=20.0)

    assert transfer.receiver.expected == 3_000_000
    (sender,) = bonded.server_statistics.peers
    assert sender.parity_datagrams == pytest.approx(0.25 * sender.sent_packets, rel=0.02)
