"""What may be said of the time while the server cannot be reached."""

import pytest

from multiwanbond.config.model import OnFailure
from multiwanbond.errors import ConfigFileError

from .files import PEER_KEY, read


def client(
    *, remote: str = "198.51.100.1:9000", allowed: str = "0.0.0.0/0", mode: str = "client"
) -> str:
    return f"""\
mode: {mode}
session: {{remote_endpoint: "{remote}"}}
tunnel: {{on_failure: block}}
security: {{peers: [{{public_key: "{PEER_KEY}", allowed_ips: [{allowed}]}}]}}
"""


def test_a_client_of_a_numeric_server_may_block() -> None:
    assert read(client()).tunnel.on_failure is OnFailure.BLOCK


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (client(remote="vps.example.net:9000"), "could not be looked up while tunnel.on_failure"),
        (client(allowed="10.77.0.0/24"), "has nothing to block"),
        (client(mode="server"), "is a client's"),
    ],
    ids=["a name", "no default route", "a server"],
)
def test_a_block_that_could_not_work_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ConfigFileError, match=problem):
        read(text)
