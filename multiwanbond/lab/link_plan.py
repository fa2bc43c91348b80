"""Link settings and statistics as JSON, for the pipe between the emulator and its commander."""

import dataclasses
from typing import Any, Final

from multiwanbond.sim.links import BurstLoss, LinkSettings, LinkStatistics, Policer, RateTrace

DIRECTIONS: Final = ("to_server", "to_client")
"""The two directions of a WAN, by where packets go."""


def settings_to(settings: LinkSettings) -> dict[str, Any]:
    """Return `settings` as a JSON object."""
    return dataclasses.asdict(settings)


def settings_from(document: dict[str, Any]) -> LinkSettings:
    """Return the settings `settings_to` wrote."""
    rate, burst, policer = document["rate"], document["burst_loss"], document["policer"]
    if isinstance(rate, dict):
        rate = RateTrace(rates=tuple(rate["rates"]), step=rate["step"], start=rate["start"])
    nested = {
        "rate": rate,
        "burst_loss": BurstLoss(**burst) if burst else None,
        "policer": Policer(**policer) if policer else None,
    }
    return LinkSettings(**{**document, **nested})


def statistics_to(statistics: LinkStatistics) -> dict[str, Any]:
    """Return `statistics` as a JSON object; losses are named by their cause in plain words."""
    document = dataclasses.asdict(statistics)
    document["lost"] = {cause.value: count for cause, count in statistics.lost.items() if count}
    return document
