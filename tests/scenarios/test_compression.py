"""What compression does for a download over thin lines: text, and what is packed already.

`pytest -s tests/scenarios/test_compression.py` prints the figures of docs/compression.md.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from multiwanbond.core.settings import Compression, EndpointSettings
from multiwanbond.sim import packets
from multiwanbond.sim.links import LinkSettings
from multiwanbond.sim.network import WanLinks
from tests.scenarios.bonded import Bonded

SEED = 17
CORE = Path(__file__).parents[2] / "multiwanbond" / "core"
TEXT = b"".join(path.read_bytes() for path in sorted(CORE.glob("*.py")))


def line(mbit: float, delay: float) -> WanLinks:
    """A line with a tenth of a second of queue."""
    link = LinkSettings(rate=mbit * 125e3, delay=delay, queue=int(mbit * 125e3 * 0.1) + 20_000)
    return WanLinks(link, link)


ONE = (line(2, 0.02),)
TWO = (line(2, 0.02), line(1, 0.04))


def goodput(wans: tuple[WanLinks, ...], wish: Compression) -> float:
    """Bytes a second of a download, without its beginning; every byte is compared."""

    def adjust(settings: EndpointSettings) -> EndpointSettings:
        return replace(settings, compression=wish)

    bonded = Bonded(SEED, wans=wans, adjust=adjust)
    bonded.connect()
    transfer = bonded.client.transfer()
    begun = bonded.world.now
    bonded.world.run_for(20.0)
    return transfer.goodput(begun + 5.0, begun + 20.0)


@pytest.mark.parametrize("wans", [ONE, TWO], ids=["one line", "two lines"])
def test_a_download_of_text_is_nearly_twice_as_fast(
    wans: tuple[WanLinks, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    period = packets._PERIOD
    assert len(TEXT) > period
    monkeypatch.setattr(packets, "_BLOCK", memoryview(TEXT[:period] * 3))

    plain, shrunk = (goodput(wans, wish) for wish in (Compression.NONE, Compression.ZSTD))

    print(f"text: {plain * 8 / 1e6:.2f} Mbit/s, with zstd {shrunk * 8 / 1e6:.2f}")
    assert shrunk > 1.6 * plain


def test_a_download_that_does_not_shrink_is_as_fast_as_without() -> None:
    plain, tried = (goodput(ONE, wish) for wish in (Compression.NONE, Compression.ZSTD))

    print(f"packed already: {plain * 8 / 1e6:.2f} Mbit/s, with zstd {tried * 8 / 1e6:.2f}")
    assert tried == pytest.approx(plain, rel=0.03)
