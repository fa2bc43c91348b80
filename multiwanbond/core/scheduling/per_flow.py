"""Routing mode `per_flow`: each flow on one path, the flows spread over all."""

from collections.abc import Sequence
from hashlib import blake2s

from multiwanbond.core.flow import Flow

from .base import P, find_path


class PerFlow:
    """Keeps a flow on the path that its addresses and ports select, as long as that path lives.

    Every path gives the flow a score, and the highest wins (rendezvous hashing): when a path goes,
    only its own flows move, and they spread over all that are left. A flow that has moved stays
    where it is when its first path returns; flows opened from then on use it again. One flow is
    never quicker than its line; many flows add up.
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
            path = max(paths, key=lambda candidate: _score(flow.key, candidate.path_id))
            flow.path_id = path.path_id
        return path


def _score(key: bytes, path_id: int) -> bytes:
    # Not `hash`: it differs from process to process, and a restart would move every flow.
    return blake2s(key + path_id.to_bytes(4, "big"), digest_size=8).digest()
