"""Virtual time: things happen at instants, in order, and the same seed makes the same history."""

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Final

from multiwanbond.errors import LocalProtocolError

START: Final = 1000.0
"""Not 0: a forgotten `is not None` would pass unseen while the clock reads 0."""

MOST_STEPS_AT_ONE_INSTANT: Final = 20_000
"""More than any burst of traffic needs; beyond it somebody asks for "now" again and again."""

Action = Callable[[], None]


class World:
    """A clock and what is to happen when; everything in a simulation hangs on one of these."""

    def __init__(self, seed: int) -> None:
        self.seed: Final = seed
        self.now = START
        self._agenda: list[tuple[float, int, Action]] = []
        self._entries = 0
        self._steps_at_now = 0

    def rng(self, purpose: str) -> Random:
        """Return a source of chance of its own, so that one more user does not change others'."""
        return Random(f"{self.seed} {purpose}")

    def call_at(self, when: float, action: Action) -> None:
        """Run `action` at `when`, or at once after what is already due if that is past."""
        self._entries += 1
        heappush(self._agenda, (when if when > self.now else self.now, self._entries, action))

    def call_in(self, delay: float, action: Action) -> None:
        """Run `action` in `delay` seconds."""
        self.call_at(self.now + delay, action)

    def run_for(self, seconds: float) -> None:
        """Let `seconds` pass."""
        end = self.now + seconds
        agenda = self._agenda
        while agenda and agenda[0][0] <= end:
            self._step()
        self._move_to(end)

    def run_until(self, is_reached: Callable[[], bool], *, within: float) -> float:
        """Let time pass until `is_reached()`; return how many seconds it took.

        Raises:
            TimeoutError: it was not reached `within` seconds. The message names the seed.
        """
        start = self.now
        while not is_reached():
            if not self._agenda or self._agenda[0][0] > start + within:
                msg = f"not reached within {within} s (seed {self.seed})"
                raise TimeoutError(msg)
            self._step()
        return self.now - start

    def _step(self) -> None:
        when, _, action = heappop(self._agenda)
        self._move_to(when)
        self._steps_at_now += 1
        if self._steps_at_now > MOST_STEPS_AT_ONE_INSTANT:
            msg = f"livelock at {when:.6f} s in {action!r} (seed {self.seed})"
            raise LocalProtocolError(msg)
        action()

    def _move_to(self, when: float) -> None:
        if when > self.now:
            self.now = when
            self._steps_at_now = 0


class Timer:
    """One deadline that may be moved as often as one likes, at the price of few agenda entries."""

    __slots__ = ("_action", "_armed_for", "_deadline", "_world")

    def __init__(self, world: World, action: Action) -> None:
        self._world = world
        self._action = action
        self._deadline: float | None = None
        self._armed_for: float | None = None

    def set(self, deadline: float | None) -> None:
        """Expire at `deadline` instead of when it was to be; None: not at all."""
        self._deadline = deadline
        if deadline is None:
            return
        if self._armed_for is None or deadline < self._armed_for:
            self._arm(deadline)

    def _arm(self, when: float) -> None:
        self._armed_for = when
        self._world.call_at(when, lambda: self._on_agenda(when))

    def _on_agenda(self, when: float) -> None:
        if when != self._armed_for:
            return  # an earlier deadline was set after this entry was made
        self._armed_for = None
        if self._deadline is None:
            return
        if self._deadline > self._world.now:
            self._arm(self._deadline)
            return
        self._deadline = None
        self._action()
