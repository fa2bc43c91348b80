"""Our Noise against the public vectors, and against golden messages of our own."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from multiwanbond.core.noise import HandshakeState, KeyPair, Protocol
from multiwanbond.errors import DatagramError, DropReason, LocalProtocolError

VECTORS = Path(__file__).parents[3] / "shared" / "vectors" / "noise.json"
"""Data to test against, which lies beside the repository and is not part of it."""

LOW_ORDER_POINTS = (
    bytes(32),
    bytes([1]).ljust(32, b"\0"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
)
"""Public keys whose shared secret with anybody is zero (cr.yp.to/ecdh.html#validate)."""


def vectors() -> list[Any]:
    if not VECTORS.exists():
        return []
    found = json.loads(VECTORS.read_text())["vectors"]
    assert isinstance(found, list)
    return found


def unhex(vector: dict[str, Any], name: str) -> bytes:
    return bytes.fromhex(vector.get(name, ""))


def an_end(vector: dict[str, Any], side: str, remote_static: bytes | None) -> HandshakeState:
    ephemeral = unhex(vector, f"{side}_ephemeral")
    psks = vector.get(f"{side}_psks", [])
    return HandshakeState(
        Protocol.named(vector["protocol_name"]),
        is_initiator=side == "init",
        prologue=unhex(vector, f"{side}_prologue"),
        static=KeyPair(unhex(vector, f"{side}_static")),
        entropy=lambda size: ephemeral[:size],
        remote_static=remote_static,
        preshared_key=bytes.fromhex(psks[0]) if psks else None,
    )


def two_ends(protocol_name: str) -> tuple[HandshakeState, HandshakeState]:
    """An initiator and a responder with fixed keys that know what the pattern wants known."""
    protocol = Protocol.named(protocol_name)
    static = KeyPair(b"\x02" * 32)
    common: dict[str, Any] = {"prologue": b"prologue", "preshared_key": b"\x05" * 32}
    initiator = HandshakeState(
        protocol,
        is_initiator=True,
        static=KeyPair(b"\x01" * 32),
        entropy=lambda size: b"\x03" * size,
        remote_static=static.public if protocol.pattern.is_responder_known else None,
        **common,
    )
    responder = HandshakeState(
        protocol, is_initiator=False, static=static, entropy=lambda size: b"\x04" * size, **common
    )
    return initiator, responder


@pytest.mark.skipif(not VECTORS.exists(), reason="no ../shared/vectors/noise.json beside the tree")
@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: str(vector["protocol_name"]))
def test_a_public_vector_is_reproduced_byte_by_byte(vector: dict[str, Any]) -> None:
    known = unhex(vector, "init_remote_static") or None
    writer, reader = an_end(vector, "init", known), an_end(vector, "resp", None)
    initiator = writer
    protocol = Protocol.named(vector["protocol_name"])
    messages = [
        (bytes.fromhex(message["payload"]), bytes.fromhex(message["ciphertext"]))
        for message in vector["messages"]
    ]

    handshake = len(protocol.pattern.messages)
    for payload, ciphertext in messages[:handshake]:
        assert writer.write_message(payload) == ciphertext
        assert reader.read_message_untrusted(ciphertext) == payload
        writer, reader = reader, writer

    assert initiator.handshake_hash == unhex(vector, "handshake_hash")
    assert writer.split() == reader.split()
    keys = initiator.split()
    for number, (payload, ciphertext) in enumerate(messages[handshake:], handshake):
        aead: AESGCM | ChaCha20Poly1305 = protocol.aead(keys[number % 2])
        nonce = protocol.nonce.pack((number - handshake) // 2)
        assert aead.encrypt(nonce, payload, b"") == ciphertext


GOLDEN = {
    "Noise_XX_25519_AESGCM_SHA256": (
        "a44061542355981a4b2bbafb3371f21445acf5e61e2d06666e87f09f1b14cfca"
    ),
    "Noise_IK_25519_AESGCM_BLAKE2s": (
        "eef1f472dda7731c51c7946bc63d99519a228e925830e637f81fe3dfc4cd32c8"
    ),
    "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s": (
        "42c29cad365f346370cd3d223a8a7b8abd533844a28b2ab6332d98e472be43c6"
    ),
}
"""Handshake hashes: they cover every byte either end sent, and every key that went in."""


@pytest.mark.parametrize("protocol_name", GOLDEN)
def test_a_handshake_has_not_changed_since_it_was_first_released(protocol_name: str) -> None:
    writer, reader = two_ends(protocol_name)

    while not writer.is_finished:
        payload = reader.read_message_untrusted(writer.write_message(b"payload"))
        assert payload == b"payload"
        writer, reader = reader, writer

    assert writer.handshake_hash == reader.handshake_hash
    assert writer.handshake_hash.hex() == GOLDEN[protocol_name]
    assert writer.split() == reader.split()


def test_the_responder_learns_who_writes() -> None:
    initiator, responder = two_ends("Noise_IK_25519_ChaChaPoly_BLAKE2s")

    responder.read_message_untrusted(initiator.write_message(b""))

    assert responder.remote_static == KeyPair(b"\x01" * 32).public


@pytest.mark.parametrize("point", LOW_ORDER_POINTS, ids=lambda point: point.hex()[:8])
def test_a_public_key_that_gives_the_same_secret_with_everybody_is_refused(point: bytes) -> None:
    initiator, responder = two_ends("Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s")
    message = initiator.write_message(b"")

    with pytest.raises(DatagramError) as refused:
        responder.read_message_untrusted(point + message[32:])

    assert refused.value.reason is DropReason.BAD_HANDSHAKE


def test_a_message_longer_than_noise_allows_is_refused() -> None:
    initiator, responder = two_ends("Noise_XX_25519_ChaChaPoly_BLAKE2s")
    message = initiator.write_message(bytes(65536 - 32))

    with pytest.raises(DatagramError) as refused:
        responder.read_message_untrusted(message)

    assert refused.value.reason is DropReason.BAD_HANDSHAKE


def test_a_copy_goes_its_own_way() -> None:
    initiator, responder = two_ends("Noise_IK_25519_ChaChaPoly_BLAKE2s")
    responder.read_message_untrusted(initiator.write_message(b""))
    answer = responder.write_message(b"answer")

    with pytest.raises(DatagramError):
        initiator.copy().read_message_untrusted(bytes(len(answer)))

    assert initiator.copy().read_message_untrusted(answer) == b"answer"
    assert not initiator.is_finished


def test_messages_out_of_turn_are_our_own_bug() -> None:
    initiator, responder = two_ends("Noise_IK_25519_ChaChaPoly_BLAKE2s")

    with pytest.raises(LocalProtocolError):
        responder.write_message(b"")
    with pytest.raises(LocalProtocolError):
        initiator.split()


@pytest.mark.parametrize(
    "name",
    [
        "Noise_NN_25519_ChaChaPoly_BLAKE2s",
        "Noise_IK_448_ChaChaPoly_BLAKE2s",
        "Noise_IK_25519_ChaChaPoly_MD5",
        "IK",
    ],
)
def test_a_protocol_we_do_not_have_is_our_own_bug(name: str) -> None:
    with pytest.raises(LocalProtocolError):
        Protocol.named(name)
