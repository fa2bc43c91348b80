"""What is routed somewhere, one by one, while that may change."""

from collections.abc import Callable, Hashable, Iterable
from functools import partial
from typing import Final, Generic, TypeVar

from multiwanbond.errors import MultiWanBondError, PlatformError
from multiwanbond.linux.undo import Undo

Target = TypeVar("Target", bound=Hashable)


class Routes(Generic[Target]):
    """What is routed in one way, each of which can be taken back by itself.

    All methods but the constructor may block: call them in a thread, one at a time.
    """

    def __init__(self, name: str, route: Callable[[Target, Undo], None], undo: Undo) -> None:
        """Route nothing yet; what will be routed is taken back by `undo`.

        Args:
            name: what it is called should that fail.
            route: routes one of them.
            undo: of the tunnel as a whole.
        """
        self._route: Final = route
        self._routed: dict[Target, Undo] = {}
        undo.push(name, self.close)

    def add(self, targets: Iterable[Target]) -> None:
        """Route these, if they are not routed yet.

        Raises:
            PlatformError: one of them cannot be; those before it are taken back.
        """
        with Undo() as added:
            for target in targets:
                if target not in self._routed:
                    added.push(f"route {target}", partial(self._take_back, target))
                    undo = self._routed[target] = Undo()
                    self._route(target, undo)
            added.commit()

    def keep_only(self, targets: Iterable[Target]) -> list[str]:
        """Take back what is routed beside these; return what could not be, in words."""
        failures = []
        wanted = set(targets)
        for target in [routed for routed in self._routed if routed not in wanted]:
            failures += self._routed.pop(target).run()
        return failures

    def close(self) -> None:
        """Take everything back, what came last first.

        Raises:
            PlatformError: some of it could not be.
        """
        failures = []
        while self._routed:
            failures += self._routed.popitem()[1].run()
        if failures:
            raise PlatformError("; ".join(failures), "")

    def _take_back(self, target: Target) -> None:
        failures = self._routed.pop(target).run()
        if failures:
            raise MultiWanBondError("; ".join(failures))
