"""A client's and a server's daemon in the namespaces of a lab, with matching files and keys."""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from multiwanbond.control.client import ask
from multiwanbond.control.protocol import Command
from multiwanbond.core.handshake import public_key_of
from multiwanbond.errors import ControlError, PlatformError
from multiwanbond.lab import processes
from multiwanbond.lab.namespaces import Namespace
from multiwanbond.lab.topology import SERVER_IPV4, Topology
from multiwanbond.linux.undo import Undo

Document = dict[str, Any]
"""A JSON object: a configuration, or a daemon's status."""

# Chosen by us.
PORT: Final = 9000
"""Where the server listens."""
CLIENT_INNER_IPV4: Final = "10.77.0.2"
CLIENT_INNER_IPV6: Final = "fd77::2"
SERVER_INNER_IPV4: Final = "10.77.0.1"
SERVER_INNER_IPV6: Final = "fd77::1"
CONNECTED_WITHIN: Final = 10.0
_POLL: Final = 0.05


class Daemon:
    """`mwb run` in a namespace, by its configuration file."""

    def __init__(
        self, namespace: Namespace, directory: Path, name: str, document: Document, undo: Undo
    ) -> None:
        self.namespace = namespace
        self._undo = undo
        self.config = directory / f"{name}.yaml"
        self.socket = directory / f"{name}.sock"
        self.log = directory / f"{name}.log"
        """What the daemon wrote on standard error."""
        self._process: subprocess.Popen[str] | None = None
        # JSON is YAML, and what a program writes need not look like what a person does.
        document["control"] = {"socket": str(self.socket)}
        self.document = document
        self.write_config()

    def write_config(self) -> None:
        """Write `document` to the file, which holds a secret."""
        _write_secret(self.config, json.dumps(self.document, indent=1))

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of `mwb` with `arguments`."""
        return [sys.executable, "-m", "multiwanbond", *arguments]

    def mwb(
        self, verb: str, *arguments: str, check: bool = True, timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run `mwb VERB` with this daemon's file, in its namespace, to its end."""
        command = self.command(verb, "-c", str(self.config), *arguments)
        return self.namespace.run(*command, check=check, timeout=timeout)

    def start(self) -> None:
        """Start the daemon; it ends with the lab at the latest."""
        assert not self.is_running
        self._undo.push(f"daemon of {self.config.name}", self.close)
        with self.log.open("a") as log:
            self._process = self.namespace.start(
                *self.command("run", "-c", str(self.config)), stderr=log.fileno()
            )

    @property
    def is_running(self) -> bool:
        """Tell whether the process that `start` started is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def process(self) -> subprocess.Popen[str]:
        """The process that `start` started."""
        assert self._process is not None
        return self._process

    def status(self) -> Document | None:
        """Return the daemon's status document; None while it cannot answer."""
        try:
            return ask(self.socket, Command.STATUS)
        except ControlError:
            return None

    def wait_ready(self, timeout: float = CONNECTED_WITHIN) -> None:
        """Return when the daemon says it is ready: a server listens, a client is connected.

        Raises:
            PlatformError: not within `timeout` seconds.
        """
        give_up = time.monotonic() + timeout
        while not ((status := self.status()) and status["is_ready"]):
            if time.monotonic() > give_up or not self.is_running:
                raise PlatformError(
                    f"The daemon of {self.config.name} is not ready after {timeout:g} s.",
                    f"Its log:\n{self.last_words()}",
                )
            time.sleep(_POLL)

    def stop(self) -> int:
        """End the daemon the polite way and return its exit code."""
        return processes.stop(self.process, patience=10.0)

    def kill(self) -> None:
        """End the daemon as a crash would: it cleans up nothing."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End the daemon if it still runs."""
        if self.is_running:
            self.stop()

    def last_words(self, lines: int = 15) -> str:
        """Return the end of its log."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Bond:
    """Both daemons of a lab."""

    def __init__(
        self,
        lab: Topology,
        *,
        outer_host: str = SERVER_IPV4,
        routes: tuple[str, ...] = (),
        client: Document | None = None,
        server: Document | None = None,
    ) -> None:
        """Write the files; `start` starts the daemons.

        Args:
            outer_host: the server's address that the client dials.
            routes: what else the client sends through the tunnel.
            client: sections added to the client's file, over ours.
            server: the same for the server's.
        """
        directory, undo = lab.run.directory(), lab.run.undo
        keys = _Keys(directory)
        dialled = f"[{outer_host}]:{PORT}" if ":" in outer_host else f"{outer_host}:{PORT}"
        ours = _client_document(lab, keys, dialled, routes)
        theirs = _server_document(keys)
        self.client = Daemon(lab.client, directory, "client", {**ours, **(client or {})}, undo)
        self.server = Daemon(lab.server, directory, "server", {**theirs, **(server or {})}, undo)

    @property
    def daemons(self) -> tuple[Daemon, Daemon]:
        """Both, the server first."""
        return self.server, self.client

    def start(self) -> None:
        """Start both daemons; the lab's end ends them."""
        for daemon in self.daemons:
            daemon.start()

    def wait_connected(self, timeout: float = CONNECTED_WITHIN) -> None:
        """Return when the client's daemon has a bond that carries traffic.

        Raises:
            PlatformError: not within `timeout` seconds; the daemons' last words are quoted.
        """
        self.wait_until(lambda status: bool(status["is_ready"]), timeout, "connected")

    def wait_state(self, wan: int, *states: str, timeout: float = CONNECTED_WITHIN) -> None:
        """Return when the client has the WAN's path in one of `states`.

        Raises:
            PlatformError: not within `timeout` seconds.
        """
        what = f"wan{wan} {' or '.join(states)}"
        self.wait_until(lambda status: path_of(status, wan)["state"] in states, timeout, what)

    def wait_until(self, holds: Callable[[Document], bool], timeout: float, what: str) -> None:
        """Return when `holds` is true of the client's status.

        Raises:
            PlatformError: not within `timeout` seconds; `what` says what was waited for.
        """
        give_up = time.monotonic() + timeout
        while True:
            status = self.client.status()
            if status is not None and status["peers"] and holds(status):
                return
            if time.monotonic() > give_up or not self.client.is_running:
                break
            time.sleep(_POLL)
        words = "\n".join(
            f"{daemon.config.name}:\n{daemon.last_words()}" for daemon in self.daemons
        )
        raise PlatformError(f"The bond is not {what} after {timeout:g} s.", f"The logs:\n{words}")


def path_of(status: Document | None, wan: int) -> Document:
    """Return what a client's status says about its path over a WAN; a Starting one if nothing."""
    paths: list[Document] = status["peers"][0]["paths"] if status and status["peers"] else []
    none = {"state": "Starting", "rtt_ms": None, "loss_pct": 0.0}
    return next((path for path in paths if path["id"] == wan), none)


class _Keys:
    """A key pair for each end, and a secret that both know."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._private = {name: os.urandom(32) for name in ("client", "server")}
        self._preshared = os.urandom(32)
        for name, key in self._private.items():
            _write_secret(directory / f"{name}.key", _text(key))

    def section(self, own: str, peer: str, allowed: list[str]) -> Document:
        """Return the section `security` of `own`, whose one peer is `peer`."""
        return {
            "private_key_file": str(self._directory / f"{own}.key"),
            "peers": [
                {
                    "name": peer,
                    "public_key": _text(public_key_of(self._private[peer])),
                    "preshared_key": _text(self._preshared),
                    "allowed_ips": allowed,
                }
            ],
        }


def _client_document(lab: Topology, keys: _Keys, dialled: str, routes: tuple[str, ...]) -> Document:
    return {
        "mode": "client",
        "session": {"remote_endpoint": dialled},
        "wans": [{"id": wan.number, "name": wan.name, "interface": wan.device} for wan in lab.wans],
        "tunnel": {
            "name": "mwb0",
            "address": [f"{CLIENT_INNER_IPV4}/24", f"{CLIENT_INNER_IPV6}/64"],
            "routes": list(routes),
        },
        "security": keys.section("client", "server", ["0.0.0.0/0", "::/0"]),
    }


def _server_document(keys: _Keys) -> Document:
    return {
        "mode": "server",
        "session": {"local_endpoint": f"[::]:{PORT}"},
        "tunnel": {
            "name": "mwb1",
            "address": [f"{SERVER_INNER_IPV4}/24", f"{SERVER_INNER_IPV6}/64"],
        },
        "security": keys.section(
            "server", "client", [f"{CLIENT_INNER_IPV4}/32", f"{CLIENT_INNER_IPV6}/128"]
        ),
    }


def _write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    path.touch(mode=0o600)
    path.write_text(text + "\n")


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()
