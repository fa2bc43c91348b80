"""The daemon's process: it ends orderly on a signal, and early where it cannot work."""

import os
import signal
import socket
from functools import partial
from pathlib import Path

import pytest
import trio

from multiwanbond.cli.command import main
from multiwanbond.control.status import ReloadDocument
from multiwanbond.daemon import linux_machine, report
from multiwanbond.daemon.app import run_until_signalled
from multiwanbond.daemon.reload import Apply, Reloader
from multiwanbond.errors import PrivilegeError
from tests.daemon.sites import Sites, client_plan
from tests.daemon.waiting import wait_until

CONFIG = """
mode: server
tunnel: {{name: mwbt0, address: [10.77.0.1/24]}}
control: {{socket: {socket}}}
security:
  private_key: {key}
  peers: [{{public_key: {peer}, allowed_ips: [10.77.0.2/32]}}]
"""
KEY = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
PEER = "CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_daemon_and_takes_everything_back(
    tmp_path: Path, number: signal.Signals
) -> None:
    sites = Sites(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_until_signalled, client_plan(tmp_path), sites.client)
        await wait_until(lambda: "table of eth0" in sites.client.standing)

        os.kill(os.getpid(), number)
        await wait_until(lambda: not sites.client.standing)

    assert sites.client.host.sockets == []


async def test_a_stop_command_ends_the_process_too(tmp_path: Path) -> None:
    sites = Sites(tmp_path)
    plan = client_plan(tmp_path)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_until_signalled, plan, sites.client)
            await wait_until(lambda: "table of eth0" in sites.client.standing)
            await trio.to_thread.run_sync(_say_stop, str(plan.control_socket))

    assert sites.client.standing == []


def _say_stop(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(b'{"version": 1, "command": "stop"}\n')
        assert b'"ok":true' in client.recv(4096)


def test_without_privileges_nothing_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise PrivilegeError("No.", "Run as root.")

    monkeypatch.setattr(report, "start_logging", lambda level: None)
    monkeypatch.setattr(linux_machine, "check_privileges", refuse)
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.format(socket=tmp_path / "s.sock", key=KEY, peer=PEER))
    config.chmod(0o600)

    code = main(["run", "-c", str(config)])

    assert code == 77
    assert "mwb: No. Run as root." in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


class ReloadOnce(Reloader):
    """Counts what it is asked, and reads nothing."""

    def __init__(self) -> None:
        self.count = 0

    @property
    def file(self) -> str:
        return "a file"

    async def reload(self, apply: Apply) -> ReloadDocument:
        self.count += 1
        return {"outcome": "unchanged", "file": "", "lines": []}


async def test_sighup_reloads_and_the_daemon_goes_on(tmp_path: Path) -> None:
    sites, reloader = Sites(tmp_path), ReloadOnce()
    run = partial(run_until_signalled, client_plan(tmp_path), sites.client, reloader=reloader)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await wait_until(lambda: "table of eth0" in sites.client.standing)

        os.kill(os.getpid(), signal.SIGHUP)
        await wait_until(lambda: reloader.count == 1)
        still_stands = bool(sites.client.standing)
        os.kill(os.getpid(), signal.SIGTERM)
        await wait_until(lambda: not sites.client.standing)

    assert still_stands


async def test_a_terminal_that_is_closed_ends_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sites, reloader = Sites(tmp_path), ReloadOnce()
    run = partial(run_until_signalled, client_plan(tmp_path), sites.client, reloader=reloader)
    monkeypatch.setattr(os, "isatty", lambda descriptor: True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await wait_until(lambda: "table of eth0" in sites.client.standing)

        monkeypatch.setattr(os, "isatty", lambda descriptor: False)
        os.kill(os.getpid(), signal.SIGHUP)
        await wait_until(lambda: not sites.client.standing)

    assert reloader.count == 0
