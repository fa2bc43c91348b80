"""The lab does to packets what it was asked to, silently, and is gone afterwards."""

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from multiwanbond.errors import PlatformError
from multiwanbond.lab.capture import Capture
from multiwanbond.lab.namespaces import Namespace, RunName, sweep
from multiwanbond.lab.topology import (
    SERVER_IPV4,
    SERVER_IPV6,
    Topology,
    Wan,
    WanSpec,
    line,
    three_unequal_lines,
)
from multiwanbond.lab.traffic import Transfer
from multiwanbond.sim.links import LinkSettings, RateTrace

from .conftest import BuildLab
from .remains import remains_of

pytestmark = pytest.mark.netns

SO_TIMESTAMPNS = 35  # <asm-generic/socket.h>
PORT = 9000
TIME_TO_LEAVE = 30.0


def ping(lab: Topology, wan: Wan, *, address: str = SERVER_IPV4, count: int = 5) -> list[float]:
    """Return the round-trip times in seconds of `count` pings over `wan`; lost ones are missing."""
    done = lab.client.run(
        "ping", "-n", "-c", str(count), "-i", "0.05", "-W", "1", "-I", wan.device, address,
        check=False,
    )  # fmt: skip
    return [float(time_ms) / 1000 for time_ms in re.findall(r"time=([\d.]+) ms", done.stdout)]


@contextmanager
def udp_pair(lab: Topology) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield a socket at the client, connected to the one at the server, which comes second."""
    with lab.client.socket(socket.SOCK_DGRAM) as near, lab.server.socket(socket.SOCK_DGRAM) as far:
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        far.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        far.bind((SERVER_IPV4, PORT))
        far.settimeout(1.0)
        near.connect((SERVER_IPV4, PORT))
        yield near, far


def arrivals(far: socket.socket) -> list[float]:
    """Return when the kernel got the datagrams, until none came for the socket's timeout."""
    times = []
    try:
        while True:
            _, notes, _, _ = far.recvmsg(2000, 128)
            seconds, nanoseconds = struct.unpack("qq", notes[0][2])
            times.append(seconds + nanoseconds / 1e9)
    except TimeoutError:
        return times


@pytest.mark.parametrize("address", [SERVER_IPV4, SERVER_IPV6])
def test_every_wan_reaches_the_server_with_the_delay_of_its_line(
    lab: Topology, address: str
) -> None:
    best = [min(ping(lab, wan, address=address)) for wan in lab.wans]

    for asked, seen in zip((0.010, 0.040, 0.025), best, strict=True):
        assert asked <= seen <= asked + 0.005


def test_a_line_passes_what_its_rate_allows(build_lab: BuildLab) -> None:
    lab = build_lab([line(20, 0.010)])

    with udp_pair(lab) as (near, far):
        for _ in range(300):  # 30 Mbit/s for 1.2 s
            for _ in range(10):
                near.send(bytes(1472))
            time.sleep(0.004)
        times = arrivals(far)

    mbit = (len(times) - 1) * 1500 * 8 / (times[-1] - times[0]) / 1e6
    lost = lab.statistics()["wan1"]["to_server"]["lost"]
    assert mbit == pytest.approx(20, rel=0.1)
    assert set(lost) == {"queue full"}


def test_a_line_loses_the_share_it_was_asked_to(build_lab: BuildLab) -> None:
    lab = build_lab([line(100, 0.010, loss=0.1)])

    with udp_pair(lab) as (near, far):
        for _ in range(2000):
            near.send(bytes(200))
        received = len(arrivals(far))

    # 200 of 2000 expected; the standard deviation is 13.4.
    assert 2000 - received == pytest.approx(200, abs=60)
    assert lab.statistics()["wan1"]["to_server"]["lost"] == {"random": 2000 - received}


def test_a_black_out_is_silent_and_ends(lab: Topology) -> None:
    wan = lab.wan(1)
    monitor = lab.client.start("ip", "monitor", "all", stdout=subprocess.PIPE)
    before = lab.client.run("ip", "-o", "link").stdout

    lab.black_out(1)
    with Capture(lab.client, wan.device) as capture:
        during = ping(lab, wan, count=3)
    lab.restore(1)
    after = ping(lab, wan)

    monitor.terminate()
    heard, _ = monitor.communicate()
    assert during == []
    # The echo requests: no answer, no ICMP error.
    assert len(capture.packets) == 3
    assert heard == ""
    assert lab.client.run("ip", "-o", "link").stdout == before
    assert len(after) == 5


def test_a_black_out_leaves_the_other_wans_alone(lab: Topology) -> None:
    lab.black_out(2)

    assert len(ping(lab, lab.wan(1))) == 5
    assert len(ping(lab, lab.wan(3))) == 5


def test_a_changing_rate_begins_anew_when_told_to(build_lab: BuildLab) -> None:
    # Half a second in which a ping passes at once, then a long time in which it takes a minute.
    trace = RateTrace(rates=(1e6, *(59 * [1.0])), step=0.5)
    link = LinkSettings(rate=trace, delay=0.001)
    lab = build_lab([WanSpec(to_server=link, to_client=LinkSettings(rate=1e6, delay=0.001))])

    passed = []
    for _ in range(3):
        lab.begin_traces()
        passed.append(ping(lab, lab.wan(1), count=1))
        time.sleep(0.5)

    assert [len(times) for times in passed] == [1, 1, 1]


def test_a_frozen_line_holds_what_it_has_and_delivers_it_later(build_lab: BuildLab) -> None:
    lab = build_lab([line(10, 0.010)])

    with udp_pair(lab) as (near, far):
        lab.freeze(1)
        for _ in range(10):
            near.send(bytes(100))
        early = arrivals(far)
        lab.restore(1)
        late = arrivals(far)

    assert early == []
    assert len(late) == 10


def test_packets_larger_than_the_line_takes_vanish(build_lab: BuildLab) -> None:
    narrow = LinkSettings(rate=None, delay=0.001, mtu=1300)
    lab = build_lab([WanSpec(to_server=narrow, to_client=narrow)])

    with udp_pair(lab) as (near, far):
        near.send(bytes(1300))
        near.send(bytes(1200))
        received = len(arrivals(far))

    assert received == 1
    assert lab.statistics()["wan1"]["to_server"]["lost"] == {"too big": 1}


def test_wans_can_be_plain_veth_pairs(build_lab: BuildLab) -> None:
    lab = build_lab([WanSpec(), WanSpec(), line(10, 0.020)])

    assert max(ping(lab, lab.wan(1))[1:]) < 0.005
    assert len(ping(lab, lab.wan(2), address=SERVER_IPV6)) == 5
    assert min(ping(lab, lab.wan(3))) >= 0.020


@pytest.mark.parametrize("is_upload", [False, True])
def test_a_transfer_is_intact_though_packets_are_lost(build_lab: BuildLab, is_upload: bool) -> None:
    lab = build_lab([line(50, 0.010, loss=0.005)])
    ends = (lab.client, lab.server) if is_upload else (lab.server, lab.client)
    host = SERVER_IPV4

    with closing(Transfer(*ends, host=host, size=3_000_000, is_upload=is_upload)) as transfer:
        result = transfer.wait(20)

    assert result.is_intact
    assert result.bytes == 3_000_000
    assert result.mbit < 50


def test_a_transfer_that_does_not_get_through_is_not_intact(build_lab: BuildLab) -> None:
    lab = build_lab([line(50, 0.010)])

    with closing(Transfer(lab.server, lab.client, host=SERVER_IPV4, seconds=60)) as transfer:
        transfer.wait(1)
        lab.black_out(1)
        before = transfer.received()
        result = transfer.wait(1)

    assert before > 1_000_000
    assert not result.is_intact
    assert result.bytes < before + 1_000_000


@pytest.mark.usefixtures("kernel")
def test_a_lab_leaves_nothing_behind() -> None:
    with Topology(three_unequal_lines(), purpose="test") as lab:
        run = lab.run.name
        lab.run.directory()
        emulator = lab.emulator.pid
        deaf = lab.server.start(
            sys.executable, "-c",
            "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
        )  # fmt: skip
        assert remains_of(run) != []

    assert remains_of(run) == []
    assert not Path(f"/proc/{emulator}").exists()
    assert deaf.wait(TIME_TO_LEAVE) in (-signal.SIGTERM, -signal.SIGKILL)


@pytest.mark.usefixtures("kernel")
def test_a_lab_that_cannot_be_built_leaves_nothing_behind() -> None:
    before = set(Path("/run/netns").glob("*"))

    with pytest.raises(PlatformError, match="mtu"):
        Topology([line(10, 0.01), WanSpec(device_mtu=10**9)], purpose="test")

    assert set(Path("/run/netns").glob("*")) == before


LONG_RUN = """
import sys, time
from multiwanbond.lab.processes import Interrupted, interruptible
from multiwanbond.lab.topology import Topology, three_unequal_lines
try:
    with interruptible(), Topology(three_unequal_lines(), purpose="test") as lab:
        lab.run.directory()
        lab.server.start("sleep", "60")
        print(lab.run.name, flush=True)
        time.sleep(60)
except Interrupted as exc:
    sys.exit(exc.exit_code)
"""


@contextmanager
def long_run() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Yield a process that has a lab, and the lab's name."""
    with subprocess.Popen(
        [sys.executable, "-c", LONG_RUN], stdout=subprocess.PIPE, text=True, cwd=os.getcwd()
    ) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_lab_is_removed_when_a_signal_ends_its_run(number: signal.Signals) -> None:
    with long_run() as (process, run):
        process.send_signal(number)
        process.send_signal(number)
        code = process.wait(TIME_TO_LEAVE)

    assert code == 128 + number
    assert remains_of(run) == []


@pytest.mark.usefixtures("kernel")
def test_what_a_killed_run_left_is_swept_up_by_the_next() -> None:
    with long_run() as (process, run):
        process.kill()
        process.wait(TIME_TO_LEAVE)
    left = set(remains_of(run))

    swept = set(sweep())

    assert {f"{run}-client", f"{run}-server", f"/run/{run}"} <= left
    assert {f"{run}-client", f"{run}-server", f"/run/{run}"} <= swept
    assert remains_of(run) == []


def test_a_living_run_is_not_swept_up(lab: Topology) -> None:
    swept = sweep()

    assert lab.client.name not in swept
    assert lab.client.exists()


def test_a_run_is_recognised_by_the_names_it_gives() -> None:
    run = RunName.of_this_process("test")

    assert RunName.found_in(f"{run}-1-client") == run
    assert run.is_alive()
    assert not RunName("test", run.pid, run.started - 1).is_alive()
    assert RunName.found_in("mwb-something-else") is None
    assert RunName.found_in("blue") is None


def test_deleting_a_namespace_twice_is_fine(lab: Topology) -> None:
    lab.server.delete()

    lab.server.delete()

    assert not Namespace(lab.server.name).exists()
