"""Answers commands inside the daemon; no client can harm it, whatever it sends or fails to read."""

import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

from multiwanbond.errors import ControlError, MultiWanBondError, PlatformError

from .client import ControlClient, remove_stale_socket
from .protocol import (
    REQUEST_BYTES,
    Failure,
    Reply,
    Request,
    RequestError,
    Success,
    decode_request_untrusted,
    encode_reply,
)
from .status import JsonObject

_log = logging.getLogger(__name__)

MOST_CLIENTS: Final = 16
"""Connections served at once: a person, a web UI and some scripts; more are told to come back."""

CLIENT_PATIENCE: Final = 60.0
"""Seconds a client may take between two requests before we hang up."""

REPLY_PATIENCE: Final = 2.0
"""Seconds a client may take to read an answer; also the longest it can delay the daemon's end."""

Answer = Callable[[Request], Awaitable[JsonObject]]
"""Carries out one request; raises `ControlError` to refuse it."""


class ControlSocket:
    """A listening socket at `path` that only our own user can open."""

    def __init__(self, path: Path) -> None:
        """Listen.

        The directory is created if it is missing; a socket that a dead daemon left is replaced.

        Raises:
            PlatformError: a live daemon has it, or the place cannot be written to.
        """
        _replace_stale(path)
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            _bind_private(self.listener, path)
            self.listener.listen(MOST_CLIENTS)
            self._identity = _identity(path)
        except OSError as exc:
            self.listener.close()
            raise PlatformError(
                f"The control socket {path} cannot be created: {exc.strerror or exc}.",
                "Choose another place with control.socket.",
            ) from exc

    def close(self) -> None:
        """Stop listening and remove the file, unless another daemon has put its own there since."""
        self.listener.close()
        with suppress(OSError):
            if _identity(self.path) == self._identity:
                self.path.unlink()


def _bind_private(listener: socket.socket, path: Path) -> None:
    # The mask, not a chmod afterwards: between bind and chmod anybody could connect.
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def _replace_stale(path: Path) -> None:
    """Remove the socket a dead daemon left at `path`; refuse if it lives, or is no socket."""
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if not stat.S_ISSOCK(mode):
        raise PlatformError(
            f"{path} exists and is no socket.", "Remove it, or choose another control.socket."
        )
    try:
        if remove_stale_socket(path):
            return
        with ControlClient(path, timeout=1.0) as client:
            pid = client.process_id()
    except ControlError as exc:
        raise PlatformError(exc.problem, exc.remedy) from exc
    raise PlatformError(
        f"A daemon already listens on {path} (process {pid or 'in another namespace'}).",
        'Stop it with "mwb down", or give this one another tunnel.name.',
    )


class ControlServer:
    """Serves every client of one control socket."""

    def __init__(self, listener: ControlSocket, answer: Answer) -> None:
        self._listener = listener.listener
        self._answer = answer
        self._clients = 0

    async def run(self) -> None:
        """Serve until cancelled. The caller keeps the listening socket, and closes it."""
        # Our own descriptor: trio closes the socket it is given, and the caller's must live on.
        listener = trio.socket.from_stdlib_socket(self._listener.dup())
        with listener:
            async with trio.open_nursery() as nursery:
                while True:
                    try:
                        connection, _ = await listener.accept()
                    except OSError as exc:
                        # Out of descriptors, or the client is gone already: neither is our end.
                        _log.warning("control socket: %s", exc)
                        await trio.sleep(0.1)
                        continue
                    nursery.start_soon(self._serve, trio.SocketStream(connection))

    async def _serve(self, stream: trio.SocketStream) -> None:
        """Talk to one client; the supervised border: what happens here ends only this client."""
        self._clients += 1
        try:
            async with stream:
                if self._clients > MOST_CLIENTS:
                    await self._turn_away(stream)
                else:
                    await self._converse(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client hung up without waiting for its answer
        except Exception:
            _log.exception("a command failed by a fault of ours; the daemon goes on")
        finally:
            self._clients -= 1

    async def _turn_away(self, stream: trio.SocketStream) -> None:
        with trio.move_on_after(REPLY_PATIENCE):
            # Closing a socket with something unread in it throws our own answer away as well.
            with suppress(RequestError):
                await _read_line(stream, bytearray())
            await self._send(stream, _BUSY)

    async def _converse(self, stream: trio.SocketStream) -> None:
        rest = bytearray()
        while True:
            line: bytes | None = None
            try:
                with trio.move_on_after(CLIENT_PATIENCE):
                    line = await _read_line(stream, rest)
            except RequestError as exc:
                await self._send(stream, Failure(error=exc.problem, remedy=exc.remedy))
                return  # where the next request starts cannot be known
            if line is None:
                return
            await self._send(stream, await self._reply_to(line))

    async def _reply_to(self, line: bytes) -> Reply:
        try:
            return Success(result=await self._answer(decode_request_untrusted(line)))
        except ControlError as exc:
            return Failure(error=exc.problem, remedy=exc.remedy)
        except MultiWanBondError as exc:
            return Failure(error=str(exc), remedy="")

    @staticmethod
    async def _send(stream: trio.SocketStream, reply: Reply) -> None:
        # Shielded: "stop" cancels us, and its own answer must still get out.
        with trio.move_on_after(REPLY_PATIENCE, shield=True):
            await stream.send_all(encode_reply(reply))


_BUSY: Final = Failure(
    error=f"{MOST_CLIENTS} other commands are connected to the daemon.",
    remedy="Try again in a moment.",
)


async def _read_line(stream: trio.SocketStream, rest: bytearray) -> bytes | None:
    """Return the next line without its newline, None at the end; `rest` keeps what follows it.

    Raises:
        RequestError: the line is longer than any request.
    """
    while (end := rest.find(b"\n")) < 0:
        if len(rest) > REQUEST_BYTES:
            raise RequestError(
                f"The request is longer than {REQUEST_BYTES} bytes.",
                "End each request by a newline.",
            )
        chunk = await stream.receive_some(REQUEST_BYTES)
        if not chunk:
            return None
        rest += chunk
    line = bytes(rest[:end])
    del rest[: end + 1]
    return line
