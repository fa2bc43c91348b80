"""Routing mode `per_flow`: each flow on one path, the flows spread over all."""

from collections.abc import Sequence
from hashlib import blake2s
from math import log, log2
from typing import Final

from multiwanbond.core.flow import Flow

from .base import P, SchedulablePath, find_path

LEAST_RATE: Final = 10e3
"""Bytes a second assumed of a path at least: one that is not measured yet must get its chance."""


class PerFlow:
    """Keeps a flow on the path that its addresses and ports select, as long as that path lives.

    Every path gives the flow a score, and the highest wins (rendezvous hashing): when a path goes,
    only its own flows move, and they spread over all that are left. A flow that has moved stays
    where it is when its first path returns; flows opened from then on use it again. Scores are
    weighted, so that a path gets flows in proportion to its weight and rate (Schindelhauer and
    Schomaker, "Weighted Distributed Hash Tables", 2005). One flow is never quicker than its line;
    many flows add up.
    """

    __slots__ = ()

    def choose(self, flow: Flow, paths: Sequence[P], now: float) -> P | None:
        """Return the flow's path once it has credit (see `Scheduler`)."""
        path = self.choose_at_once(flow, paths, now)
        return path if path.has_credit else None

    def choose_at_once(self, flow: Flow, paths: Sequence[P], now: float) -> P:
        """Return the flow's path (see `Scheduler`)."""
        path = find_path(flow.path_id, paths)
        if path is None:
            path = max(paths, key=lambda candidate: _score(flow.key, candidate))
            flow.path_id = path.path_id
        return path


def _score(key: bytes, path: SchedulablePath) -> float:
    # Not `hash`: it differs from process to process, and a restart would move every flow. Rates
    # count in steps of two for the same reason.
    digest = blake2s(key + path.path_id.to_bytes(4, "big"), digest_size=8).digest()
    chance = (int.from_bytes(digest, "big") + 1) / 2**64
    rate = 2.0 ** round(log2(max(path.rate, LEAST_RATE)))
    return path.weight * rate / -log(chance) if chance < 1 else float("inf")
