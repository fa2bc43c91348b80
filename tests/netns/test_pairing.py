"""From two bare machines to a bond: init, invite, join; and its end by revocation."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from multiwanbond.control.client import ask
from multiwanbond.control.protocol import Command
from multiwanbond.errors import ControlError
from multiwanbond.lab.namespaces import Namespace
from multiwanbond.lab.topology import SERVER_IPV4, Topology

pytestmark = pytest.mark.netns


class Machine:
    """A namespace in which somebody types commands."""

    def __init__(self, namespace: Namespace, folder: Path, tunnel: str) -> None:
        self.namespace = namespace
        self.config = folder / "config.yaml"
        self.socket = folder / "control.sock"
        self.log = folder / "log"
        self.tunnel = tunnel

    def command(self, verb: str, *arguments: str) -> list[str]:
        mwb = [sys.executable, "-m", "multiwanbond", verb, "-c", str(self.config), *arguments]
        return self.namespace.command(*mwb)

    def mwb(self, verb: str, *arguments: str, text_in: str = "", code: int = 0) -> str:
        done = subprocess.run(
            self.command(verb, *arguments),
            input=text_in,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, done.stderr
        return done.stdout

    def name_tunnel(self) -> None:
        """Keep two machines that share a file system apart."""
        text = self.config.read_text().replace("tunnel: {", f"tunnel: {{name: {self.tunnel}, ")
        self.config.write_text(f"{text}control: {{socket: {self.socket}}}\n")

    def up(self) -> None:
        self.mwb("up", "--log", str(self.log))

    def is_connected(self) -> bool:
        try:
            status = ask(self.socket, Command.STATUS)
        except ControlError:
            return False
        return any(peer["is_connected"] for peer in status["peers"])


def wait_until(is_so: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.1)


def test_two_bare_machines_are_paired_by_one_line(lab: Topology) -> None:
    folder = lab.run.directory()
    (folder / "server").mkdir()
    (folder / "client").mkdir()
    server = Machine(lab.server, folder / "server", "mwb8")
    client = Machine(lab.client, folder / "client", "mwb9")
    server.mwb("init", text_in=f"server\n\n{SERVER_IPV4}\n\n\n")
    server.name_tunnel()
    server.up()

    line = server.mwb("invite", "home")
    client.mwb("join", "--no-up", text_in=line)
    client.name_tunnel()
    client.up()

    said = lab.client.run("ping", "-c3", "-i0.2", "-W5", "10.77.0.1").stdout
    assert "3 received" in said
    wait_until(lambda: "connected over 3 WANs" in server.mwb("clients"))
    assert line.strip().removeprefix("mwb1:")[:40] not in processes()

    server.mwb("revoke", "home")
    wait_until(lambda: not client.is_connected())
    assert "There are no clients" in server.mwb("clients")
    again = server.mwb("invite", "home")
    assert again != line
    client.mwb("down")
    server.mwb("down")


def processes() -> str:
    """The command lines of everything that runs."""
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
