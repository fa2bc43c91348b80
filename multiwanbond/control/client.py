"""Asks a running daemon.

Blocking sockets and json only: every `mwb status` pays for what is imported here.
"""

import os
import select
import socket
import struct
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from multiwanbond.errors import ControlError

from .protocol import (
    REPLY_BYTES,
    Command,
    Failure,
    Reply,
    Request,
    decode_reply_untrusted,
    encode_request,
)
from .status import JsonObject

TIMEOUT: Final = 5.0
"""Seconds to wait for an answer; a daemon answers within one batch of packets unless it is hung."""

_PEER_CREDENTIALS: Final = struct.Struct("iII")
"""struct ucred: pid, uid, gid."""


class NoDaemonError(ControlError):
    """Nobody listens on the control socket."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"No daemon listens on {path}.", 'Start one with "mwb up".')
        self.path = path


class ControlClient:
    """One connection to a daemon, for as many requests as wanted."""

    def __init__(self, path: Path, *, timeout: float = TIMEOUT) -> None:
        """Connect.

        Raises:
            NoDaemonError: there is no socket, or nobody behind it.
            ControlError: there is one, and we may not open it.
        """
        self._path = path
        self._rest = bytearray()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(str(path))
        except OSError as exc:
            self._socket.close()
            raise _connect_error(path, exc) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def ask(self, command: Command) -> JsonObject:
        """Return the daemon's answer.

        Raises:
            ControlError: it refused, hung up, or did not answer in time.
        """
        try:
            self._socket.sendall(encode_request(Request(command=command)))
            reply = self._read_reply()
        except TimeoutError as exc:
            raise ControlError(
                f"The daemon on {self._path} does not answer.",
                'It hangs; end it with "kill" and run "mwb down" to clean up.',
            ) from exc
        except OSError as exc:
            raise _hung_up(self._path) from exc
        if isinstance(reply, Failure):
            raise ControlError(reply.error, reply.remedy)
        return reply.result

    def process_id(self) -> int | None:
        """Return who is at the other end; None where it lives in a PID namespace we cannot see."""
        size = _PEER_CREDENTIALS.size
        found = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        return int(_PEER_CREDENTIALS.unpack(found)[0]) or None

    def wait_gone(self, timeout: float) -> bool:
        """Return True when the daemon has ended, False if it has not after `timeout` seconds."""
        pid = self.process_id()
        if pid is None:
            return self._wait_hung_up(timeout)
        try:
            watched = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        try:
            # A pidfd cannot be fooled by another process that gets the same number.
            return bool(select.select([watched], [], [], timeout)[0])
        finally:
            os.close(watched)

    def _wait_hung_up(self, timeout: float) -> bool:
        self._socket.settimeout(timeout)
        try:
            while self._socket.recv(4096):
                pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True

    def _read_reply(self) -> Reply:
        rest = self._rest
        while (end := rest.find(b"\n")) < 0:
            chunk = self._socket.recv(256 * 1024)
            if not chunk or len(rest) > REPLY_BYTES:
                raise _hung_up(self._path)
            rest += chunk
        line = bytes(rest[:end])
        del rest[: end + 1]
        return decode_reply_untrusted(line)


def ask(path: Path, command: Command, *, timeout: float = TIMEOUT) -> JsonObject:
    """Connect, ask one thing, hang up.

    Raises:
        ControlError: see `ControlClient`.
    """
    with ControlClient(path, timeout=timeout) as client:
        return client.ask(command)


def remove_stale_socket(path: Path) -> bool:
    """Return whether there was a dead daemon's socket at `path`, which is gone now.

    Raises:
        ControlError: we may not look, or not remove it.
    """
    if not path.is_socket():
        return False
    try:
        ControlClient(path, timeout=1.0).close()
    except NoDaemonError:
        try:
            path.unlink(missing_ok=True)
        except OSError as exc:
            raise ControlError(
                f"The socket {path} of a dead daemon cannot be removed: {exc.strerror}.",
                "Run the command as root (sudo).",
            ) from exc
        return True
    return False


def _hung_up(path: Path) -> ControlError:
    return ControlError(
        f"The daemon on {path} hung up without an answer.",
        'It may just have ended: see "mwb status" and its log.',
    )


def _connect_error(path: Path, exc: OSError) -> ControlError:
    if isinstance(exc, FileNotFoundError | ConnectionRefusedError | NotADirectoryError):
        return NoDaemonError(path)
    if isinstance(exc, PermissionError):
        return ControlError(
            f"We may not open the control socket {path}.", "Run the command as root (sudo)."
        )
    if isinstance(exc, TimeoutError | BlockingIOError):
        return ControlError(
            f"The daemon on {path} accepts no connection: too many commands wait for it.",
            "Try again in a moment.",
        )
    return ControlError(f"Cannot connect to {path}: {exc}.", "Check control.socket.")
