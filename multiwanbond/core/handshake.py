"""How two ends that know each other's public keys agree on transport keys.

Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s: two messages. The first hides the initiator's identity from
all but the responder, the second proves the responder and the preshared key. Each message carries
a small payload in which the ends agree on what they will do with the keys.

The first message can be replayed by whoever saw it. It then yields an answer the replayer cannot
read and keys that nobody confirms (see `keys.KeyRing`); nothing in an `Offer` may take effect
before that confirmation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple

from multiwanbond.core.noise import HandshakeState, KeyPair, Protocol
from multiwanbond.core.settings import CipherCosts
from multiwanbond.core.wire import DH_SIZE
from multiwanbond.errors import DatagramError, DropReason

# --- chosen by us ----------------------------------------------------------------------------

PROTOCOL: Final = Protocol.named("Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s")
"""WireGuard's choice; the handshake is too rare for its cipher's speed to matter."""
PROLOGUE: Final = b"MultiWANBond 1"
"""Raised with the wire version: ends of different versions do not understand each other."""
PAYLOAD_VERSION: Final = 1
BOND_ID_SIZE: Final = 8


class Cipher(Enum):
    """What transport datagrams are sealed with; the value is its number on the wire."""

    AES_256_GCM = 1
    CHACHA20_POLY1305 = 2


class TransportSecrets(NamedTuple):
    """What a handshake yields: 32 bytes for each direction."""

    send: bytes
    receive: bytes


# --- payloads --------------------------------------------------------------------------------
# Offer, in message 1                     Answer, in message 2
# offset size                             offset size
#      0    1  payload version, 1              0    1  payload version, 1
#      1    8  bond id                         1    8  bond id
#      9    2  inner MTU                       9    1  flags: 1 resumed
#     11    4  features, a bit each           10    2  inner MTU
#     15    4  AES-256-GCM, ns                12    4  features, a bit each
#     19    4  ChaCha20-Poly1305, ns          16    1  cipher
#
# A later payload version only appends; readers ignore what they do not know. A change that older
# releases would misread raises the wire version instead, which stands in the clear.

_OFFER: Final = Struct(f"!B{BOND_ID_SIZE}sHIII")
_ANSWER: Final = Struct(f"!B{BOND_ID_SIZE}sBHIB")
_RESUMED: Final = 0x01
MAX_COST: Final = 0xFFFFFFFF
"""Nanoseconds: what a cipher costs that is not to be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What the initiator can do and would like."""

    bond_id: bytes
    """8 bytes that name the bond for its life; rekeys repeat them, a restart draws new ones."""
    inner_mtu: int
    """Largest inner packet the initiator can carry."""
    features: int
    """32 bits, one for each optional part of the protocol the initiator speaks."""
    aes_gcm_ns: int
    """Nanoseconds to seal 1400 bytes, as measured at its start; likewise the next."""
    chacha20_ns: int

    def encode(self) -> bytes:
        """Return the payload of message 1."""
        return _OFFER.pack(
            PAYLOAD_VERSION,
            self.bond_id,
            self.inner_mtu,
            self.features,
            min(self.aes_gcm_ns, MAX_COST),
            min(self.chacha20_ns, MAX_COST),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the responder decided."""

    bond_id: bytes
    """The offer's, again."""
    is_resumed: bool
    """True if the responder still had the bond: only the keys are new."""
    inner_mtu: int
    """Largest inner packet the responder can carry; the smaller of both holds."""
    features: int
    """Those of the offer that the responder speaks, too."""
    cipher: Cipher

    def encode(self) -> bytes:
        """Return the payload of message 2."""
        return _ANSWER.pack(
            PAYLOAD_VERSION,
            self.bond_id,
            _RESUMED if self.is_resumed else 0,
            self.inner_mtu,
            self.features,
            self.cipher.value,
        )


def decode_offer_untrusted(payload: bytes) -> Offer:
    """Return the offer; raises BAD_HANDSHAKE."""
    try:
        version, bond_id, inner_mtu, features, aes_gcm, chacha20 = _OFFER.unpack_from(payload)
    except struct_error:
        raise DatagramError(DropReason.BAD_HANDSHAKE) from None
    if version < PAYLOAD_VERSION:
        raise DatagramError(DropReason.BAD_HANDSHAKE)
    return Offer(
        bond_id=bond_id,
        inner_mtu=inner_mtu,
        features=features,
        aes_gcm_ns=aes_gcm,
        chacha20_ns=chacha20,
    )


def decode_answer_untrusted(payload: bytes) -> Answer:
    """Return the answer; raises BAD_HANDSHAKE."""
    try:
        version, bond_id, flags, inner_mtu, features, cipher = _ANSWER.unpack_from(payload)
        chosen = Cipher(cipher)
    except (struct_error, ValueError):
        raise DatagramError(DropReason.BAD_HANDSHAKE) from None
    if version < PAYLOAD_VERSION:
        raise DatagramError(DropReason.BAD_HANDSHAKE)
    return Answer(
        bond_id=bond_id,
        is_resumed=bool(flags & _RESUMED),
        inner_mtu=inner_mtu,
        features=features,
        cipher=chosen,
    )


def choose_cipher(offer: Offer, own: CipherCosts) -> Cipher:
    """Return the cipher that costs both ends together the least.

    A Raspberry Pi 4 has no AES instructions: beside it even a fast server should take ChaCha20.
    On a tie ChaCha20, which needs no special hardware to be safe against timing.
    """
    aes_gcm = offer.aes_gcm_ns + own.aes_gcm_ns
    chacha20 = offer.chacha20_ns + own.chacha20_ns
    return Cipher.AES_256_GCM if aes_gcm < chacha20 else Cipher.CHACHA20_POLY1305


# --- the two ends ----------------------------------------------------------------------------


class Initiator:
    """The end that opens one handshake; each attempt takes a new one.

    Args:
        private_key: our static key, 32 bytes.
        peer_public_key: the responder's; see `is_public_key`.
        preshared_key: 32 bytes, zeros where none is configured.
        entropy: source of the ephemeral key.
    """

    __slots__ = ("_state",)

    def __init__(
        self,
        *,
        private_key: bytes,
        peer_public_key: bytes,
        preshared_key: bytes,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._state = HandshakeState(
            PROTOCOL,
            is_initiator=True,
            prologue=PROLOGUE,
            static=KeyPair(private_key),
            entropy=entropy,
            remote_static=peer_public_key,
            preshared_key=preshared_key,
        )

    def write(self, offer: Offer) -> bytes:
        """Return Noise message 1; to be called once."""
        return self._state.write_message(offer.encode())

    def read_untrusted(self, noise: bytes) -> tuple[Answer, TransportSecrets]:
        """Return what Noise message 2 says and the keys it completes.

        Raises:
            DatagramError: BAD_HANDSHAKE. The genuine answer can still come: nothing has changed.
        """
        # A copy, because reading changes the state: whoever sees our initiation could otherwise
        # end every handshake by sending garbage before the responder answers.
        attempt = self._state.copy()
        answer = decode_answer_untrusted(attempt.read_message_untrusted(noise))
        to_responder, to_initiator = attempt.split()
        return answer, TransportSecrets(send=to_responder, receive=to_initiator)


class Responder:
    """The end that answers one handshake."""

    __slots__ = ("_state",)

    def __init__(self, *, private_key: bytes, entropy: Callable[[int], bytes]) -> None:
        self._state = HandshakeState(
            PROTOCOL,
            is_initiator=False,
            prologue=PROLOGUE,
            static=KeyPair(private_key),
            entropy=entropy,
        )

    def read_untrusted(self, noise: bytes) -> tuple[bytes, Offer]:
        """Return the initiator's public key, which message 1 proves, and its offer.

        Raises:
            DatagramError: BAD_HANDSHAKE; the responder is of no further use then.
        """
        offer = decode_offer_untrusted(self._state.read_message_untrusted(noise))
        assert self._state.remote_static is not None
        return self._state.remote_static, offer

    def write(self, answer: Answer, preshared_key: bytes) -> tuple[bytes, TransportSecrets]:
        """Return Noise message 2 and the keys; use them for sending only once confirmed."""
        self._state.preshared_key = preshared_key
        noise = self._state.write_message(answer.encode())
        to_responder, to_initiator = self._state.split()
        return noise, TransportSecrets(send=to_initiator, receive=to_responder)


def public_key_of(private_key: bytes) -> bytes:
    """Return the public key that belongs to a private one."""
    return KeyPair(private_key).public


def is_public_key(key: bytes) -> bool:
    """Say whether a handshake with `key` is possible: 32 bytes and not a point of low order."""
    if len(key) != DH_SIZE:
        return False
    try:
        KeyPair(bytes(DH_SIZE)).exchange(key)
    except ValueError:
        return False
    return True
