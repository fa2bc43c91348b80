"""Keys are made as WireGuard writes them, and kept from others."""

import io
from pathlib import Path

import pytest

from multiwanbond.cli import main
from multiwanbond.config.key_files import read_key_file
from multiwanbond.config.keys import decode_key, encode_key
from multiwanbond.core.handshake import public_key_of


def feed(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    """Let the command read `text` from its standard input."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))


@pytest.mark.parametrize("verb", ["keygen", "genpsk"])
def test_a_key_is_32_fresh_bytes(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    codes = [main([verb]), main([verb])]

    first, second = capsys.readouterr().out.splitlines()
    assert codes == [0, 0]
    assert len(decode_key(first)) == 32
    assert first != second


def test_a_key_in_a_file_is_the_owners_alone_and_its_public_key_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "private.key"

    code = main(["keygen", "-o", str(path)])

    assert code == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert decode_key(capsys.readouterr().out) == public_key_of(read_key_file(path))


def test_a_preshared_key_in_a_file_is_not_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "psk"

    code = main(["genpsk", "-o", str(path)])

    assert code == 0
    assert capsys.readouterr().out == ""
    assert len(read_key_file(path)) == 32


def test_an_existing_file_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "private.key"
    path.write_text("precious")

    code = main(["keygen", "-o", str(path)])

    assert code == 69
    assert path.read_text() == "precious"
    assert f"mwb: The file '{path}' exists" in capsys.readouterr().err


def test_a_directory_that_is_not_there_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["keygen", "-o", str(tmp_path / "none" / "private.key")])

    assert code == 69
    assert "No such file or directory. Choose another name" in capsys.readouterr().err


def test_the_public_key_belongs_to_the_private_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # RFC 7748, section 6.1: Alice's keys.
    private = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    public = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    feed(monkeypatch, encode_key(private).encode() + b"\n")

    code = main(["pubkey"])

    assert code == 0
    assert decode_key(capsys.readouterr().out) == public


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "it has 0 characters"),
        (b"abc\n", "it has 3 characters"),
        (b"\xff" * 44, "characters that base64 has not"),
    ],
)
def test_what_is_no_private_key_is_explained(
    text: bytes,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    feed(monkeypatch, text)

    code = main(["pubkey"])

    assert code == 64
    assert expected in capsys.readouterr().err
