"""Server and client together, over real sockets and in real time."""

import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from multiwanbond.control.client import ControlClient, NoDaemonError, ask
from multiwanbond.control.protocol import REQUEST_BYTES, Command, Request
from multiwanbond.control.server import MOST_CLIENTS, ControlServer, ControlSocket
from multiwanbond.control.status import JsonObject
from multiwanbond.errors import ControlError, PlatformError


async def answer(request: Request) -> JsonObject:
    """Refuse to stop, so that both kinds of reply can be seen."""
    if request.command is Command.STOP:
        raise ControlError("Not now.", "Ask later.")
    return {"asked": request.command.value}


async def in_thread(work: Callable[[], Any]) -> Any:
    with trio.fail_after(10):
        return await trio.to_thread.run_sync(work)


@pytest.fixture
async def path(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Path]:
    """The path of a running server's socket."""
    control = ControlSocket(tmp_path / "run" / "mwb0.sock")
    nursery.start_soon(ControlServer(control, answer).run)
    yield control.path
    control.close()


async def test_a_command_is_answered(path: Path) -> None:
    result = await in_thread(lambda: ask(path, Command.STATUS))

    assert result == {"asked": "status"}


async def test_a_refusal_reaches_the_client_with_its_remedy(path: Path) -> None:
    with pytest.raises(ControlError, match=r"Not now\. Ask later\."):
        await in_thread(lambda: ask(path, Command.STOP))


async def test_one_connection_serves_many_requests(path: Path) -> None:
    def ask_often() -> list[JsonObject]:
        with ControlClient(path) as client:
            return [client.ask(Command.STATUS) for _ in range(5)]

    results = await in_thread(ask_often)

    assert results == [{"asked": "status"}] * 5


def test_only_our_own_user_may_open_the_socket(tmp_path: Path) -> None:
    control = ControlSocket(tmp_path / "run" / "mwb0.sock")

    assert stat.S_IMODE(control.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(control.path.parent.stat().st_mode) == 0o755
    control.close()


async def test_the_client_learns_the_process_of_the_daemon(path: Path) -> None:
    def look() -> int | None:
        with ControlClient(path) as client:
            return client.process_id()

    assert await in_thread(look) == os.getpid()


async def test_a_fault_in_a_command_ends_that_client_and_no_other(tmp_path: Path) -> None:
    async def stumble(request: Request) -> JsonObject:
        if request.command is Command.STOP:
            raise ZeroDivisionError
        return {}

    control = ControlSocket(tmp_path / "mwb0.sock")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ControlServer(control, stumble).run)
        with pytest.raises(ControlError, match="hung up"):
            await in_thread(lambda: ask(control.path, Command.STOP))

        assert await in_thread(lambda: ask(control.path, Command.STATUS)) == {}

        nursery.cancel_scope.cancel()
    control.close()


@pytest.mark.parametrize("noise", [b"\n", b"GET / HTTP/1.1\n", b"\xff\x00\n", b"[" * 5000 + b"\n"])
async def test_noise_is_refused_and_the_connection_stays_usable(path: Path, noise: bytes) -> None:
    stream = await trio.open_unix_socket(path)
    async with stream:
        await stream.send_all(noise)

        with trio.fail_after(5):
            refusal = await stream.receive_some()
            await stream.send_all(b'{"version": 1, "command": "status"}\n')
            reply = await stream.receive_some()

    assert b'"ok":false' in refusal
    assert b'"ok":true' in reply


async def test_an_endless_line_is_refused_and_cut_off(path: Path) -> None:
    stream = await trio.open_unix_socket(path)
    async with stream:
        await stream.send_all(b" " * (REQUEST_BYTES + 1))

        with trio.fail_after(5):
            received = b"".join([chunk async for chunk in stream])

    assert b'"ok":false' in received


async def test_a_client_that_hangs_up_at_once_harms_nobody(path: Path) -> None:
    for _ in range(50):
        stream = await trio.open_unix_socket(path)
        await stream.send_all(b'{"version": 1, "command": "status"}\n')
        await stream.aclose()

    assert await in_thread(lambda: ask(path, Command.STATUS)) == {"asked": "status"}


async def test_too_many_clients_are_told_so_and_room_returns(path: Path) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(MOST_CLIENTS):
            await nursery.start(stay_connected, path)

        with pytest.raises(ControlError, match="other commands"):
            await in_thread(lambda: ask(path, Command.STATUS))

        nursery.cancel_scope.cancel()

    with trio.fail_after(10):
        while not await in_thread(lambda: answers(path)):  # noqa: ASYNC110  # no event tells
            await trio.sleep(0.01)


async def stay_connected(
    path: Path, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Ask once, so that the server has surely accepted us, and then nothing more."""
    async with await trio.open_unix_socket(path) as stream:
        await stream.send_all(b'{"version": 1, "command": "status"}\n')
        await stream.receive_some()
        task_status.started()
        await trio.sleep_forever()


def answers(path: Path) -> bool:
    try:
        ask(path, Command.STATUS)
    except ControlError:
        return False
    return True


def test_without_a_socket_the_client_says_how_to_start_a_daemon(tmp_path: Path) -> None:
    with pytest.raises(NoDaemonError, match="mwb up"):
        ask(tmp_path / "none.sock", Command.STATUS)


def test_a_daemon_that_hangs_is_told_from_one_that_is_missing(tmp_path: Path) -> None:
    control = ControlSocket(tmp_path / "mwb0.sock")

    with pytest.raises(ControlError, match="does not answer"):
        ask(control.path, Command.STATUS, timeout=0.05)

    control.close()


def test_the_socket_of_a_dead_daemon_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "mwb0.sock"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.listen()
    dead.close()

    control = ControlSocket(path)

    assert path.is_socket()
    control.close()
    assert not path.exists()


def test_the_socket_of_a_live_daemon_is_an_error_naming_its_process(tmp_path: Path) -> None:
    first = ControlSocket(tmp_path / "mwb0.sock")

    with pytest.raises(PlatformError, match=f"process {os.getpid()}"):
        ControlSocket(first.path)

    assert first.path.exists()
    first.close()


def test_a_file_in_the_place_of_the_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mwb0.sock"
    path.write_text("precious")

    with pytest.raises(PlatformError, match="is no socket"):
        ControlSocket(path)

    assert path.read_text() == "precious"


def test_closing_leaves_the_socket_of_a_later_daemon_alone(tmp_path: Path) -> None:
    first = ControlSocket(tmp_path / "mwb0.sock")
    first.path.unlink()
    second = ControlSocket(first.path)

    first.close()

    assert second.path.exists()
    second.close()


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(PlatformError, match=r"file/mwb0\.sock"):
        ControlSocket(tmp_path / "file" / "mwb0.sock")
