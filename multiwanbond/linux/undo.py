"""What has been changed on this machine, and how to change it back.

with Undo() as undo:
    undo.push("device mwb0", device.close)      # before the change, so no change is ever unguarded
    ...
    kept = undo.take()                          # all went well: the caller undoes it at its exit
"""

from collections.abc import Callable
from types import TracebackType
from typing import Self

Reverse = Callable[[], None]


class Undo:
    """A stack of named reversals; leaving its `with` block runs those still on it.

    A reversal is pushed before its change, so it must succeed when there is nothing to reverse.
    """

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: list[tuple[str, Reverse]] = []

    def __len__(self) -> int:
        return len(self._steps)

    def push(self, what: str, reverse: Reverse) -> None:
        """Remember that `reverse` takes `what` back; the last pushed is the first run."""
        self._steps.append((what, reverse))

    def run(self) -> list[str]:
        """Reverse everything, newest first, and return what failed, in words.

        One failing step does not stop the others: a rule left behind is better than a rule, three
        routes and a device.
        """
        failures = []
        while self._steps:
            what, reverse = self._steps.pop()
            try:
                reverse()
            except Exception as exc:  # whatever it is, the steps below it still have to run
                failures.append(f"{what}: {exc}")
        return failures

    def commit(self) -> None:
        """Forget the reversals: the changes stay."""
        self._steps.clear()

    def take(self) -> "Undo":
        """Return a stack with all reversals of this one, which is empty afterwards."""
        taken = Undo()
        taken._steps, self._steps = self._steps, []
        return taken

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        failures = self.run()
        if error is not None:
            for failure in failures:
                error.add_note(f"could not undo {failure}")
