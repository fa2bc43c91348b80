"""Standard WAN mixes as data, for the simulator and the lab alike.

S1 to S13 are those of our bonding study; rates are on the IP level, delays one way, and "down" is
towards the client. What happens during a scenario (a black-out, freezes) is listed beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random
from types import MappingProxyType
from typing import Final, Protocol

from .links import BurstLoss, LinkSettings, Policer, RateTrace
from .network import WanLinks
from .world import World

_MBIT: Final = 1e6 / 8
"""Bytes per second."""

_LTE_LEAST, _LTE_MOST, _LTE_START = 5.0, 30.0, 15.0
_LTE_STEP: Final = 0.1
_LTE_STEPS: Final = 400


class Incident(Enum):
    """What befalls a WAN during a scenario."""

    BLACK_OUT = "black-out"
    FREEZE = "freeze"


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One incident."""

    wan: int
    """Position in the scenario's `wans`, from 0."""
    incident: Incident
    start: float
    """Seconds from the start of the measurement."""
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """WANs and what befalls them."""

    purpose: str
    """What the mix is there to show."""
    wans: tuple[WanLinks, ...]
    happenings: tuple[Happening, ...] = ()

    @property
    def rate_down(self) -> float:
        """Sum of the lines' mean rates towards the client in bytes per second."""
        return sum(mean_rate(wan.down) for wan in self.wans)

    @property
    def rate_up(self) -> float:
        """Sum of the lines' mean rates from the client in bytes per second."""
        return sum(mean_rate(wan.up) for wan in self.wans)

    @property
    def black_outs(self) -> tuple[Happening, ...]:
        """What of the happenings lets a line carry nothing."""
        return tuple(one for one in self.happenings if one.incident is Incident.BLACK_OUT)


def mean_rate(link: LinkSettings) -> float:
    """Return what a link carries at most over a long time, in bytes per second."""
    rate = link.rate
    if isinstance(rate, RateTrace):
        rate = sum(rate.rates) / len(rate.rates)
    assert rate is not None
    return min(rate, link.policer.rate) if link.policer else rate


class Line(Protocol):
    """What incidents strike."""

    def black_out(self) -> None:
        """Swallow everything from now on, silently."""

    def freeze(self) -> None:
        """Hold everything until `restore`."""

    def restore(self) -> None:
        """Carry packets again."""


def play(scenario: Scenario, uplinks: Sequence[Line], world: World) -> None:
    """Let everything that befalls the scenario's WANs happen, counted from now."""
    for happening in scenario.happenings:
        uplink = uplinks[happening.wan]
        strike = uplink.black_out if happening.incident is Incident.BLACK_OUT else uplink.freeze
        world.call_in(happening.start, strike)
        world.call_in(happening.start + happening.duration, uplink.restore)


def _lte_rates(seed: int) -> RateTrace:
    """Return a log-random walk every 500 ms, 15 % up or down every 100 ms."""
    rng, level, rates = Random(seed), _LTE_START, []
    for step in range(_LTE_STEPS):
        if step % 5 == 0:
            level = min(_LTE_MOST, max(_LTE_LEAST, level * 2 ** rng.gauss(0, 0.35)))
        wobbly = level * (1 + 0.15 * rng.uniform(-1, 1))
        rates.append(min(_LTE_MOST, max(_LTE_LEAST, wobbly)) * _MBIT)
    return RateTrace(rates=tuple(rates), step=_LTE_STEP)


def _wan(
    down: float | RateTrace,
    up: float,
    delay: float,
    *,
    queue: int = 100_000,
    queue_up: int = 100_000,
    jitter: float = 0.0,
    jitter_up: float | None = None,
    loss: float = 0.0,
    loss_up: float | None = None,
    burst_loss: BurstLoss | None = None,
    policer: Policer | None = None,
) -> WanLinks:
    """Return a WAN; rates in Mbit per second, "up" like "down" where it is not given."""
    return WanLinks(
        up=LinkSettings(
            rate=up * _MBIT,
            delay=delay,
            jitter=jitter if jitter_up is None else jitter_up,
            loss=loss if loss_up is None else loss_up,
            queue=queue_up,
        ),
        down=LinkSettings(
            rate=down if isinstance(down, RateTrace) else down * _MBIT,
            delay=delay,
            jitter=jitter,
            loss=loss,
            burst_loss=burst_loss,
            queue=queue,
            policer=policer,
        ),
    )


def _starlink(loss: float = 0.01) -> WanLinks:
    return _wan(50, 10, 0.020, jitter=0.012, loss=loss, loss_up=0.01, queue=500_000)


def _lte(seed: int) -> WanLinks:
    return _wan(
        _lte_rates(seed), 5, 0.032, jitter=0.008, jitter_up=0.010, queue=2_000_000, queue_up=500_000
    )


_FIBRE: Final = _wan(100, 100, 0.005, queue=250_000)
_VDSL: Final = _wan(10, 2, 0.0125, queue=64_000)
_BURSTY_FIBRE: Final = _wan(
    100,
    100,
    0.005,
    queue=250_000,
    burst_loss=BurstLoss(to_bad=0.0005, to_good=0.2, loss_in_bad=0.5),
)
_POLICED: Final = _wan(
    200, 20, 0.010, queue=1_000_000, policer=Policer(rate=40 * _MBIT, bucket=60_000)
)
_GEO: Final = _wan(
    20, 3, 0.300, jitter=0.010, jitter_up=0.0, loss=0.002, loss_up=0.0, queue=1_500_000
)
_SQUARE: Final = _wan(
    RateTrace(rates=(40 * _MBIT, 15 * _MBIT), step=2.0), 10, 0.0125, queue=128_000
)
_THIN_FIBRE: Final = _wan(100, 5, 0.005, queue=250_000, queue_up=30_000)
_THIN_CABLE: Final = _wan(50, 2, 0.0125, queue=128_000, queue_up=20_000)

_FREEZES: Final = tuple(
    Happening(wan=1, incident=Incident.FREEZE, start=2.5 + 5 * turn, duration=0.15)
    for turn in range(6)
)


def _black(wan: int) -> tuple[Happening, ...]:
    return (Happening(wan=wan, incident=Incident.BLACK_OUT, start=4.0, duration=3.0),)


SCENARIOS: Final[Mapping[str, Scenario]] = MappingProxyType(
    {
        "mix4": Scenario(purpose="headline", wans=(_FIBRE, _starlink(), _VDSL, _lte(4))),
        "fibre_and_vdsl": Scenario(purpose="clean, ten to one", wans=(_FIBRE, _VDSL)),
        "no_anchor": Scenario(purpose="no fast path", wans=(_VDSL, _lte(4), _starlink())),
        "two_lte": Scenario(purpose="variable rate, deep buffers", wans=(_lte(4), _lte(14))),
        "bursty": Scenario(purpose="burst loss", wans=(_BURSTY_FIBRE, _starlink(0.02))),
        "shallow": Scenario(
            purpose="loss is the only sign of congestion",
            wans=(_wan(100, 100, 0.005, queue=30_000), _wan(10, 2, 0.0125, queue=12_000)),
        ),
        "policer": Scenario(purpose="a policer instead of a queue", wans=(_POLICED, _VDSL)),
        "failover_best": Scenario(
            purpose="the best path goes black",
            wans=(_FIBRE, _starlink(), _VDSL),
            happenings=_black(0),
        ),
        "failover_slow": Scenario(
            purpose="a slow path goes black",
            wans=(_FIBRE, _starlink(), _VDSL),
            happenings=_black(1),
        ),
        "freeze": Scenario(
            purpose="packets are delayed, not lost",
            wans=(_FIBRE, _starlink()),
            happenings=_FREEZES,
        ),
        "geo": Scenario(
            purpose="extreme difference of delay",
            wans=(_wan(10, 2, 0.0125, queue=100_000), _GEO),
        ),
        "square": Scenario(purpose="steps of cross traffic", wans=(_FIBRE, _SQUARE)),
        "thin_up": Scenario(purpose="acks on thin uplinks", wans=(_THIN_FIBRE, _THIN_CABLE)),
        "three_unequal": Scenario(
            purpose="what the demo and the kernel tests use",
            wans=(_wan(100, 100, 0.005), _wan(50, 50, 0.020), _wan(10, 10, 0.0125)),
        ),
        "black_busiest": Scenario(
            purpose="the busiest of two lines goes black for long",
            wans=(
                _wan(50, 50, 0.010, queue=625_000, queue_up=625_000),
                _wan(20, 20, 0.050, queue=250_000, queue_up=250_000),
            ),
            happenings=(Happening(wan=0, incident=Incident.BLACK_OUT, start=4.0, duration=4.0),),
        ),
    }
)
"""By name; the first thirteen are S1 to S13 in this order."""
