"""One standing tunnel: the tasks that keep it, from the first datagram to the goodbye.

A client and a server are the same program; they differ in who keeps the sockets (`Wans` or
`Listener`). Whatever fails in the nursery ends the daemon, with all it changed taken back: systemd
starts it again, and a fresh start is better understood than a half-dead process.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Final, assert_never

import trio

from multiwanbond import __version__
from multiwanbond.control.protocol import Command, Request
from multiwanbond.control.server import ControlServer
from multiwanbond.control.status import JsonObject, ReloadDocument, StatusDocument
from multiwanbond.core import segments
from multiwanbond.core.endpoint import Endpoint
from multiwanbond.core.events import (
    BondClosed,
    BondOpened,
    CloseReason,
    Event,
    GroupsChanged,
    MtuChanged,
)
from multiwanbond.core.settings import EndpointSettings
from multiwanbond.errors import ControlError
from multiwanbond.plugins.host import PluginHost

from .bring_up import BroughtUp
from .bypass import Bypass
from .dataplane import Dataplane
from .gateway import Gateway
from .listener import Listener
from .machine import Machine
from .multicast import MulticastRouting
from .notify import Notifier
from .places import Places, placed
from .plan import ClientPlan, Plan, ServerPlan
from .quota import Quotas
from .reload import Reloader
from .report import Line, Report, alert_of, say
from .servers import Servers
from .status import SAMPLE_INTERVAL, RateMeter, describe_peer, describe_plugin, describe_sockets
from .steering import Steering
from .trial import answers
from .wans import Wans


class Tunnel:
    """Everything that runs once the machine is ready."""

    def __init__(
        self,
        plan: Plan,
        machine: Machine,
        standing: BroughtUp,
        *,
        entropy: Callable[[int], bytes] = os.urandom,
        notifier: Notifier | None = None,
        reloader: Reloader | None = None,
    ) -> None:
        self.plan = plan
        self._machine = machine
        self._standing = standing
        self._notifier = notifier or Notifier()
        self._reloader = reloader
        self._started_at = trio.current_time()
        self._is_stopped = trio.Event()
        self._mtu = standing.mtu
        self._peer_mtus: dict[str, int] = {}
        self._mtu_wanted = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._rates = RateMeter()
        self._places = Places(machine, self._on_places_changed)
        self._quotas = Quotas(plan.quota, self._tell, self._started_at)
        self.endpoint: Final = Endpoint(self._settings(), entropy=entropy, now=self._started_at)
        self.dataplane: Final = Dataplane(
            self.endpoint,
            standing.tun,
            on_event=self._on_event,
            on_socket_broken=lambda wan_id, exc: self.sockets.on_socket_broken(wan_id, exc),
        )
        self.sockets: Final = self._make_sockets()
        self._report = Report(self.sockets.label)
        self.plugins: Final = PluginHost(tunnel=plan.tunnel.name, log=say, status=self.status)
        # Closed in this order at the end: no socket, no more need for a route.
        standing.undo.push("routes of the WANs", self.sockets.close)
        standing.undo.push("sockets", self.dataplane.detach_all)
        self._steering = Steering(
            plan.tunnel,
            machine,
            standing.undo,
            is_connected=self._is_connected,
            wait_address=self.sockets.wait_address,
        )
        self._bypass = Bypass(plan.bypass, machine, self._places, standing.undo)
        self._gateway = Gateway(plan.gateway, machine, self.sockets.interfaces, standing.undo)
        self._servers = Servers(
            plan,
            follow=self._switch,
            is_connected=self._is_connected,
            is_trying=lambda: isinstance(self.sockets, Wans) and self.sockets.is_trying,
            answers=lambda other: answers(other, machine),
        )
        self._want_places()
        self._multicast = self._make_multicast()

    def _settings(self) -> EndpointSettings:
        """Return what the endpoint is to go by now."""
        wanted = self.plan.endpoint
        classes = wanted.classes
        if self.plan.class_places:
            classes = placed(classes, self.plan.class_places, self._places)
        wans = self._quotas.limited(wanted.wans)
        return replace(wanted, inner_mtu=self._standing.mtu, classes=classes, wans=wans)

    def _want_places(self) -> None:
        self._places.want([self.plan.bypass.places, *self.plan.class_places])

    def _on_places_changed(self) -> None:
        self._bypass.look_again()
        self.endpoint.reconfigure(self._settings(), trio.current_time())
        self.dataplane.flush()

    def _make_sockets(self) -> Wans | Listener:
        role = self._quotas.left(self.plan.role)
        if isinstance(role, ClientPlan):
            return Wans(role, network=self._machine, dataplane=self.dataplane)
        return Listener(role, network=self._machine, dataplane=self.dataplane)

    def _make_multicast(self) -> MulticastRouting | None:
        host = self._standing.multicast
        if host is None:
            return None
        return MulticastRouting(host, endpoint=self.endpoint, flush=self.dataplane.flush)

    async def _carry_multicast(self, routing: MulticastRouting) -> None:
        async with self._machine.watch() as watch:
            await routing.run(watch)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry packets until `stop`, or until something fails that must not."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await nursery.start(self.plugins.run)
            self._use_plugins()
            await nursery.start(self.dataplane.run)
            await nursery.start(self.sockets.run)
            nursery.start_soon(ControlServer(self._standing.control, self._answer).run)
            nursery.start_soon(self._places.run)
            nursery.start_soon(self._bypass.run)
            await nursery.start(self._gateway.run)
            nursery.start_soon(self._steering.run)
            nursery.start_soon(self._servers.run)
            if self._multicast is not None:
                nursery.start_soon(self._carry_multicast, self._multicast)
            nursery.start_soon(self._sample)
            nursery.start_soon(self._quotas.run)
            nursery.start_soon(self._follow_mtu)
            nursery.start_soon(self._notifier.feed_watchdog, self.dataplane.turn)
            self._say_ready()
            task_status.started()
            await self._is_stopped.wait()
            self._say_goodbye()
            nursery.cancel_scope.cancel()

    def stop(self) -> None:
        """Begin an orderly end."""
        self._is_stopped.set()

    def _is_connected(self) -> bool:
        """True while the bond carries traffic; a server is there for whoever calls."""
        if isinstance(self.plan.role, ServerPlan):
            return True
        return any(peer.is_connected for peer in self.endpoint.statistics().peers)

    # Another plan

    async def reload(self) -> ReloadDocument:
        """Follow the file as it is now, or change nothing; say which, and log it.

        Raises:
            ControlError: there is no file.
        """
        if self._reloader is None:
            raise ControlError("This daemon was not started from a file.", "Restart it.")
        return await self._reloader.reload(self.reconfigure)

    async def reconfigure(self, plan: Plan) -> None:
        """Follow another plan without losing a packet.

        Args:
            plan: as the one in force, but for what its settings declare as live.

        Raises:
            PlatformError: the machine cannot follow; nothing has changed.
        """
        await self._servers.reconfigure(plan)

    async def _switch(self, plan: Plan) -> None:
        await self._steering.reconfigure(plan.tunnel, lambda: self._follow(plan))

    async def _follow(self, plan: Plan) -> None:
        """Do what cannot fail any more."""
        self.plan = plan
        self._want_places()
        counted = self.endpoint.statistics()
        self._quotas.reconfigure(plan.quota, counted, trio.current_time())
        self._use_settings()
        self._use_plugins()
        self._bypass.reconfigure(plan.bypass)
        self._gateway.reconfigure(plan.gateway)
        await trio.lowlevel.checkpoint()

    def _use_settings(self) -> None:
        """Let core and sockets go by what is wanted, and allowed, now."""
        self.endpoint.reconfigure(self._settings(), trio.current_time())
        self.dataplane.flush()
        role, sockets = self._quotas.left(self.plan.role), self.sockets
        if isinstance(sockets, Wans):
            assert isinstance(role, ClientPlan)
            sockets.reconfigure(role)
        else:
            assert isinstance(role, ServerPlan)
            sockets.reconfigure(role)

    def _use_plugins(self) -> None:
        self.plugins.use(self.plan.plugins)
        # None, so that without filters a packet costs no call.
        self.dataplane.filters = self.plugins.filters or None

    def _on_event(self, event: Event) -> None:
        self._steering.on_change()
        self._tell(self._report.describe(event))
        if isinstance(event, GroupsChanged) and self._multicast is not None:
            self._multicast.on_groups_changed(event.groups)
        self._note_mtu(event)

    def _tell(self, line: Line) -> None:
        """Log a line, and let alert managers know."""
        say(line.level, line.text, **line.fields)
        if line.level > logging.DEBUG:
            self.plugins.alert(alert_of(line, tunnel=self.plan.tunnel.name))

    def _note_mtu(self, event: Event) -> None:
        """Keep what each peer's paths carry; one that is gone narrows nobody."""
        match event:
            case BondOpened() | MtuChanged():
                self._peer_mtus[event.peer] = event.inner_mtu
            case BondClosed() if event.reason is not CloseReason.REPLACED:
                self._peer_mtus.pop(event.peer, None)
            case _:
                return
        self._mtu_wanted.set()

    async def _follow_mtu(self) -> None:
        """Let the interface have the MTU of the peer behind the narrowest lines.

        Of several clients the others lose a percent by it; a packet too large for one of them would
        be lost entirely. The kernel tells senders inside (ICMP "fragmentation needed", "packet too
        big"), and its own TCP at once.
        """
        while True:
            await self._mtu_wanted.wait()
            self._mtu_wanted = trio.Event()
            mtu = min([self._standing.mtu, *self._peer_mtus.values()])
            if mtu == self._mtu:
                continue
            self._mtu = mtu
            await trio.to_thread.run_sync(self._machine.set_mtu, mtu)
            name = self.plan.tunnel.name
            say(logging.INFO, f"The MTU of {name} is now {mtu}, as the lines have it.", mtu=mtu)

    async def _sample(self) -> None:
        while True:
            self._look(trio.current_time())
            await trio.sleep(SAMPLE_INTERVAL)

    def _look(self, now: float) -> None:
        """Look at the counters: how fast they grow, and whether they say that a quota is used."""
        counted = self.endpoint.statistics()
        self._rates.sample(counted, now)
        if self._quotas.count(counted, now):
            self._use_settings()

    def _say_ready(self) -> None:
        name, mode = self.plan.tunnel.name, self.plan.mode.value
        say(
            logging.INFO,
            f"Tunnel {name} stands.",
            mode=mode,
            mtu=self._standing.mtu,
            offload=self._standing.tun.offload.name.lower(),
            is_compiled=segments.COMPILED is not None,
        )
        self._notifier.ready(f"{mode}, tunnel {name}")

    def _say_goodbye(self) -> None:
        say(logging.INFO, f"Stopping tunnel {self.plan.tunnel.name}.")
        self._notifier.stopping()
        self._quotas.count(self.endpoint.statistics(), trio.current_time())
        self.endpoint.close(trio.current_time())
        self.dataplane.flush()

    # Commands

    async def _answer(self, request: Request) -> JsonObject:
        match request.command:
            case Command.STATUS:
                return {**self.status()}
            case Command.RELOAD:
                return {**await self.reload()}
            case Command.STOP:
                self.stop()
                return {"pid": os.getpid()}
            case _:
                assert_never(request.command)

    def status(self) -> StatusDocument:
        """Return everything we know about ourselves."""
        now = trio.current_time()
        counted = self.endpoint.statistics()
        standing, tunnel = self._standing, self.plan.tunnel
        return {
            "version": __version__,
            "pid": os.getpid(),
            "config": self._reloader.file if self._reloader else None,
            "mode": self.plan.mode.value,
            "uptime_s": round(now - self._started_at, 1),
            "is_ready": self._is_connected() and self._steering.is_steering,
            "is_compiled": segments.COMPILED is not None,
            "tunnel": {
                "name": tunnel.name,
                "mtu": self._mtu,
                "addresses": [str(address) for address in tunnel.addresses],
                "offload": standing.tun.offload.name.lower().replace("_", " "),
            },
            "peers": [
                describe_peer(peer, label=self.sockets.label, rates=self._rates, now=now)
                for peer in counted.peers
            ],
            "plugins": [describe_plugin(each) for each in self.plugins.statuses()],
            "servers": self._servers.describe(),
            "wans": self.sockets.describe(),
            "quotas": self._quotas.describe(),
            "multicast": (
                None if self._multicast is None else self._multicast.describe(counted.multicast)
            ),
            "sockets": describe_sockets(self.dataplane.sockets),
            "dropped": {reason.value: count for reason, count in counted.dropped.items()},
            "unroutable_packets": counted.unroutable_packets,
            "undeliverable_packets": self.dataplane.undeliverable_packets,
            "unsent_datagrams": self.dataplane.unsent_datagrams,
        }
