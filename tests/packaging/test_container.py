"""The container's files, as far as no Docker is needed to judge them."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from multiwanbond.lab import processes
from multiwanbond.lab.namespaces import Namespace, Run

from .conftest import PROJECT
from .machine import Machine

DEPLOY = PROJECT / "deploy"
SERVER = "server\n\n192.0.2.1\n\n\n"
"""Answers to the questions of mwb init."""


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions with their arguments."""
    text = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text())
    lines = (line.split(None, 1) for line in text.splitlines())
    return [(each[0], each[1]) for each in lines if len(each) == 2 and not each[0].startswith("#")]


def command_of(name: str) -> list[str]:
    (text,) = (arguments for instruction, arguments in instructions() if instruction == name)
    found: list[str] = json.loads(text[text.index("[") :])
    return found


def service() -> dict[str, Any]:
    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    found: dict[str, Any] = document["services"]["server"]
    return found


def test_what_is_copied_and_run_is_there() -> None:
    copied = [line.split()[0] for name, line in instructions() if name == "COPY"]
    scripts = [line for name, line in instructions() if name == "RUN" and "/src/" in line]

    assert [name for name, _ in instructions()][:2] == ["FROM", "ARG"]
    assert copied == [".", "--from=build"]
    for path in re.findall(r"/src/(\S+)", " ".join(scripts)):
        assert (PROJECT / path).is_file()
    for kept_out in (".git", ".venv", "build", "dist"):
        assert kept_out in (PROJECT / ".dockerignore").read_text().splitlines()


def test_the_compose_file_builds_that_and_gives_what_it_needs() -> None:
    built = service()["build"]

    assert (DEPLOY / built["context"] / built["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    assert "NET_ADMIN" in service()["cap_add"]
    assert service()["devices"] == ["/dev/net/tun"]
    assert ("EXPOSE", "9000/udp") in instructions()
    assert service()["ports"] == ["9000:9000/udp"]


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """The container's network, with the settings of the compose file."""
    run = Run("container")
    with run.undo:
        namespace = run.namespace("net")
        # Docker's interface is there before the settings are.
        namespace.configure(["link add eth0 type veth peer name host0", "link set eth0 up"])
        options = service()["networks"]["default"]["driver_opts"]
        own = options["com.docker.network.endpoint.sysctls"].replace("IFNAME", "eth0")
        for key, value in [*service()["sysctls"].items(), own.split("=")]:
            namespace.run("sysctl", "-w", f"{key}={value}")
        yield namespace


@pytest.mark.netns
def test_the_server_runs_in_a_container_as_no_root(package: Path, namespace: Namespace) -> None:
    capabilities = ",".join(["-all", *(f"+{cap.lower()}" for cap in service()["cap_add"])])
    with Machine(namespace.name, is_container=True) as machine:
        machine.install(package)
        machine.run(
            "install", "-d", "-o", "multiwanbond", "-g", "multiwanbond", "/run/multiwanbond"
        )
        limited = ["setpriv", f"--bounding-set={capabilities}", f"--inh-caps={capabilities}"]
        machine.run(*limited, "mwb", "init", text_in=SERVER)

        daemon = machine.start(*limited, *command_of("ENTRYPOINT"), *command_of("CMD"))
        give_up = time.monotonic() + 20
        while machine.code_of(*limited, *command_of("HEALTHCHECK")) != 0:
            assert time.monotonic() < give_up
            time.sleep(0.2)
        invitation = machine.run(*limited, "mwb", "invite", "home").stdout
        rights = Path(f"/proc/{daemon.pid}/status").read_text()
        rules = machine.run("nft", "list", "ruleset").stdout
        code = processes.stop(daemon)

    assert code == 0
    assert invitation.startswith("mwb1:")
    assert "CapEff:\t0000000000001000" in rights  # bit 12, CAP_NET_ADMIN
    assert "Uid:\t0" not in rights
    assert "masquerade" in rules
