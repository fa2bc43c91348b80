"""What a daemon lacks is said before it changes anything, and keys are kept from others."""

import os
from pathlib import Path

import pytest

from multiwanbond.config.key_files import read_key_file, write_key_file
from multiwanbond.config.keys import encode_key
from multiwanbond.config.load import load
from multiwanbond.config.model import Mode
from multiwanbond.config.runnable import require_runnable
from multiwanbond.core.handshake import public_key_of
from multiwanbond.errors import ConfigFileError

from .files import CLIENT, PEER_KEY, PRIVATE_KEY, write, write_key


def lacks(path: Path, *, mode: Mode | None = None) -> list[str]:
    """Return what is said about a file that is valid, but no daemon can run with."""
    with pytest.raises(ConfigFileError) as caught:
        require_runnable(load(path, mode=mode))
    return [str(error).removeprefix(str(path)) for error in caught.value.errors]


def test_a_complete_configuration_comes_back_with_its_keys(tmp_path: Path) -> None:
    write_key(tmp_path)
    write_key(tmp_path, "psk")
    text = CLIENT.replace("{name: vps,", "{name: vps, preshared_key_file: psk,")

    found = require_runnable(load(write(tmp_path, text, mode=0o644)))

    assert found.security.private_key == PRIVATE_KEY
    assert found.security.peers[0].preshared_key == PRIVATE_KEY


def test_the_references_file_is_told_what_it_lacks() -> None:
    path = Path(__file__).parents[2] / "deploy" / "config.json"

    found = lacks(path)

    assert [line.split(": ")[1] for line in found] == [
        "mode",
        "tunnel.address",
        "security.private_key_file",
        "security.peers",
    ]


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    found = lacks(write(tmp_path, CLIENT))

    assert found == [
        f":5:21: security.private_key_file: there is no file '{tmp_path}/private.key'. "
        f'Make it with "mwb keygen -o {tmp_path}/private.key", or correct the name.'
    ]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o777])
def test_a_key_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    key = write_key(tmp_path, mode=mode)

    (found,) = lacks(write(tmp_path, CLIENT))

    assert f"is open to others (mode {mode:04o})" in found
    assert f'Run "chmod 600 {key}"' in found


def test_a_preshared_key_file_is_guarded_likewise(tmp_path: Path) -> None:
    write_key(tmp_path)
    write_key(tmp_path, "psk", mode=0o644)
    text = CLIENT.replace("{name: vps,", "{name: vps, preshared_key_file: psk,")

    (found,) = lacks(write(tmp_path, text))

    assert "security.peers[0].preshared_key_file: " in found


def test_a_key_in_a_configuration_open_to_others_is_refused(tmp_path: Path) -> None:
    text = CLIENT.replace(
        "private_key_file: private.key", f"private_key: '{encode_key(PRIVATE_KEY)}'"
    )
    path = write(tmp_path, text, mode=0o644)

    (found,) = lacks(path)

    assert "security.private_key: " in found
    assert f'Run "chmod 600 {path}"' in found
    assert encode_key(PRIVATE_KEY) not in found


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "it has 0 characters"),
        (b"\xff\xfe", "binary data"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----", "is no key"),
    ],
)
def test_a_file_without_a_key_is_explained(tmp_path: Path, content: bytes, expected: str) -> None:
    write_key(tmp_path).write_bytes(content)

    (found,) = lacks(write(tmp_path, CLIENT))

    assert expected in found


def test_a_pipe_is_no_key_file_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "private.key", 0o600)

    (found,) = lacks(write(tmp_path, CLIENT))

    assert "is no file" in found


def test_a_peer_without_addresses_is_refused(tmp_path: Path) -> None:
    write_key(tmp_path)

    (found,) = lacks(write(tmp_path, CLIENT.replace(", allowed_ips: [10.77.0.0/24]", "")))

    assert "security.peers[0].allowed_ips: is missing" in found


def test_ones_own_key_is_no_peers(tmp_path: Path) -> None:
    write_key(tmp_path)
    own = encode_key(public_key_of(PRIVATE_KEY))

    (found,) = lacks(write(tmp_path, CLIENT.replace(PEER_KEY, own)))

    assert "security.peers[0].public_key: is this end's own" in found


def test_a_key_no_handshake_can_succeed_with_is_refused(tmp_path: Path) -> None:
    write_key(tmp_path)

    (found,) = lacks(write(tmp_path, CLIENT.replace(PEER_KEY, encode_key(bytes(32)))))

    assert "security.peers[0].public_key: is no public key" in found


def test_a_client_needs_a_wan_that_is_enabled(tmp_path: Path) -> None:
    write_key(tmp_path)

    (found,) = lacks(write(tmp_path, f"wans: [{{id: 1, interface: eth0, enabled: no}}]\n{CLIENT}"))

    assert "wans: none of them is enabled" in found


def test_a_written_key_file_is_the_owners_alone_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "private.key"

    write_key_file(path, PRIVATE_KEY)

    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key_file(path) == PRIVATE_KEY


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = write_key(tmp_path)

    with pytest.raises(FileExistsError):
        write_key_file(path, bytes(32))

    assert read_key_file(path) == PRIVATE_KEY
