"""Other tunnels between the namespaces of a lab, for comparison: those that are installed."""

import os
import secrets
import shutil
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Final

from multiwanbond.config.keys import encode_key
from multiwanbond.core.handshake import public_key_of
from multiwanbond.errors import PlatformError
from multiwanbond.lab import processes
from multiwanbond.lab.namespaces import Namespace
from multiwanbond.lab.topology import Topology

_SERVER: Final = "10.78.0.1"
_CLIENT: Final = "10.78.0.2"
_PORT: Final = 51820
_SOCKETS: Final = Path("/var/run/wireguard")
_PATIENCE: Final = 10.0


def why_no_wireguard_go() -> str | None:
    """Return what is missing for `start_wireguard_go`; None if nothing is."""
    missing = [name for name in ("wireguard-go", "wg") if shutil.which(name) is None]
    return f"there is no {' and no '.join(missing)}" if missing else None


def start_wireguard_go(lab: Topology) -> str:
    """Join client and server by wireguard-go over the first WAN; return the server's address in it.

    It ends with the lab.

    Raises:
        PlatformError: it does not start.
    """
    wan = lab.wans[0]
    folder = lab.run.directory()
    keys = secrets.token_bytes(32), secrets.token_bytes(32)
    ends = (
        (lab.server, "s", _SERVER, _CLIENT, None),
        (lab.client, "c", _CLIENT, _SERVER, wan.gateway_ipv4),
    )
    for number, (namespace, letter, own, far, dialled) in enumerate(ends):
        # One directory holds the sockets of all namespaces.
        device = f"mwbwg{os.getpid()}{letter}"[-15:]
        file = folder / f"wg{letter}.key"
        file.write_text(encode_key(keys[number]) + "\n")
        file.chmod(0o600)
        process = namespace.start(
            "wireguard-go", "-f", device, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        lab.run.undo.push(f"wireguard-go of {device}", partial(_end, process))
        _wait_for(_SOCKETS / f"{device}.sock")
        peer = encode_key(public_key_of(keys[1 - number]))
        endpoint = () if dialled is None else ("endpoint", f"{dialled}:{_PORT}")
        allowed = ("allowed-ips", f"{far}/32", "persistent-keepalive", "5")
        listening = ("listen-port", str(_PORT), "private-key", str(file))
        namespace.run("wg", "set", device, *listening, "peer", peer, *endpoint, *allowed)
        _configure(namespace, device, own)
    return _SERVER


def _end(process: "subprocess.Popen[str]") -> None:
    processes.stop(process)


def _configure(namespace: Namespace, device: str, own: str) -> None:
    namespace.configure(
        [f"addr add {own}/24 dev {device}", f"link set {device} mtu 1420", f"link set {device} up"]
    )


def _wait_for(socket: Path) -> None:
    give_up = time.monotonic() + _PATIENCE
    while not socket.exists():
        if time.monotonic() > give_up:
            raise PlatformError(
                f"wireguard-go makes no {socket}.", "Try it by hand: 'wireguard-go -f wgtest'."
            )
        time.sleep(0.05)
