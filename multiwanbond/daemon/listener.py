"""Keeps a server's one socket: all clients, all their WANs, one port."""

import logging
from ipaddress import ip_address
from socket import AF_INET, AF_INET6
from typing import Final

import trio

from multiwanbond.control.status import WanDocument
from multiwanbond.errors import PlatformError

from .dataplane import SERVER_SOCKET, Dataplane
from .machine import Network
from .plan import ServerPlan
from .report import WanLabel, say

REOPEN_PAUSE: Final = 1.0
"""Seconds before a socket that broke is replaced: what broke it may break the next one as well."""


class Listener:
    """The listening socket; opened once at the start, and again whenever it breaks."""

    def __init__(self, plan: ServerPlan, *, network: Network, dataplane: Dataplane) -> None:
        self._address = plan.listen
        self._network = network
        self._dataplane = dataplane
        self._broken = trio.Event()

    def open(self) -> None:
        """Listen.

        Raises:
            PlatformError: the address is in use, or not ours.
        """
        is_ipv6 = ip_address(self._address.host).version == 6
        socket = self._network.open_udp(
            family=AF_INET6 if is_ipv6 else AF_INET, local=self._address
        )
        self._dataplane.attach(SERVER_SOCKET, socket)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen, until cancelled."""
        self.open()
        say(logging.INFO, f"Listening on {self._address}.")
        task_status.started()
        while True:
            await self._broken.wait()
            await trio.sleep(REOPEN_PAUSE)
            try:
                self.open()
            except PlatformError as exc:
                say(logging.ERROR, f"Cannot listen again: {exc}")
            else:
                self._broken = trio.Event()
                say(logging.WARNING, f"Listening on {self._address} again.")

    def reconfigure(self, plan: ServerPlan) -> None:
        """Do nothing: where a server listens cannot change while it does."""
        assert plan.listen == self._address

    async def wait_address(self) -> None:
        """Return at once: a server calls nobody, so it has no name to look up first."""
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Do nothing: for this socket nothing of the kernel's was changed."""

    def on_socket_broken(self, wan_id: int, exc: OSError) -> None:
        """Replace the socket soon."""
        assert wan_id == SERVER_SOCKET
        self._broken.set()
        say(logging.ERROR, f"The listening socket failed: {exc}.")

    def label(self, path_id: int) -> WanLabel:
        """Return what a client's path is called here, where only its number is known."""
        return WanLabel(name=f"path {path_id}", title=f"Path {path_id}")

    def interfaces(self) -> list[str]:
        """Return no interfaces: a server does not choose among them."""
        return []

    def describe(self) -> list[WanDocument]:
        """Return no WANs: a server's belong to its clients."""
        return []
