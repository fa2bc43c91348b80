"""The package's bonded world, with its seed printed for whoever must repeat a failure."""

from multiwanbond.core.settings import RoutingMode
from multiwanbond.sim import bonded
from multiwanbond.sim.bonded import SERVER, THREE_UNEQUAL, Adjust, Client
from multiwanbond.sim.network import WanLinks

__all__ = ["SERVER", "THREE_UNEQUAL", "Adjust", "Bonded", "Client"]


class Bonded(bonded.Bonded):
    """A server and its clients, all in one world."""

    def __init__(
        self,
        seed: int,
        *,
        wans: tuple[WanLinks, ...] = THREE_UNEQUAL,
        mode: RoutingMode = RoutingMode.ADAPTIVE,
        clients: int = 1,
        adjust: Adjust = lambda settings: settings,
    ) -> None:
        print(f"seed {seed}")
        super().__init__(seed, wans=wans, mode=mode, clients=clients, adjust=adjust)
