"""init, invite, join, clients, revoke: from nothing to a client, and back."""

import io
from pathlib import Path

import pytest

from multiwanbond.cli import main
from multiwanbond.config.load import load
from multiwanbond.config.runnable import require_runnable
from multiwanbond.core.handshake import public_key_of
from tests.config.files import OTHER_KEY

Captured = pytest.CaptureFixture[str]

ANSWERS = "server\n\nvps.example.net\n\n\n"
"""A server by its name, all else by default."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration of a server, as `mwb init` writes it."""
    return made_server(tmp_path, "server", monkeypatch)


def made_server(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    config = tmp_path / name / "config.yaml"
    feed(monkeypatch, ANSWERS.replace("vps.", f"{name}."))
    assert main(["init", "-c", str(config)]) == 0
    text = config.read_text().replace("tunnel: {", "tunnel: {name: mwbtest9, ")
    config.write_text(f"{text}control: {{socket: {tmp_path}/none.sock}}\n")
    return config


def feed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def invite(config: Path, name: str, capsys: Captured, *more: str) -> str:
    capsys.readouterr()
    assert main(["invite", "-c", str(config), name, *more]) == 0
    return capsys.readouterr().out.strip()


def join(config: Path, line: str, monkeypatch: pytest.MonkeyPatch, *more: str) -> int:
    feed(monkeypatch, line + "\n")
    return main(["join", "-c", str(config), "--no-up", *more])


def test_an_invited_client_fits_its_server(
    server: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    line = invite(server, "home", capsys)
    client = tmp_path / "client" / "config.yaml"

    code = join(client, line, monkeypatch, "--router")

    near, far = require_runnable(load(client)), require_runnable(load(server))
    (home,), (vps,) = far.security.peers, near.security.peers
    assert code == 0
    assert near.security.private_key is not None
    assert far.security.private_key is not None
    assert home.public_key == public_key_of(near.security.private_key)
    assert vps.public_key == public_key_of(far.security.private_key)
    assert home.preshared_key == vps.preshared_key is not None
    assert [str(each) for each in near.tunnel.address] == ["10.77.0.2/24", "fd77::2/64"]
    assert [str(each) for each in home.allowed_ips] == ["10.77.0.2/32", "fd77::2/128"]
    assert str(near.session.remote_endpoint) == "server.example.net:9000"


def test_each_client_has_an_address_and_a_secret_of_its_own(server: Path, capsys: Captured) -> None:
    lines = {invite(server, name, capsys) for name in ("home", "office", "boat")}

    peers = load(server).security.peers
    assert len(lines) == 3
    assert len({peer.preshared_key for peer in peers}) == 3
    assert sorted(str(peer.allowed_ips[0]) for peer in peers) == [
        "10.77.0.2/32", "10.77.0.3/32", "10.77.0.4/32",
    ]  # fmt: skip


def test_secrets_are_in_files_of_their_owner_alone(
    server: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    client = tmp_path / "client" / "config.yaml"
    join(client, invite(server, "home", capsys), monkeypatch)

    for path in (
        server.with_suffix(".key"),
        server.with_suffix(".peers") / "home.yaml",
        client.with_suffix(".key"),
        client.with_suffix(".psk"),
    ):
        assert path.stat().st_mode & 0o077 == 0, path


def test_an_invitation_on_the_command_line_is_refused(
    server: Path, tmp_path: Path, capsys: Captured
) -> None:
    line = invite(server, "home", capsys)

    code = main(["join", "-c", str(tmp_path / "config.yaml"), line])

    assert code == 64
    assert "can be seen by every user" in capsys.readouterr().err
    assert not (tmp_path / "config.yaml").exists()


def test_a_machine_that_has_a_tunnel_keeps_it_unless_told_otherwise(
    server: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    client = tmp_path / "config.yaml"
    join(client, invite(server, "home", capsys), monkeypatch)
    before = client.read_text()
    line = invite(server, "other", capsys)

    refused = join(client, line, monkeypatch)
    kept = client.read_text()
    forced = join(client, line, monkeypatch, "--force")

    assert (refused, kept, forced) == (64, before, 0)
    assert client.read_text() != before
    assert (tmp_path / "config.yaml.old").read_text() == before


def told_to_run(said: str) -> list[str]:
    """The options of the command that the complaint wants to be run on the other server."""
    return said.partition("mwb invite NAME ")[2].split()


def test_another_server_invites_a_client_by_the_key_and_the_addresses_it_has(
    server: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    client = tmp_path / "config.yaml"
    spare = made_server(tmp_path, "spare", monkeypatch)
    invite(server, "first", capsys)
    join(client, invite(server, "home", capsys), monkeypatch)

    wrong = join(client, invite(spare, "stranger", capsys), monkeypatch, "--add")
    options = told_to_run(capsys.readouterr().err)
    line = invite(spare, "home", capsys, *options)
    added = join(client, line, monkeypatch, "--add")
    said = capsys.readouterr().out
    again = join(client, line, monkeypatch, "--add")

    near, far = require_runnable(load(client)), require_runnable(load(spare))
    first, second = near.servers
    home = far.security.peers[0]
    assert (wrong, added, again) == (64, 0, 64)
    assert "spare.example.net is a server of this machine now" in said
    assert str(first.session.remote_endpoint) == "server.example.net:9000"
    assert str(second.session.remote_endpoint) == "spare.example.net:9000"
    assert near.security.private_key is not None
    assert home.public_key == public_key_of(near.security.private_key)
    assert home.preshared_key == second.security.peers[0].preshared_key
    assert [str(each) for each in home.allowed_ips] == ["10.77.0.3/32", "fd77::3/128"]
    assert {str(each) for each in second.routes} == {"0.0.0.0/0", "::/0"}


def test_another_server_must_give_the_client_the_addresses_it_has(
    server: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    client = tmp_path / "config.yaml"
    spare = made_server(tmp_path, "spare", monkeypatch)
    join(client, invite(server, "home", capsys), monkeypatch)
    join(client, invite(spare, "stranger", capsys), monkeypatch, "--add")
    key = told_to_run(capsys.readouterr().err)[:2]

    code = join(client, invite(spare, "home", capsys, *key), monkeypatch, "--add")

    assert code == 64
    assert "10.77.0.3, fd77::3, but it has 10.77.0.2, fd77::2" in capsys.readouterr().err
    assert len(load(client).security.peers) == 1


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("10.78.0.2", "10.78.0.2 is in no network of the tunnel"),
        ("10.77.0.1", "10.77.0.1 is taken"),
        ("10.77.0.2", "10.77.0.2 is taken"),
    ],
)
def test_an_address_that_cannot_be_given_is_refused(
    server: Path, address: str, complaint: str, capsys: Captured
) -> None:
    invite(server, "home", capsys)

    assert main(["invite", "-c", str(server), "office", "--address", address]) == 64
    assert complaint in capsys.readouterr().err


def test_an_invitation_for_a_key_makes_no_other_machine_a_client(
    server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    line = invite(server, "home", capsys, "--key", OTHER_KEY)

    code = join(tmp_path / "config.yaml", line, monkeypatch)

    assert code == 64
    assert "is for a machine that is a client already" in capsys.readouterr().err


def test_a_key_is_invited_once(server: Path, capsys: Captured) -> None:
    invite(server, "home", capsys, "--key", OTHER_KEY)

    assert main(["invite", "-c", str(server), "office", "--key", OTHER_KEY]) == 64
    assert "the client 'home' has this key already" in capsys.readouterr().err


def test_a_damaged_line_writes_nothing(
    server: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    line = invite(server, "home", capsys)

    code = join(tmp_path / "config.yaml", line[:-9], monkeypatch)

    assert code == 64
    assert "Copy the whole line" in capsys.readouterr().err
    assert not (tmp_path / "config.yaml").exists()


def test_clients_are_listed_and_revoked(server: Path, capsys: Captured) -> None:
    invite(server, "home", capsys)
    main(["clients", "-c", str(server)])
    listed = capsys.readouterr().out

    code = main(["revoke", "-c", str(server), "home"])
    main(["clients", "-c", str(server)])

    assert "home  10.77.0.2/32, fd77::2/128" in listed
    assert code == 0
    assert "There are no clients." in capsys.readouterr().out
    assert main(["revoke", "-c", str(server), "home"]) == 64


@pytest.mark.parametrize("name", ["../evil", "", ".hidden", "a b", "x" * 64])
def test_a_name_that_cannot_be_a_files_is_refused(
    server: Path, name: str, capsys: Captured
) -> None:
    assert main(["invite", "-c", str(server), name]) == 64
    assert "cannot be a client's name" in capsys.readouterr().err


def test_a_name_is_given_once(server: Path, capsys: Captured) -> None:
    invite(server, "home", capsys)

    assert main(["invite", "-c", str(server), "home"]) == 64
    assert "there is a client 'home' already" in capsys.readouterr().err


def test_a_peers_file_with_a_mistake_is_named_with_its_line(server: Path, capsys: Captured) -> None:
    invite(server, "home", capsys)
    file = server.with_suffix(".peers") / "home.yaml"
    file.write_text(file.read_text().replace("allowed_ips", "alowed_ips"))

    code = main(["check", "-c", str(server)])

    assert code == 78
    assert f"{file}:5:1: alowed_ips: unknown key" in capsys.readouterr().err


def test_two_peers_files_with_one_key_are_named(server: Path, capsys: Captured) -> None:
    invite(server, "home", capsys)
    file = server.with_suffix(".peers") / "home.yaml"
    copy = file.with_name("other.yaml")
    copy.write_text(file.read_text().replace("name: home", "name: other"))
    copy.chmod(0o600)

    code = main(["check", "-c", str(server)])

    assert code == 78
    assert f"{copy}: security.peers[1].public_key" in capsys.readouterr().err


def test_init_refuses_what_does_not_fit_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    feed(monkeypatch, "server\n99999\n\n\n\n")

    code = main(["init", "-c", str(tmp_path / "config.yaml")])

    assert code == 64
    assert "99999" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
