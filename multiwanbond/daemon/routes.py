"""Which destinations lead into the tunnel, while that may change."""

from collections.abc import Iterable
from functools import partial
from typing import Final

from multiwanbond.core.settings import Prefix
from multiwanbond.errors import MultiWanBondError, PlatformError
from multiwanbond.linux.undo import Undo

from .machine import Machine


class TunnelRoutes:
    """The routes into one tunnel, each of which can be taken back by itself.

    All methods but the constructor may block: call them in a thread, one at a time.
    """

    def __init__(self, machine: Machine, undo: Undo) -> None:
        """Route nothing yet; what will be routed is taken back by `undo`."""
        self._machine: Final = machine
        self._routed: dict[Prefix, Undo] = {}
        undo.push("routes into the tunnel", self.close)

    def add(self, prefixes: Iterable[Prefix]) -> None:
        """Route these destinations into the tunnel, if they are not routed yet.

        Raises:
            PlatformError: one of them cannot be; those before it are taken back.
        """
        with Undo() as added:
            for prefix in prefixes:
                if prefix not in self._routed:
                    added.push(f"route {prefix}", partial(self._take_back, prefix))
                    undo = self._routed[prefix] = Undo()
                    self._machine.route_tunnel([prefix], undo)
            added.commit()

    def keep_only(self, prefixes: Iterable[Prefix]) -> list[str]:
        """Take back what is routed beside these; return what could not be, in words."""
        failures = []
        wanted = set(prefixes)
        for prefix in [routed for routed in self._routed if routed not in wanted]:
            failures += self._routed.pop(prefix).run()
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

    def _take_back(self, prefix: Prefix) -> None:
        failures = self._routed.pop(prefix).run()
        if failures:
            raise MultiWanBondError("; ".join(failures))
