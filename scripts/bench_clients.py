"""What many clients cost one server: CPU and memory of its daemon, idle and with some active.

    .venv/bin/python scripts/bench_clients.py [--clients 200] [--active 20] [--rate 0.5]

The server is `mwb run` in a namespace of its own; the clients are bonds of the library in one
process, over two veth pairs each. Needs root. Prints a table.
"""

import argparse
import base64
import os
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

import trio

from multiwanbond.api import Bond, open_bond, parse_configuration
from multiwanbond.config.keys import encode_key
from multiwanbond.core.handshake import public_key_of
from multiwanbond.lab.bond import Bond as Daemons
from multiwanbond.lab.bond import Daemon
from multiwanbond.lab.namespaces import inside
from multiwanbond.lab.topology import SERVER_IPV4, Topology, WanSpec

SIZE = 1200
"""Bytes of its messages."""
HOST, PORT = "10.77.250.1", 9077
ECHO = f"""
import socket
with socket.socket(type=socket.SOCK_DGRAM) as own:
    own.bind(("{HOST}", {PORT}))
    while True:
        own.sendto(*own.recvfrom(2000))
"""
"""Sends everything back, as the far end of a call would."""
TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Usage:
    """Of one process, at one time."""

    at: float
    cpu: float
    """Seconds."""
    memory: int
    """Bytes."""


def usage_of(pid: int) -> Usage:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    with open(f"/proc/{pid}/status") as file:
        memory = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
    return Usage(time.monotonic(), (int(fields[11]) + int(fields[12])) / TICK, memory * 1024)


def address(index: int) -> str:
    return f"10.77.{index // 200}.{index % 200 + 2}"


def text_of(key: bytes) -> str:
    return base64.b64encode(key).decode()


def client_configuration(index: int, key: bytes, server_key: bytes) -> str:
    return f"""
mode: client
session: {{remote_endpoint: "{SERVER_IPV4}:9000"}}
tunnel: {{address: [{address(index)}/16]}}
wans:
  - {{id: 1, name: Fibre, local_addr: 10.91.1.2}}
  - {{id: 2, name: LTE, local_addr: 10.91.2.2}}
security:
  private_key: {text_of(key)}
  peers: [{{name: vps, public_key: {text_of(server_key)}, allowed_ips: [10.77.250.1/32]}}]
"""


def prepare(server: Daemon, keys: list[bytes]) -> None:
    document = server.document
    document["tunnel"]["address"] = ["10.77.250.1/16"]
    document["security"]["peers"] = [
        {
            "name": f"client{index}",
            "public_key": encode_key(public_key_of(key)),
            "allowed_ips": [f"{address(index)}/32"],
        }
        for index, key in enumerate(keys)
    ]
    server.write_config()


async def be_active(bond: Bond, rate: float, seconds: float) -> None:
    """Send `rate` bits a second, or less if this process cannot do more."""
    data = bytes(SIZE)
    due = trio.current_time()
    with trio.move_on_after(seconds):
        while True:
            await trio.sleep_until(due)
            due += SIZE * 8 / rate
            await bond.send(data)


async def take_what_comes(bond: Bond) -> None:
    while True:
        await bond.receive()


async def measure(
    lab: Topology, server: Daemon, chosen: argparse.Namespace, keys: list[bytes]
) -> None:
    server_key = public_key_of(keys[-1])
    pid = server.process.pid
    alone = usage_of(pid)
    say("the server alone", alone, alone, 0.0)
    async with AsyncExitStack() as stack:
        bonds = []
        began = time.monotonic()
        for index in range(chosen.clients):
            text = client_configuration(index, keys[index], server_key)
            bonds.append(await stack.enter_async_context(open_bond(parse_configuration(text))))
        for bond in bonds:
            await bond.wait_connected()
        joined = usage_of(pid)
        say(f"{chosen.clients} clients joining", alone, joined, joined.at - began)
        await trio.sleep(5)
        before = usage_of(pid)
        await trio.sleep(chosen.seconds)
        say(f"{chosen.clients} clients, all idle", before, usage_of(pid), chosen.seconds)
        lab.server.start(sys.executable, "-c", ECHO)
        async with trio.open_nursery() as nursery:
            for bond in bonds[: chosen.active]:
                nursery.start_soon(take_what_comes, bond)
            own, before = usage_of(os.getpid()).cpu, usage_of(pid)
            async with trio.open_nursery() as active:
                for bond in bonds[: chosen.active]:
                    active.start_soon(be_active, bond, 1e6 * chosen.rate, chosen.seconds)
            after = usage_of(pid)
            sent = sum(bond.statistics().sent_messages for bond in bonds)
            mbit = sent * SIZE * 8 / chosen.seconds / 1e6
            say(
                f"{chosen.active} of them active, {mbit:.1f} Mbit/s each way",
                before,
                after,
                chosen.seconds,
            )
            own = usage_of(os.getpid()).cpu - own
            sys.stdout.write(f"the clients meanwhile {100 * own / chosen.seconds:.0f} %; ")
            nursery.cancel_scope.cancel()
        received = sum(bond.statistics().received_messages for bond in bonds)
        sys.stdout.write(f"{received} of {sent} messages came back\n")


def say(what: str, before: Usage, after: Usage, seconds: float) -> None:
    share = 100 * (after.cpu - before.cpu) / seconds if seconds else 0.0
    sys.stdout.write(
        f"{what:<44} {after.cpu - before.cpu:6.2f} CPU s in {seconds:5.1f} s ({share:5.1f} %)"
        f"  {after.memory / 1e6:6.1f} MB\n"
    )
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--active", type=int, default=20)
    parser.add_argument(
        "--rate", type=float, default=0.5, help="Mbit/s each way of an active client: a call"
    )
    parser.add_argument("--seconds", type=float, default=30.0)
    chosen = parser.parse_args()
    with Topology([WanSpec(), WanSpec()], purpose="clients") as lab:
        server = Daemons(lab).server
        keys = [os.urandom(32) for _ in range(chosen.clients)]
        prepare(server, keys)
        path = server.document["security"]["private_key_file"]
        with open(path) as file:
            keys.append(base64.b64decode(file.read()))
        server.start()
        server.wait_ready()
        with inside(lab.client.name):
            trio.run(measure, lab, server, chosen, keys)


if __name__ == "__main__":
    main()
