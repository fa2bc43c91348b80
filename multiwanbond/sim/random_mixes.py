"""Line mixes drawn at random: what nobody has tuned for.

Each has a number and is the same whenever it is drawn; `random07` names the seventh.
"""

from random import Random
from typing import Final

from .links import LinkSettings
from .network import WanLinks
from .scenarios import SCENARIOS, Scenario

PREFIX: Final = "random"
STANDARD_COUNT: Final = 30
"""So many make a fair judgement, and what is promised of random mixes is about the first 30."""
MOST: Final = 99
"""Names have two digits."""

_MBIT: Final = 1e6 / 8
_LINES: Final = (2, 4)
_RATES: Final = (2 * _MBIT, 300 * _MBIT)
_DELAYS: Final = (0.004, 0.080)
"""One way."""
_QUEUES: Final = (0.020, 0.400)
"""Seconds that a full queue takes to leave."""
_JITTERS: Final = (0.0, 0.0, 0.005, 0.010, 0.015)
_LOSSES: Final = (0.0, 0.0, 0.002, 0.005, 0.010, 0.020)
"""As often as lines are like this: some are clean, some lose a packet in fifty."""
_UP_SHARE: Final = 1 / 4
_LEAST_UP: Final = 1 * _MBIT
_LEAST_QUEUE: Final = 6_000
"""Four full packets; no modem has fewer buffers."""


def random_scenario(number: int) -> Scenario:
    """Return mix `number`, from 1."""
    rng = Random(f"mix {number}")
    wans = tuple(_random_wan(rng) for _ in range(rng.randint(*_LINES)))
    return Scenario(purpose=f"at random: {'; '.join(map(_in_words, wans))}", wans=wans)


def random_names(count: int = STANDARD_COUNT) -> list[str]:
    """Return the names of the first `count` mixes."""
    return [f"{PREFIX}{number:02}" for number in range(1, count + 1)]


def scenario_named(name: str) -> Scenario:
    """Return a standard mix or one drawn at random.

    Raises:
        KeyError: there is none of that name.
    """
    if name in SCENARIOS:
        return SCENARIOS[name]
    number = name.removeprefix(PREFIX)
    if name not in random_names(MOST):
        raise KeyError(name)
    return random_scenario(int(number))


def _random_wan(rng: Random) -> WanLinks:
    down = _log_uniform(rng, *_RATES)
    up = max(_UP_SHARE * down, _LEAST_UP)
    delay = _log_uniform(rng, *_DELAYS)
    jitter, loss = rng.choice(_JITTERS), rng.choice(_LOSSES)
    queue = rng.uniform(*_QUEUES)

    def direction(rate: float) -> LinkSettings:
        return LinkSettings(
            rate=rate,
            delay=delay,
            jitter=jitter,
            loss=loss,
            queue=max(round(queue * rate), _LEAST_QUEUE),
        )

    return WanLinks(up=direction(up), down=direction(down))


def _in_words(wan: WanLinks) -> str:
    link = wan.down
    assert isinstance(link.rate, float)
    words = f"{link.rate / _MBIT:.0f} Mbit/s {1000 * link.delay:.0f} ms"
    if link.jitter:
        words += f" +{1000 * link.jitter:.0f}"
    return f"{words} {100 * link.loss:g} %" if link.loss else words


def _log_uniform(rng: Random, least: float, most: float) -> float:
    """Return a value as likely between 2 and 4 as between 100 and 200."""
    return float(least * (most / least) ** rng.random())
