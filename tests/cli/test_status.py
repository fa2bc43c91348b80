"""The status document in front of people."""

import copy
import subprocess
import sys
from typing import Any

import pytest

from multiwanbond.cli.status_view import show_status
from multiwanbond.control.status import StatusDocument

STATUS: StatusDocument = {
    "version": "0.1.0",
    "pid": 4711,
    "config": "/etc/multiwanbond/config.yaml",
    "mode": "client",
    "uptime_s": 3780.0,
    "is_ready": True,
    "is_compiled": True,
    "tunnel": {
        "name": "mwb0",
        "mtu": 1440,
        "addresses": ["10.77.0.2/24"],
        "offload": "tcp and udp",
    },
    "peers": [
        {
            "name": "vps",
            "key": "AAECAwQF",
            "is_connected": True,
            "connected_s": 60.0,
            "cipher": "AES_256_GCM",
            "inner_mtu": 1440,
            "handshakes": 1,
            "sent_packets": 5,
            "received_packets": 6,
            "repaired_packets": 0,
            "copied_packets": 0,
            "compressed_packets": 0,
            "saved_bytes": 0,
            "parity_datagrams": 0,
            "recovered_packets": 0,
            "queued_bytes": 0,
            "shed_packets": 0,
            "unsendable_packets": 0,
            "sent_bytes": 1_500_000,
            "received_bytes": 2_000_000_000,
            "rate_up_mbit": 3.0,
            "rate_down_mbit": 50.0,
            "reorder": None,
            "paths": [
                {
                    "id": 1,
                    "wan": "Fibre",
                    "interface": "eth0",
                    "state": "Up",
                    "state_since_s": 59.6,
                    "remote": "198.51.100.1:9000",
                    "rtt_ms": 12.34,
                    "jitter_ms": 0.5,
                    "loss_pct": 0.0,
                    "peer_view": {
                        "state": "Up",
                        "rtt_ms": 12.5,
                        "jitter_ms": 0.6,
                        "loss_pct": 0.4,
                        "capacity_mbit": 80.0,
                        "seen": None,
                    },
                    "capacity_mbit": 20.0,
                    "queue_ms": 1.0,
                    "mtu": 1492,
                    "mtu_state": "found",
                    "carries_packets": True,
                    "in_reserve": False,
                    "black_holes": 0,
                    "sent_datagrams": 7,
                    "received_datagrams": 8,
                    "sent_bytes": 1_500_000,
                    "received_bytes": 2_000_000_000,
                    "rate_up_mbit": 3.0,
                    "rate_down_mbit": 50.0,
                }
            ],
        }
    ],
    "multicast": None,
    "plugins": [],
    "servers": [],
    "wans": [
        {
            "id": 1,
            "name": "Fibre",
            "interface": "eth0",
            "local": "192.0.2.1",
            "remote": "198.51.100.1:9000",
            "waiting_for": None,
            "warning": None,
        },
        {
            "id": 2,
            "name": "LTE",
            "interface": "wwan0",
            "local": None,
            "remote": None,
            "waiting_for": "No interface 'wwan0'.",
            "warning": None,
        },
    ],
    "quotas": [],
    "sockets": [],
    "dropped": {"forged": 3, "replayed": 0},
    "unroutable_packets": 0,
    "undeliverable_packets": 0,
    "unsent_datagrams": 2,
}


def test_a_pipe_gets_plain_columns(capsys: pytest.CaptureFixture[str]) -> None:
    show_status(STATUS)

    assert capsys.readouterr().out.splitlines() == [
        "mwb0 (client): 10.77.0.2/24, MTU 1440, running for 1h 3min, process 4711, version 0.1.0",
        "",
        "peer vps (AAECAwQF...): connected for 1min 0s, AES_256_GCM, sent 1.5MB, received 2GB",
        "  WAN    interface  state        MTU      RTT  jitter   loss  loss down  can take"
        "  can bring     up    down  remote",
        "  Fibre  eth0       Up 1min 0s  1492  12.3 ms  0.5 ms  0.0 %      0.4 %    20Mbit"
        "     80Mbit  3Mbit  50Mbit  198.51.100.1:9000",
        "WAN LTE waits: No interface 'wwan0'.",
        "received datagrams dropped: 3 forged",
        "datagrams that could not leave: 2",
    ]


def test_what_was_done_against_losses_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    status: Any = copy.deepcopy(STATUS)
    status["peers"][0] |= {"repaired_packets": 12, "parity_datagrams": 300, "recovered_packets": 4}

    show_status(status)

    out = capsys.readouterr().out
    assert "  sent again: 12, parity sent: 300, made up for by parity: 4\n" in out


def test_a_wan_that_waits_until_it_is_needed_is_in_reserve(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status: Any = copy.deepcopy(STATUS)
    status["peers"][0]["paths"][0]["in_reserve"] = True

    show_status(status)

    assert "  Fibre  eth0       Up 1min 0s, in reserve  1492" in capsys.readouterr().out


QUOTA = {
    "wan_id": 2,
    "wan": "LTE",
    "used_bytes": 12_300_000_000,
    "quota_bytes": 50_000_000_000,
    "since": "2026-11-01",
    "until": "2026-12-01",
    "is_used_up": False,
    "action": "reserve",
    "is_kept": True,
}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, "WAN LTE: 12.3GB of 50GB used since 2026-11-01, 24.6 %; anew on 2026-12-01"),
        (
            {"used_bytes": 50_000_000_000, "is_used_up": True},
            "WAN LTE: 50GB of 50GB used since 2026-11-01, 100.0 %: in reserve until 2026-12-01",
        ),
        (
            {"used_bytes": 50_000_000_000, "is_used_up": True, "action": "off"},
            "WAN LTE: 50GB of 50GB used since 2026-11-01, 100.0 %: off until 2026-12-01",
        ),
        (
            {"since": None, "until": None},
            "WAN LTE: 12.3GB of 50GB used, 24.6 %; the clock is not set",
        ),
        (
            {"is_kept": False},
            "WAN LTE: 12.3GB of 50GB used since 2026-11-01, 24.6 %; anew on 2026-12-01; "
            "cannot be written, a restart forgets it",
        ),
    ],
)
def test_what_metered_wans_have_used_is_shown(
    told: dict[str, object], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status: Any = copy.deepcopy(STATUS)
    status["quotas"] = [{**QUOTA, **told}]

    show_status(status)

    assert expected in capsys.readouterr().out.splitlines()


def test_a_path_too_narrow_for_the_packets_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    status: Any = copy.deepcopy(STATUS)
    path = status["peers"][0]["paths"][0]
    path |= {"mtu": 1300, "carries_packets": False}
    show_status(status)
    found = capsys.readouterr().out
    path["mtu_state"] = "searching"
    show_status(status)
    searching = capsys.readouterr().out

    assert "  Fibre carries no packets now: only 1300 bytes pass there" in found
    assert "  Fibre carries no packets now: large ones are lost there" in searching


def test_what_compression_has_done_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    status: Any = copy.deepcopy(STATUS)
    status["peers"][0] |= {"compressed_packets": 1200, "saved_bytes": 800_000}

    show_status(status)

    assert "  compressed: 1200 packets, 800kB less sent\n" in capsys.readouterr().out


def test_a_terminal_gets_the_same_facts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")

    show_status(STATUS)

    out = capsys.readouterr().out
    assert "Fibre" in out
    assert "12.3 ms" in out
    assert "50Mbit" in out


def test_brackets_in_a_name_are_no_markup(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "150")
    status: Any = copy.deepcopy(STATUS)
    status["peers"][0]["paths"][0]["wan"] = "[red]LTE[/red]"

    show_status(status)

    assert "[red]LTE[/red]" in capsys.readouterr().out


def test_a_peer_without_a_bond_is_not_connected(capsys: pytest.CaptureFixture[str]) -> None:
    status: Any = copy.deepcopy(STATUS)
    status["peers"][0] |= {"is_connected": False, "paths": [], "cipher": None}

    show_status(status)

    assert "peer vps (AAECAwQF...): not connected" in capsys.readouterr().out


def test_what_may_surprise_about_a_wan_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    status: Any = copy.deepcopy(STATUS)
    status["wans"][0]["warning"] = "Its network is the tunnel's."

    show_status(status)

    assert "WAN Fibre: Its network is the tunnel's.\n" in capsys.readouterr().out


def test_asking_for_the_status_loads_neither_trio_nor_pyroute2() -> None:
    code = (
        "import sys, multiwanbond.cli.status\n"
        "print(*{'trio', 'pyroute2', 'rich', 'cryptography'} & set(sys.modules))"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert found.stdout.strip() == ""


def test_what_makes_it_slower_than_need_be_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    status: Any = copy.deepcopy(STATUS)
    status["is_compiled"] = False
    status["tunnel"]["offload"] = "none"
    status["sockets"] = [
        {"wan_id": 1, "local": "192.0.2.1:5", "is_gso": False},
        {"wan_id": 2, "local": "192.0.2.2:5", "is_gso": True},
    ]

    show_status(status)

    assert capsys.readouterr().out.splitlines()[-3:] == [
        "slower than need be: mwb0 takes packets one by one",
        "slower than need be: datagrams leave by Fibre one by one (no GSO)",
        "slower than need be: Python encrypts (python -m multiwanbond.native.build)",
    ]


def test_status_lists_the_groups_that_are_carried(capsys: pytest.CaptureFixture[str]) -> None:
    status: Any = copy.deepcopy(STATUS)
    status["multicast"] = {
        "interfaces": ["lan0"],
        "wanted_here": ["239.1.2.3"],
        "wanted_there": [],
        "sent_packets": 5,
        "received_packets": 7,
        "relayed_packets": 0,
        "unwanted_packets": 3,
        "looped_packets": 2,
    }

    show_status(status)

    said = capsys.readouterr().out
    assert "multicast on lan0: wanted here 239.1.2.3, there none" in said
    assert "sent 5 packets, received 7, passed on 0" in said
    assert "packets that came round and were stopped: 2" in said


def test_a_state_that_the_peer_sees_otherwise_is_shown_beside_ours(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status: Any = copy.deepcopy(STATUS)
    status["peers"][0]["paths"][0]["peer_view"]["state"] = "Degraded"

    show_status(status)

    assert "Up 1min 0s, Degraded there" in capsys.readouterr().out


def test_what_the_peer_has_not_said_is_left_empty(capsys: pytest.CaptureFixture[str]) -> None:
    status: Any = copy.deepcopy(STATUS)
    status["peers"][0]["paths"][0]["peer_view"] = None

    show_status(status)

    row = next(line for line in capsys.readouterr().out.splitlines() if "Fibre" in line)
    assert "0.4 %" not in row
    assert "20Mbit" in row


@pytest.mark.parametrize(("columns", "is_shown"), [("80", False), ("150", True)])
def test_a_wide_terminal_has_room_for_what_the_peer_measures(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: str,
    is_shown: bool,
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", columns)

    show_status(STATUS)

    assert ("80Mbit" in capsys.readouterr().out) is is_shown
