"""What people read: log lines, the status document, and what systemd is told."""

import logging
import os
import socket
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from multiwanbond.core.datagram import Address
from multiwanbond.core.events import (
    BondClosed,
    BondOpened,
    CloseReason,
    PathAddressChanged,
    PathStateChanged,
)
from multiwanbond.core.path_state import PathState, Trigger
from multiwanbond.core.statistics import EndpointStatistics, PathStatistics, PeerStatistics
from multiwanbond.daemon.measure import measure_ciphers
from multiwanbond.daemon.notify import Notifier
from multiwanbond.daemon.report import Report, WanLabel, fingerprint
from multiwanbond.daemon.status import RateMeter, describe_peer
from multiwanbond.errors import DropReason

KEY = bytes(range(32))


def label(path_id: int) -> WanLabel:
    return WanLabel(name="LTE", title="WAN LTE", interface=f"wwan{path_id}")


def peer_statistics(*, sent: int, received: int) -> PeerStatistics:
    path = PathStatistics(
        path_id=2,
        state=PathState.UP,
        state_since=90.0,
        remote=Address("2001:db8::1", 9000),
        rtt=0.01234,
        jitter=None,
        loss=0.015,
        capacity=1.25e6,
        queue=0.004,
        suspicions=0,
        sent_datagrams=7,
        sent_bytes=sent,
        received_datagrams=8,
        received_bytes=received,
    )
    return PeerStatistics(
        name="vps",
        public_key=KEY,
        is_connected=True,
        connected_since=40.0,
        cipher="AES_256_GCM",
        inner_mtu=1440,
        handshakes=1,
        sent_packets=5,
        sent_bytes=sent,
        received_packets=6,
        received_bytes=received,
        repaired_packets=0,
        copied_packets=0,
        compressed_packets=0,
        saved_bytes=0,
        parity_datagrams=0,
        recovered_packets=0,
        queued_bytes=0,
        shed_packets=0,
        unsendable_packets=0,
        paths=(path,),
        reorder=None,
    )


def statistics(*, sent: int, received: int) -> EndpointStatistics:
    return EndpointStatistics(
        peers=(peer_statistics(sent=sent, received=received),),
        dropped={DropReason.FORGED: 3},
        unroutable_packets=0,
    )


def test_a_path_that_goes_down_is_told_with_reason_and_fields(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Report(label).on_event(
        PathStateChanged(
            peer="vps",
            path_id=2,
            state_from=PathState.UP,
            state_to=PathState.DOWN,
            trigger=Trigger.SILENT,
        )
    )

    assert caplog.messages == [
        "WAN LTE (wwan2) is Down: probes stay unanswered. | "
        "peer=vps path=2 wan=LTE state_from=Up state_to=Down reason=silent"
    ]
    assert caplog.records[0].levelno == logging.WARNING


@pytest.mark.parametrize("reason", CloseReason)
def test_every_end_of_a_bond_has_words(
    reason: CloseReason, caplog: pytest.LogCaptureFixture
) -> None:
    Report(label).on_event(BondClosed(peer="vps", reason=reason))

    assert caplog.messages[0].startswith("Bond with vps ended: ")


def test_openings_and_roaming_are_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    report = Report(label)

    report.on_event(BondOpened(peer="vps", is_resumed=False, cipher="AES", inner_mtu=1440))
    report.on_event(BondOpened(peer="vps", is_resumed=True, cipher="AES", inner_mtu=1440))
    report.on_event(
        PathAddressChanged(
            peer="vps",
            path_id=2,
            address_from=Address("192.0.2.1", 1),
            address_to=Address("192.0.2.2", 2),
        )
    )

    assert caplog.messages == [
        "Bond with vps is open. | peer=vps cipher=AES mtu=1440",
        "WAN LTE (wwan2) of vps now comes from 192.0.2.2:2 (was 192.0.2.1:1). | "
        "peer=vps path=2 wan=LTE",
    ]


def test_rates_are_those_between_two_samples() -> None:
    rates = RateMeter()
    rates.sample(statistics(sent=1_000_000, received=0), 10.0)
    rates.sample(statistics(sent=1_250_000, received=500_000), 12.0)

    peer = describe_peer(
        peer_statistics(sent=1_250_000, received=500_000), label=label, rates=rates, now=100.0
    )

    assert (peer["rate_up_mbit"], peer["rate_down_mbit"]) == (1.0, 2.0)
    assert (peer["paths"][0]["rate_up_mbit"], peer["paths"][0]["rate_down_mbit"]) == (1.0, 2.0)


def test_a_new_bond_starts_with_no_rate_instead_of_a_negative_one() -> None:
    rates = RateMeter()
    rates.sample(statistics(sent=1_000_000, received=5), 10.0)
    rates.sample(statistics(sent=200, received=500_000), 11.0)

    assert rates.rate(KEY) == (0.0, 0.0)


def test_a_peer_is_described_in_the_units_of_its_keys() -> None:
    peer = describe_peer(
        peer_statistics(sent=1, received=2), label=label, rates=RateMeter(), now=100.0
    )

    assert peer["key"] == fingerprint(KEY) == "AAECAwQF"
    assert peer["connected_s"] == 60.0
    path = peer["paths"][0]
    assert (path["wan"], path["interface"], path["state"]) == ("LTE", "wwan2", "Up")
    assert (path["rtt_ms"], path["jitter_ms"], path["loss_pct"]) == (12.34, None, 1.5)
    assert (path["capacity_mbit"], path["queue_ms"]) == (10.0, 4.0)
    assert (path["state_since_s"], path["remote"]) == (10.0, "[2001:db8::1]:9000")


def test_both_ciphers_are_measured() -> None:
    costs = measure_ciphers()

    assert 100 < costs.aes_gcm_ns < 10_000_000
    assert 100 < costs.chacha20_ns < 10_000_000


async def test_the_service_manager_hears_all_it_asked_for(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"})

        notifier.ready("client, tunnel mwb0")
        with trio.move_on_after(1.5):
            await notifier.feed_watchdog(trio.lowlevel.checkpoint)
        notifier.stopping()

        assert [manager.recv(200) for _ in range(4)] == [
            b"READY=1\nSTATUS=client, tunnel mwb0",
            b"WATCHDOG=1",
            b"WATCHDOG=1",
            b"STOPPING=1",
        ]


async def test_the_watchdog_is_not_fed_while_the_loop_that_moves_packets_hangs(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    rounds = 0

    async def turn() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 3:
            await trio.sleep_forever()

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"})

        with trio.move_on_after(60):
            await notifier.feed_watchdog(turn)

        assert [manager.recv(200) for _ in range(2)] == [b"WATCHDOG=1"] * 2
        with pytest.raises(BlockingIOError):
            manager.recv(200)


def test_an_abstract_notify_socket_is_understood() -> None:
    name = f"mwb-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name)
        manager.settimeout(5)

        Notifier({"NOTIFY_SOCKET": "@" + name}).stopping()

        assert manager.recv(200) == b"STOPPING=1"


async def test_without_a_service_manager_nothing_is_said_and_nothing_waits() -> None:
    notifier = Notifier({"WATCHDOG_USEC": "1000"})

    notifier.ready("")
    with trio.fail_after(5):
        await notifier.feed_watchdog(trio.lowlevel.checkpoint)


def test_a_watchdog_meant_for_another_process_is_not_fed() -> None:
    notifier = Notifier({"NOTIFY_SOCKET": "x", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"})

    assert notifier.watchdog_interval is None
