"""Configurations of a server and its clients on the loopback addresses of this machine."""

import socket
from collections.abc import Sequence

from multiwanbond.api import Configuration, Mode, parse_configuration
from multiwanbond.config.keys import encode_key
from multiwanbond.core.handshake import public_key_of

SERVER_KEY = bytes([7]) * 32
CLIENT_KEYS = (bytes([8]) * 32, bytes([9]) * 32)
LINES = ("127.0.0.2", "127.0.0.3", "127.0.0.4")


def free_port() -> int:
    """A UDP port that nobody has at the moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def server(port: int, *, clients: int = 1) -> Configuration:
    """A server of so many clients, home1 at 10.77.0.2 and so on."""
    peers = "".join(
        f"""
    - name: home{index + 1}
      public_key: "{encode_key(public_key_of(CLIENT_KEYS[index]))}"
      allowed_ips: [10.77.0.{index + 2}/32, "fd77::{index + 2}/128"]"""
        for index in range(clients)
    )
    return parse_configuration(
        f"""
session: {{local_endpoint: "127.0.0.1:{port}"}}
tunnel: {{address: [10.77.0.1/24, "fd77::1/64"]}}
security:
  private_key: "{encode_key(SERVER_KEY)}"
  peers:{peers}
""",
        mode=Mode.SERVER,
    )


def client(port: int, *, index: int = 0, lines: Sequence[str] = LINES) -> Configuration:
    """A client with a WAN for each of these addresses of ours."""
    wans = "".join(
        f'\n  - {{id: {number}, local_addr: "{line}"}}' for number, line in enumerate(lines, 1)
    )
    return parse_configuration(
        f"""
session: {{remote_endpoint: "127.0.0.1:{port}"}}
tunnel: {{address: [10.77.0.{index + 2}/24, "fd77::{index + 2}/64"]}}
wans:{wans}
security:
  private_key: "{encode_key(CLIENT_KEYS[index])}"
  peers:
    - name: vps
      public_key: "{encode_key(public_key_of(SERVER_KEY))}"
      allowed_ips: [10.77.0.0/24, "fd77::/64"]
""",
        mode=Mode.CLIENT,
    )
