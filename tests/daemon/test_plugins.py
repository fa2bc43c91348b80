"""Plugins in a running tunnel: packets, alerts, status and reload."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import trio

from multiwanbond.core.burst import Burst
from multiwanbond.plugins.api import Alert, AlertManager, PacketFilter, Plugin
from multiwanbond.plugins.registry import Wanted
from tests.core.pair import CLIENT_IP, SERVER_IP, udp_packet

from .sites import Sites, client_plan, wait_states
from .waiting import wait_until


class Dropping(PacketFilter):
    """Drops packets to the peer that contain a word."""

    def outbound(self, bursts: Sequence[Burst]) -> Sequence[Burst]:
        return [burst for burst in bursts if b"secret" not in bytes(burst.packet)]


class Marking(PacketFilter):
    """Marks what comes from the peer."""

    def inbound(self, bursts: Sequence[Burst]) -> Sequence[Burst]:
        return [Burst(bytes(burst.packet) + b"!") for burst in bursts]


class Listening(AlertManager):
    got: list[Alert] = []  # noqa: RUF012

    async def alert(self, alert: Alert) -> None:
        self.got.append(alert)


def wanted(*plugins: type[Plugin]) -> tuple[Wanted, ...]:
    return tuple(
        Wanted(label=each.__name__, plugin=each, options=None, fail_closed=False)
        for each in plugins
    )


async def test_filters_stand_on_the_way_of_packets_and_come_and_go_live(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    sites = Sites(tmp_path)
    await sites.start_server(nursery)
    plan = replace(client_plan(tmp_path), plugins=wanted(Dropping, Marking))
    tunnel = await sites.start_client(nursery, plan)
    await wait_states(tunnel, "Up", "Up")
    assert sites.client.tun is not None
    assert sites.server.tun is not None

    sites.client.tun.feed([Burst(udp_packet(b"a secret"))])
    await sites.send(udp_packet(b"no news"))
    sites.server.tun.feed([Burst(udp_packet(b"back", source=SERVER_IP, target=CLIENT_IP))])
    await wait_until(lambda: bool(sites.client.tun and sites.client.tun.delivered))

    assert [bytes(each.packet)[28:] for each in sites.server.tun.delivered] == [b"no news"]
    assert [bytes(each.packet)[28:] for each in sites.client.tun.delivered] == [b"back!"]
    assert [(each["name"], each["state"]) for each in tunnel.status()["plugins"]] == [
        ("Dropping", "running"),
        ("Marking", "running"),
    ]

    await tunnel.reconfigure(replace(plan, plugins=()))

    await sites.send(udp_packet(b"a secret"))
    assert tunnel.status()["plugins"] == []
    assert tunnel.dataplane.filters is None


async def test_alert_managers_hear_of_what_the_log_says(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    Listening.got.clear()
    sites = Sites(tmp_path)
    await sites.start_server(nursery)
    plan = replace(client_plan(tmp_path), plugins=wanted(Listening))
    tunnel = await sites.start_client(nursery, plan)
    await wait_states(tunnel, "Up", "Up")
    await wait_until(lambda: len(Listening.got) >= 3)

    kinds = [each.kind for each in Listening.got]
    assert kinds.count("bond_opened") == 1
    assert kinds.count("path_state") == 2
    (fibre,) = [each for each in Listening.got if each.fields.get("wan") == "Fibre"]
    assert fibre.fields["state_to"] == "Up"
    assert fibre.tunnel == "mwb0"
    assert fibre.text.startswith("WAN Fibre (eth0) is Up: ")
