"""Whom names are asked of, by the plain file and by programs that keep it."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from multiwanbond.errors import PlatformError
from multiwanbond.linux.name_servers import NameServers
from multiwanbond.linux.undo import Undo

SERVERS = (ip_address("10.77.0.1"), ip_address("fd77::1"))
BEFORE = "search lan\nnameserver 192.168.1.1\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "resolv.conf"
    path.write_text(BEFORE)
    return path


def names(file: Path, programs: dict[str, str] | None = None) -> NameServers:
    return NameServers("mwb0", file.parent / "run", file=file, find=(programs or {}).get)


def test_the_file_names_the_tunnels_servers_and_then_those_of_before(file: Path) -> None:
    undo = Undo()

    names(file).set(SERVERS, undo)
    during = file.read_text()
    failures = undo.run()

    assert during.splitlines()[1:] == ["nameserver 10.77.0.1", "nameserver fd77::1"]
    assert (failures, file.read_text()) == ([], BEFORE)


def test_a_later_process_puts_back_what_a_killed_one_wrote(file: Path) -> None:
    names(file).set(SERVERS, Undo())

    removed = names(file).clean_up()

    assert removed == [f"name servers in {file}"]
    assert file.read_text() == BEFORE
    assert names(file).clean_up() == []


def test_a_file_that_somebody_else_wrote_meanwhile_is_left_alone(file: Path) -> None:
    undo = Undo()
    names(file).set(SERVERS, undo)

    file.write_text("nameserver 9.9.9.9\n")
    undo.run()

    assert file.read_text() == "nameserver 9.9.9.9\n"


def test_setting_others_keeps_what_was_there_before_the_first(file: Path) -> None:
    first, second = Undo(), Undo()
    names(file).set(SERVERS, first)

    names(file).set(SERVERS[:1], second)
    second.run()

    assert file.read_text() == BEFORE
    assert first.run() == []


def test_a_file_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    missing = tmp_path / "none" / "resolv.conf"

    with pytest.raises(PlatformError, match="cannot be changed"):
        NameServers("mwb0", tmp_path, file=missing, find=lambda _: None).set(SERVERS, Undo())


def program(folder: Path, name: str, body: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_resolvconf_is_given_and_relieved_of_the_servers(file: Path) -> None:
    log = file.parent / "log"
    resolvconf = program(file.parent, "resolvconf", f'echo "$@" >> {log}; cat >> {log}')
    undo = Undo()

    names(file, {"resolvconf": resolvconf}).set(SERVERS, undo)
    undo.run()

    added, first, second, removed = log.read_text().splitlines()
    assert (first, second) == ("nameserver 10.77.0.1", "nameserver fd77::1")
    assert "-a" in added
    assert "-d" in removed
    assert file.read_text() == BEFORE


def test_a_program_that_fails_is_quoted(file: Path) -> None:
    resolvconf = program(file.parent, "resolvconf", "echo no such luck >&2; exit 1")

    with pytest.raises(PlatformError, match="resolvconf says 'no such luck'"):
        names(file, {"resolvconf": resolvconf}).set(SERVERS, Undo())
