"""A client and a server daemon in one process, on machines in memory."""

from collections.abc import Sequence
from ipaddress import ip_interface, ip_network
from pathlib import Path

import trio

from multiwanbond.config.gateway import Forward
from multiwanbond.config.model import OnFailure
from multiwanbond.config.notations import HostPort
from multiwanbond.core.burst import Burst
from multiwanbond.core.datagram import Address
from multiwanbond.daemon.app import run_daemon
from multiwanbond.daemon.machine import WanWish
from multiwanbond.daemon.plan import ClientPlan, Plan, ServerPlan, TunnelPlan
from multiwanbond.daemon.tunnel import Tunnel
from multiwanbond.linux.fake import FakeNetwork
from multiwanbond.linux.gateway import GatewayWish
from tests.core.pair import settings

from .machine import FakeMachine
from .waiting import wait_until

SERVER = Address("198.51.100.1", 9000)
REMOTE = HostPort(*SERVER)
WANS = {"eth0": ["192.0.2.1"], "wwan0": ["203.0.113.1"]}
WISHES = (
    WanWish(id=1, name="Fibre", interface="eth0"),
    WanWish(id=2, name="LTE", interface="wwan0"),
)


def client_plan(
    folder: Path,
    *,
    wishes: Sequence[WanWish] = WISHES,
    remote: HostPort = REMOTE,
    is_discovering: bool = False,
    on_failure: OnFailure = OnFailure.DIRECT,
) -> Plan:
    """A client with two WANs and a full tunnel."""
    return Plan(
        role=ClientPlan(
            wans=() if is_discovering else tuple((wish, remote) for wish in wishes),
            discovery=remote if is_discovering else None,
        ),
        tunnel=TunnelPlan(
            name="mwb0",
            addresses=(ip_interface("10.77.0.2/24"),),
            mtu=None,
            routes=(ip_network("0.0.0.0/0"),),
            wants_offload=True,
            on_failure=on_failure,
        ),
        control_socket=folder / "client.sock",
        endpoint=settings(is_client=True, wan_count=2),
        gateway=gateway(is_server=False),
    )


def server_plan(folder: Path) -> Plan:
    """A server that listens on all addresses."""
    return Plan(
        role=ServerPlan(listen=Address("0.0.0.0", SERVER.port)),
        tunnel=TunnelPlan(
            name="mwb0",
            addresses=(ip_interface("10.77.0.1/24"),),
            mtu=1400,
            routes=(),
            wants_offload=True,
        ),
        control_socket=folder / "server.sock",
        endpoint=settings(is_client=False),
        gateway=gateway(is_server=True),
    )


def gateway(*, is_server: bool, forward: Forward = Forward.AUTO) -> GatewayWish:
    """What is done for others if nothing is configured."""
    return GatewayWish(
        is_server=is_server,
        forward=forward,
        masquerade=True,
        client_to_client=False,
        port_forwards=(),
        addresses=(ip_interface("10.77.0.1/24" if is_server else "10.77.0.2/24"),),
    )


class Sites:
    """Both machines; daemons are started on them as a test wants."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = FakeNetwork()
        self.server = FakeMachine(self.network.add_host({"eth0": [SERVER.host]}))
        self.client = FakeMachine(self.network.add_host(WANS))

    async def start_server(self, nursery: trio.Nursery) -> Tunnel:
        tunnel: Tunnel = await nursery.start(run_daemon, server_plan(self.folder), self.server)
        return tunnel

    async def start_client(self, nursery: trio.Nursery, plan: Plan | None = None) -> Tunnel:
        tunnel: Tunnel = await nursery.start(
            run_daemon, plan or client_plan(self.folder), self.client
        )
        return tunnel

    async def send(self, packet: bytes) -> None:
        """Let the client's kernel send `packet`; return when it left the server's TUN device."""
        assert self.client.tun is not None
        assert self.server.tun is not None
        delivered = self.server.tun.delivered
        before = len(delivered)
        self.client.tun.feed([Burst(packet)])
        await wait_until(lambda: len(delivered) > before)
        assert bytes(delivered[-1].packet) == packet


async def wait_states(tunnel: Tunnel, *states: str) -> None:
    """Return when the paths of the tunnel's only peer have these states, by path number."""
    await wait_until(
        lambda: [path["state"] for path in tunnel.status()["peers"][0]["paths"]] == list(states)
    )
