"""The lab's QUIC-like bulk, over the loopback interface of this machine."""

import json
import select
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle
from subprocess import PIPE
from typing import Any

import pytest

from multiwanbond.lab import processes
from multiwanbond.lab.bench import available_congestion
from multiwanbond.lab.bench_end import BIN
from multiwanbond.lab.quic_end import CONTROLLERS, main
from multiwanbond.lab.quic_socket import WallClock
from multiwanbond.sim.links import LinkSettings
from multiwanbond.sim.scoreboard import Traffic
from multiwanbond.sim.wires import Wire

HOST = "127.0.0.1"
MBIT = 1e6 / 8
SECONDS = 2.0
Said = dict[str, Any]


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind((HOST, 0))
        port: int = own.getsockname()[1]
        return port


def play(client_role: str, *more: str, port: int, client_port: int | None = None) -> list[Said]:
    """Return the last words of server and client, each a program of its own."""
    server_role = "send" if client_role == "receive" else "receive"
    program = (sys.executable, "-m", "multiwanbond.lab.quic_end")
    with ExitStack() as started:
        server = processes.start(
            [*program, "listen", server_role, HOST, str(port), *more], stdout=PIPE
        )
        started.callback(processes.stop, server)
        assert server.stdout is not None
        with server.stdout:
            assert json.loads(server.stdout.readline()) == {"is_ready": True}
            where = (HOST, str(client_port or port))
            client = processes.start([*program, "connect", client_role, *where, *more], stdout=PIPE)
            started.callback(processes.stop, client)
            assert client.stdout is not None
            with client.stdout:
                last_word = json.loads(client.stdout.readline())
            return [json.loads(server.stdout.readline()), last_word]


@pytest.mark.parametrize("is_upload", [False, True], ids=["download", "upload"])
@pytest.mark.parametrize("congestion", ["cubic", "bbr"])
def test_it_carries_more_than_any_scenario_needs(congestion: str, is_upload: bool) -> None:
    role = "send" if is_upload else "receive"

    said = play(role, "--seconds=1", f"--congestion={congestion}", port=free_port())

    sender, receiver = reversed(said) if is_upload else said
    assert len(receiver["bins"]) == round(1 / BIN)
    assert sum(receiver["bins"]) > 150 * MBIT
    assert receiver["longest_stall"] < 0.5
    assert sender["spurious"] == 0


def test_it_knows_every_congestion_control_that_a_bench_can_ask_for() -> None:
    assert list(CONTROLLERS) == available_congestion(Traffic.QUIC)


def test_every_flow_has_a_connection_of_its_own() -> None:
    sender, receiver = play("receive", "--seconds=0.5", "--flows=3", port=free_port())

    assert sum(receiver["bins"]) > 0
    assert sender["unsent"] == 0


def test_a_silent_far_end_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["connect", "receive", HOST, str(free_port()), "--seconds=1", "--patience=0.1"])

    assert code == 1
    assert "the far end says nothing" in json.loads(capsys.readouterr().out)["error"]


@contextmanager
def relayed(port: int, *delays: float) -> Iterator[int]:
    """Give a port whose datagrams reach `port` in turn over lines of 20 Mbit/s and these delays."""
    stop = threading.Event()
    with ExitStack() as opened:
        near = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        near.bind((HOST, 0))
        far = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        far.bind((HOST, 0))
        thread = threading.Thread(target=relay, args=(near, far, (HOST, port), delays, stop))
        thread.start()
        opened.callback(thread.join)
        opened.callback(stop.set)
        yield near.getsockname()[1]


def relay(
    near: socket.socket,
    far: socket.socket,
    server: tuple[str, int],
    delays: tuple[float, ...],
    stop: threading.Event,
) -> None:
    clock = WallClock()
    client = server

    # Neither socket is connected, so neither is told that an end has closed its own.
    def to_server(data: bytes) -> None:
        far.sendto(data, server)

    def to_client(data: bytes) -> None:
        near.sendto(data, client)

    rng = clock.rng("no chance is left")
    lines = [LinkSettings(rate=20 * MBIT, delay=delay, queue=250_000) for delay in delays]
    up = cycle([Wire(clock, line, rng, to_server) for line in lines])
    down = cycle([Wire(clock, line, rng, to_client) for line in lines])
    while not stop.is_set():
        readable, _, _ = select.select((near, far), (), (), clock.left())
        clock.read()
        for own in readable:
            data, source = own.recvfrom(2048)
            client = source if own is near else client
            next(up if own is near else down).send(data, len(data) + 28)
        clock.run_due()


def test_reordering_is_taken_for_loss_and_collapses_it() -> None:
    rates, spurious = [], []
    for delays in ((0.025, 0.025), (0.010, 0.025)):
        port = free_port()
        with relayed(port, *delays) as entrance:
            receiver, sender = play("send", f"--seconds={SECONDS}", port=port, client_port=entrance)
        rates.append(sum(receiver["bins"]) / SECONDS)
        spurious.append(sender["spurious"])

    even, uneven = rates
    print(f"{even / MBIT:.1f} and {uneven / MBIT:.1f} Mbit/s; spurious: {spurious}")
    assert uneven < even / 3
    assert spurious[0] < spurious[1]
