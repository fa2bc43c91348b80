"""Other tunnels between the namespaces of a lab, for comparison: those that are installed."""

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from multiwanbond.config.keys import encode_key
from multiwanbond.core.handshake import public_key_of
from multiwanbond.errors import PlatformError
from multiwanbond.lab import processes
from multiwanbond.lab.namespaces import Namespace
from multiwanbond.lab.topology import Topology

_SERVER: Final = "10.78.0.1"
_CLIENT: Final = "10.78.0.2"
_WIREGUARD_PORT: Final = 51820
_OPENVPN_PORT: Final = 1194
_SOCKETS: Final = Path("/var/run/wireguard")
_PATIENCE: Final = 10.0
_VALIDITY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A tunnel that others make."""

    programs: tuple[str, ...]
    """What has to be installed."""
    start: Callable[[Topology], str]
    """Joins client and server of a lab by it over the first WAN, and returns the server's address
    in it; it ends with the lab. Raises `PlatformError` if it does not start."""

    def why_not(self) -> str | None:
        """Return what is missing; None if nothing is."""
        missing = [name for name in self.programs if shutil.which(name) is None]
        return f"there is no {' and no '.join(missing)}" if missing else None


def _start_wireguard_go(lab: Topology) -> str:
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
        _write_secret(file, encode_key(keys[number]).encode() + b"\n")
        _run(lab, namespace, "wireguard-go", "-f", device)
        socket = _SOCKETS / f"{device}.sock"
        _wait_until(socket.exists, f"wireguard-go makes no {socket}", "wireguard-go -f wgtest")
        peer = encode_key(public_key_of(keys[1 - number]))
        endpoint = () if dialled is None else ("endpoint", f"{dialled}:{_WIREGUARD_PORT}")
        allowed = ("allowed-ips", f"{far}/32", "persistent-keepalive", "5")
        listening = ("listen-port", str(_WIREGUARD_PORT), "private-key", str(file))
        namespace.run("wg", "set", device, *listening, "peer", peer, *endpoint, *allowed)
        namespace.configure(
            [
                f"addr add {own}/24 dev {device}",
                f"link set {device} mtu 1420",
                f"link set {device} up",
            ]
        )
    return _SERVER


def _start_openvpn(lab: Topology) -> str:
    wan = lab.wans[0]
    folder = lab.run.directory()
    prints = [_make_certificate(folder, letter) for letter in "sc"]
    # Without its kernel module: we compare what runs in user space.
    common = ("--dev-type", "tun", "--disable-dco", "--data-ciphers", "AES-256-GCM")
    ends = (
        (lab.server, "s", (_SERVER, _CLIENT), ("--tls-server", "--dh", "none")),
        (lab.client, "c", (_CLIENT, _SERVER), ("--tls-client", "--nobind")),
    )
    for number, (namespace, letter, addresses, role) in enumerate(ends):
        identity = ("--cert", f"{folder}/{letter}.crt", "--key", f"{folder}/{letter}.key")
        known = ("--peer-fingerprint", prints[1 - number])
        inside = ("--dev", "mwbovpn", "--ifconfig", *addresses)
        port = str(_OPENVPN_PORT)
        outside = ("--port", port) if letter == "s" else ("--remote", wan.gateway_ipv4, port)
        _run(lab, namespace, "openvpn", *common, *role, *identity, *known, *inside, *outside)
    _wait_until(
        lambda: _answers(lab.client, _SERVER),
        "openvpn does not connect",
        "openvpn --version",
    )
    return _SERVER


RIVALS: Final[Mapping[str, Rival]] = {
    "wireguard-go": Rival(programs=("wireguard-go", "wg"), start=_start_wireguard_go),
    "OpenVPN": Rival(programs=("openvpn", "ping"), start=_start_openvpn),
}
"""What a bond is compared with, by name."""


def _make_certificate(folder: Path, letter: str) -> str:
    """Write a key and a certificate that vouches for itself; return its fingerprint."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, letter)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _VALIDITY)
        .not_valid_after(now + _VALIDITY)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / f"{letter}.crt").write_bytes(certificate.public_bytes(pem))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    _write_secret(folder / f"{letter}.key", key.private_bytes(pem, *plain))
    return certificate.fingerprint(hashes.SHA256()).hex(":")


def _write_secret(file: Path, content: bytes) -> None:
    file.touch(mode=0o600)
    file.write_bytes(content)


def _run(lab: Topology, namespace: Namespace, *command: str) -> None:
    process = namespace.start(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    lab.run.undo.push(f"{command[0]} of {namespace.name}", partial(_end, process))


def _answers(namespace: Namespace, host: str) -> bool:
    ping = namespace.start("ping", "-c1", "-W1", host, stdout=subprocess.DEVNULL)
    return ping.wait() == 0


def _end(process: "subprocess.Popen[str]") -> None:
    processes.stop(process)


def _wait_until(is_so: Callable[[], bool], complaint: str, trial: str) -> None:
    give_up = time.monotonic() + _PATIENCE
    while not is_so():
        if time.monotonic() > give_up:
            raise PlatformError(f"{complaint}.", f"Try it by hand: '{trial}'.")
        time.sleep(0.05)
