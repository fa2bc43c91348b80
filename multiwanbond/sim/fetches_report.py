"""How the times of short fetches are shown: a table for people, JSON for machines."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from multiwanbond.core.settings import RoutingMode

from .fetches import PAGE_FETCHES, SHORT_FLOWS, SIZES, FetchFigures, FetchTimes
from .scoreboard import InnerSender

HEADER: Final = (
    "                      10 kB        100 kB          1 MB   20 x 100 kB    bulk\n"
    "scenario          ms x line     ms x line     ms x line     ms x line  x idle"
)

LEGEND: Final = (
    "ms: median time of a download over the bond, from the SYN to the last byte.",
    "x line: as a multiple of its time over the line that is best at it, alone; below 1 is sooner.",
    f"20 x 100 kB: until the last of {PAGE_FETCHES} has ended that began at once.",
    f"bulk: p95 of {SHORT_FLOWS} fetches of 100 kB beside a bulk transfer, over p95 without it.",
)


def row(figures: FetchFigures) -> str:
    """Return a line of the table."""
    return row_of(figures.name, figures.fetches, figures.page, figures.disturbance)


def row_of(
    name: str, fetches: Mapping[int, FetchTimes], page: FetchTimes, disturbance: float
) -> str:
    """Return a line of the table, wherever it was measured."""
    kinds = [*(fetches[size] for size in SIZES), page]
    cells = "".join(f"{1000 * times.bond:7.0f}{times.ratio:7.2f}" for times in kinds)
    return f"{name:<13}{cells}{disturbance:8.2f}"


def title(sender: InnerSender, mode: RoutingMode, seed: int) -> str:
    """Return what is run, in words."""
    return f"{sender.value}, short fetches, mode {mode.value}, seed {seed}"


def document(results: Sequence[FetchFigures]) -> dict[str, Any]:
    """Return the results as a JSON object: seconds, bytes, multiples."""
    return {"fetches": [_run(figures) for figures in results]}


def _run(figures: FetchFigures) -> dict[str, Any]:
    return {
        **asdict(figures),
        "sender": figures.sender.value,
        "mode": figures.mode.value,
        "fetches": {str(size): times_of(times) for size, times in figures.fetches.items()},
        "page": times_of(figures.page),
        "beside": times_of(figures.beside),
        "disturbance": figures.disturbance,
    }


def times_of(times: FetchTimes) -> dict[str, Any]:
    """Return one kind of fetch as a JSON object."""
    return {**asdict(times), "ratio": times.ratio}
