"""TCP transfers between the namespaces of a lab, watched from outside."""

import json
import os
import subprocess
import time
from dataclasses import dataclass
from typing import Any, Final

from multiwanbond.errors import PlatformError
from multiwanbond.lab import processes, programs
from multiwanbond.lab.namespaces import Namespace

PORT: Final = 5555
_READY_WITHIN: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferResult:
    """What became of a transfer."""

    is_intact: bool
    """Both ends counted the same bytes with the same SHA-256, and neither saw an error."""
    bytes: int
    """What arrived."""
    sha256: str
    """Of what arrived."""
    seconds: float
    """From the first byte's arrival to the last's."""
    longest_stall: float
    """Seconds: the longest time in which nothing arrived."""
    errors: tuple[str, ...]
    """What the ends complained of."""

    @property
    def mbit(self) -> float:
        """Average rate in Mbit/s."""
        return self.bytes * 8 / self.seconds / 1e6 if self.seconds > 0 else 0.0


class _End:
    """One process of a transfer and what it said so far."""

    def __init__(self, namespace: Namespace, *arguments: str) -> None:
        self._process = namespace.start(
            *programs.command("transfer", *arguments), stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        os.set_blocking(self._output, False)
        self._rest = b""
        self.said: dict[str, Any] = {"bytes": 0}
        """Its latest line, fields of earlier ones included."""

    def poll(self) -> None:
        """Take note of what it has said."""
        try:
            while data := os.read(self._output, 65_536):
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    self.said.update(json.loads(line))
        except BlockingIOError:
            pass

    def has_ended(self) -> bool:
        """Tell whether the process is gone; all it said is known then."""
        is_gone = self._process.poll() is not None
        self.poll()
        return is_gone

    def close(self) -> None:
        """End it."""
        processes.stop(self._process)


class Transfer:
    """A TCP transfer that has begun; `result` once it `has_ended`, `close` in any case."""

    def __init__(
        self,
        sender: Namespace,
        receiver: Namespace,
        *,
        host: str,
        port: int = PORT,
        is_upload: bool = False,
        size: int | None = None,
        seconds: float | None = None,
    ) -> None:
        """Begin to send `size` bytes, or for some `seconds`.

        Args:
            host: where the listening end listens: the sender, or for an upload the receiver.
        """
        amount = [f"--bytes={size}"] if size is not None else []
        amount += [f"--seconds={seconds}"] if seconds is not None else []
        self._ends: list[_End] = []
        try:
            if is_upload:
                self._receiver = self._listen(receiver, "receive", host, port)
                self._sender = self._add(sender, "connect", "send", host, str(port), *amount)
            else:
                self._sender = self._listen(sender, "send", host, port, *amount)
                self._receiver = self._add(receiver, "connect", "receive", host, str(port))
        except BaseException:
            self.close()
            raise

    def _add(self, namespace: Namespace, *arguments: str) -> _End:
        end = _End(namespace, *arguments)
        self._ends.append(end)
        return end

    def _listen(self, namespace: Namespace, role: str, host: str, port: int, *more: str) -> _End:
        end = self._add(namespace, "listen", role, host, str(port), *more)
        give_up = time.monotonic() + _READY_WITHIN
        while not end.said.get("is_listening"):
            if end.has_ended() or time.monotonic() > give_up:
                raise PlatformError(
                    f"The test program cannot listen on {host} port {port}"
                    f" in {namespace.name}: {end.said.get('error', 'it says nothing')}.",
                    "Is the address there, and the port free?",
                )
            time.sleep(0.01)
        return end

    def received(self) -> int:
        """Return how many bytes have arrived so far."""
        self._receiver.poll()
        return int(self._receiver.said["bytes"])

    def has_ended(self) -> bool:
        """Tell whether both ends are through."""
        # Every end is asked, though the first answer may settle it: asking empties its pipe.
        ended = [end.has_ended() for end in self._ends]
        return all(ended)

    def wait(self, timeout: float) -> TransferResult:
        """Return the result when both ends are through, or after `timeout` seconds."""
        give_up = time.monotonic() + timeout
        while not self.has_ended() and time.monotonic() < give_up:
            time.sleep(0.02)
        return self.result()

    def result(self) -> TransferResult:
        """Return what is known; of a transfer that has not ended, that it is not intact."""
        sent, received = self._sender.said, self._receiver.said
        is_through = all("is_done" in end.said and not end.said["error"] for end in self._ends)
        same = all(sent.get(key) == received.get(key) for key in ("bytes", "sha256"))
        return TransferResult(
            is_intact=is_through and same,
            bytes=received["bytes"],
            sha256=received.get("sha256", ""),
            seconds=received.get("seconds", 0.0),
            longest_stall=received.get("longest_stall", 0.0),
            errors=tuple(str(end.said["error"]) for end in self._ends if end.said.get("error")),
        )

    def close(self) -> None:
        """End both processes, wherever they are."""
        for end in self._ends:
            end.close()
