"""Which key a received datagram names: the table behind the session ids we hand out."""

from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

from multiwanbond.errors import LocalProtocolError

_H = TypeVar("_H")

_ID_BYTES: Final = 2
_ATTEMPTS: Final = 1000
"""Random ids tried before giving up: at three keys a client, 20 000 clients leave room enough."""


class SessionTable(Generic[_H]):
    """Maps our session ids (16 bits, random so that they say nothing) to whatever they name."""

    __slots__ = ("_entropy", "_holders")

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._holders: dict[int, _H] = {}

    def add(self, holder: _H) -> int:
        """Return a new id for `holder`."""
        for _ in range(_ATTEMPTS):
            session_id = int.from_bytes(self._entropy(_ID_BYTES), "big")
            if session_id not in self._holders:
                self._holders[session_id] = holder
                return session_id
        raise LocalProtocolError("no session id left")

    def replace(self, session_id: int, holder: _H) -> None:
        """Let an id that is already ours name something else."""
        self._holders[session_id] = holder

    def get(self, session_id: int) -> _H | None:
        """Return what an id names, or None."""
        return self._holders.get(session_id)

    def discard(self, session_ids: Iterable[int]) -> None:
        """Forget ids; unknown ones are ignored."""
        for session_id in session_ids:
            self._holders.pop(session_id, None)
