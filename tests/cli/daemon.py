"""A daemon that only talks: a process that answers commands on a control socket."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

_SERVE = """
import json, os, socket, sys
path, replies, is_stubborn = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3] == "True"
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()
print("ready", flush=True)
while True:
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as lines:
        for line in lines:
            command = json.loads(line)["command"]
            print(command, flush=True)
            reply = {"version": 1, "ok": True, "result": replies.get(command, {})}
            connection.sendall(json.dumps(reply).encode() + b"\\n")
            if command == "stop" and not is_stubborn:
                os.unlink(path)
                sys.exit()
"""


class DaemonStub:
    """Runs from entering to leaving; remembers what it was asked."""

    def __init__(
        self,
        path: Path,
        *,
        status: object = None,
        replies: Mapping[str, object] | None = None,
        is_stubborn: bool = False,
    ) -> None:
        known = {"status": status or {}, **(replies or {})}
        self._arguments = [str(path), json.dumps(known), str(is_stubborn)]
        self.path = path
        self.commands: list[str] = []
        self.exit_code: int | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, *self._arguments], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.exit_code = self._process.poll()
        self._process.kill()
        out, _ = self._process.communicate(timeout=10)
        self.commands = out.split()
        self.path.unlink(missing_ok=True)
