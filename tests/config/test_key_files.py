"""The service, which runs as a user of its own, reads what root has written, and nobody else."""

import grp
import os
from pathlib import Path

import pytest

from multiwanbond.config import key_files
from multiwanbond.config.key_files import read_key_file, write_key_file
from multiwanbond.config.model import Mode, Peer
from multiwanbond.config.peer_files import directory_of, write_peer
from multiwanbond.units import NotationError

GROUP = 64_123
KEY = bytes(range(32))

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory as the packages make /etc/multiwanbond, with the group there is then."""

    def find(name: str) -> grp.struct_group:
        assert name == key_files.SERVICE_GROUP
        return grp.struct_group((name, "x", GROUP, []))

    monkeypatch.setattr(grp, "getgrnam", find)
    directory = tmp_path / "etc"
    directory.mkdir(mode=0o750)
    os.chown(directory, 0, GROUP)
    return directory


def rights(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid, status.st_mode & 0o7777


def test_a_key_that_root_writes_there_can_be_read_by_the_service(etc: Path) -> None:
    write_key_file(etc / "private.key", KEY)

    assert rights(etc / "private.key") == (0, GROUP, 0o640)
    assert read_key_file(etc / "private.key") == KEY


def test_a_key_elsewhere_stays_the_owners_alone(etc: Path, tmp_path: Path) -> None:
    write_key_file(tmp_path / "private.key", KEY)

    assert rights(tmp_path / "private.key") == (0, 0, 0o600)


def test_an_invited_peer_can_be_read_by_the_service(etc: Path) -> None:
    peer = Peer(name="home", public_key=KEY, preshared_key=KEY)

    path = write_peer(directory_of(etc / "config.yaml"), peer, Mode.SERVER)

    assert rights(path) == (0, GROUP, 0o640)
    assert rights(path.parent) == (0, GROUP, 0o750)


@pytest.mark.parametrize(
    ("owner", "group", "mode"),
    [
        (0, GROUP, 0o660),  # the service could write it
        (0, GROUP, 0o644),
        (0, GROUP + 1, 0o640),  # others' group
        (GROUP, GROUP, 0o640),  # whoever is the service could let everybody in
    ],
)
def test_a_key_shared_in_another_way_is_refused(
    etc: Path, owner: int, group: int, mode: int
) -> None:
    path = etc / "private.key"
    write_key_file(path, KEY)
    os.chown(path, owner, group)
    path.chmod(mode)

    with pytest.raises(NotationError, match="open to others"):
        read_key_file(path)


def test_who_may_not_read_is_told_how_the_service_may(
    etc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: GROUP)

    remedy = key_files.how_to_read(etc / "private.key")

    assert f"chgrp multiwanbond {etc}/private.key && chmod 640 {etc}/private.key" in remedy
