"""The Noise Protocol Framework (revision 34), as much of it as we need, with patterns as data.

Section numbers below are those of the specification at https://noiseprotocol.org/noise.html.
Transport messages are not sealed here: Noise counts them, and over UDP they arrive in any order.
`keys.TransportKey` takes over what `HandshakeState.split` returns.
"""

import hmac
from collections.abc import Callable
from enum import Enum
from hashlib import blake2s, sha256
from struct import Struct
from typing import Final, NamedTuple, Self
from typing import Protocol as TypingProtocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from multiwanbond.core.wire import DH_SIZE, TAG_SIZE
from multiwanbond.errors import DatagramError, DropReason, LocalProtocolError

# --- from a specification --------------------------------------------------------------------

HASH_SIZE: Final = 32
"""BLAKE2s and SHA256 alike (section 12)."""
MAX_MESSAGE: Final = 65535
"""Bytes of a handshake message (section 3)."""


class _Hash(TypingProtocol):
    def digest(self) -> bytes: ...


class Token(Enum):
    """One step of a handshake message (section 7.1)."""

    E = "e"
    S = "s"
    EE = "ee"
    ES = "es"
    SE = "se"
    SS = "ss"
    PSK = "psk"


class Pattern(NamedTuple):
    """Who knows what beforehand, and the tokens of each message in turn (section 7)."""

    is_responder_known: bool
    """True if the initiator has the responder's static key before the first message."""
    messages: tuple[tuple[Token, ...], ...]

    @property
    def has_psk(self) -> bool:
        """True if some message mixes in a preshared key."""
        return any(Token.PSK in tokens for tokens in self.messages)


E, S, EE, ES, SE, SS, PSK = Token

PATTERNS: Final = {
    "XX": Pattern(False, ((E,), (E, EE, S, ES), (S, SE))),
    "IK": Pattern(True, ((E, ES, S, SS), (E, EE, SE))),
    "IKpsk2": Pattern(True, ((E, ES, S, SS), (E, EE, SE, PSK))),
}

_LITTLE_ENDIAN: Final = Struct("<4xQ")
_BIG_ENDIAN: Final = Struct("!4xQ")

# Section 12.3 and 12.4: the two ciphers count in different byte orders.
CIPHERS: Final[dict[str, tuple[type[AESGCM | ChaCha20Poly1305], Struct]]] = {
    "ChaChaPoly": (ChaCha20Poly1305, _LITTLE_ENDIAN),
    "AESGCM": (AESGCM, _BIG_ENDIAN),
}
HASHES: Final[dict[str, Callable[[bytes], "_Hash"]]] = {"BLAKE2s": blake2s, "SHA256": sha256}


class Protocol(NamedTuple):
    """A protocol name taken apart (section 8)."""

    name: str
    pattern: Pattern
    aead: type[AESGCM | ChaCha20Poly1305]
    nonce: Struct
    hash_name: str

    @classmethod
    def named(cls, name: str) -> Self:
        """Return the protocol called `name`; one we do not have is our bug."""
        try:
            prefix, pattern, exchange, cipher, hash_name = name.split("_")
            aead, nonce = CIPHERS[cipher]
            found = cls(name, PATTERNS[pattern], aead, nonce, hash_name)
        except (KeyError, ValueError):
            raise LocalProtocolError(name) from None
        if (prefix, exchange) != ("Noise", "25519") or hash_name not in HASHES:
            raise LocalProtocolError(name)
        return found


class KeyPair:
    """An X25519 private key and the public key that belongs to it."""

    __slots__ = ("_private", "public")

    def __init__(self, private_key: bytes) -> None:
        self._private = X25519PrivateKey.from_private_bytes(private_key)
        self.public: Final = self._private.public_key().public_bytes_raw()

    def exchange(self, public_key: bytes) -> bytes:
        """Return the shared secret.

        Raises:
            ValueError: if it is all zero: the public key is one of the few points of low order,
                and whoever sent it knows the result without knowing any secret.
        """
        return self._private.exchange(X25519PublicKey.from_public_bytes(public_key))


class CipherState:
    """A key and the number of messages sealed with it (section 5.1)."""

    __slots__ = ("_aead", "_count", "_protocol")

    def __init__(self, protocol: Protocol, key: bytes | None = None) -> None:
        self._protocol = protocol
        self._aead = protocol.aead(key) if key is not None else None
        self._count = 0

    def copy(self) -> "CipherState":
        """Return a state that goes on from here independently."""
        twin = CipherState(self._protocol)
        twin._aead = self._aead
        twin._count = self._count
        return twin

    @property
    def has_key(self) -> bool:
        """True once anything is secret; before that sealing changes nothing."""
        return self._aead is not None

    def encrypt(self, associated: bytes, plaintext: bytes) -> bytes:
        """Seal, or return `plaintext` while there is no key."""
        if self._aead is None:
            return plaintext
        return self._aead.encrypt(self._next_nonce(), plaintext, associated)

    def decrypt(self, associated: bytes, ciphertext: bytes) -> bytes:
        """Open, or return `ciphertext` while there is no key; raises InvalidTag."""
        if self._aead is None:
            return ciphertext
        return self._aead.decrypt(self._next_nonce(), ciphertext, associated)

    def _next_nonce(self) -> bytes:
        nonce = self._protocol.nonce.pack(self._count)
        self._count += 1
        return nonce


class SymmetricState:
    """The chaining key and the hash of everything said so far (section 5.2)."""

    __slots__ = ("_chaining_key", "_cipher", "_protocol", "hash")

    def __init__(self, protocol: Protocol) -> None:
        name = protocol.name.encode()
        self._protocol = protocol
        self.hash = name.ljust(HASH_SIZE, b"\0") if len(name) <= HASH_SIZE else self._digest(name)
        """The handshake hash `h`: equal at both ends exactly if they saw the same handshake."""
        self._chaining_key = self.hash
        self._cipher = CipherState(protocol)

    def copy(self) -> "SymmetricState":
        """Return a state that goes on from here independently."""
        twin = SymmetricState(self._protocol)
        twin.hash = self.hash
        twin._chaining_key = self._chaining_key
        twin._cipher = self._cipher.copy()
        return twin

    @property
    def sealed_overhead(self) -> int:
        """Bytes a sealed field is longer than its content at this point."""
        return TAG_SIZE if self._cipher.has_key else 0

    def mix_key(self, material: bytes) -> None:
        """Make everything that follows depend on `material` being known."""
        self._chaining_key, key = self._expand(material, 2)
        self._cipher = CipherState(self._protocol, key)

    def mix_hash(self, data: bytes) -> None:
        """Make everything that follows depend on `data` having been seen."""
        self.hash = self._digest(self.hash + data)

    def mix_key_and_hash(self, material: bytes) -> None:
        """Both, for a preshared key (section 9.2)."""
        self._chaining_key, seen, key = self._expand(material, 3)
        self.mix_hash(seen)
        self._cipher = CipherState(self._protocol, key)

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        """Return the sealed field."""
        ciphertext = self._cipher.encrypt(self.hash, plaintext)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        """Return the field's content; raises InvalidTag."""
        plaintext = self._cipher.decrypt(self.hash, ciphertext)
        self.mix_hash(ciphertext)
        return plaintext

    def split(self) -> tuple[bytes, bytes]:
        """Return the keys for what the initiator and what the responder will send."""
        to_responder, to_initiator = self._expand(b"", 2)
        return to_responder, to_initiator

    def _digest(self, data: bytes) -> bytes:
        return HASHES[self._protocol.hash_name](data).digest()

    def _expand(self, material: bytes, count: int) -> list[bytes]:
        """Return `count` keys drawn from the chaining key and `material` (HKDF, section 4.3)."""
        name = self._protocol.hash_name.lower()
        secret = hmac.digest(self._chaining_key, material, name)
        outputs: list[bytes] = []
        last = b""
        for number in range(1, count + 1):
            last = hmac.digest(secret, last + bytes([number]), name)
            outputs.append(last)
        return outputs


class HandshakeState:
    """One end of one handshake (section 5.3); after any error it is of no further use.

    Args:
        protocol: what both ends agreed to speak.
        is_initiator: True at the end that writes the first message.
        prologue: bytes both ends must have in common; they are not sent.
        static: our own long-term key.
        entropy: source of the ephemeral key.
        remote_static: the far end's public key, where the pattern says that we know it.
        preshared_key: 32 bytes; may be set later, before the message that mixes it in.
    """

    __slots__ = (
        "_entropy",
        "_ephemeral",
        "_is_initiator",
        "_position",
        "_protocol",
        "_remote_ephemeral",
        "_static",
        "_symmetric",
        "preshared_key",
        "remote_static",
    )

    def __init__(
        self,
        protocol: Protocol,
        *,
        is_initiator: bool,
        prologue: bytes,
        static: KeyPair,
        entropy: Callable[[int], bytes],
        remote_static: bytes | None = None,
        preshared_key: bytes | None = None,
    ) -> None:
        self._protocol = protocol
        self._is_initiator = is_initiator
        self._static = static
        self._entropy = entropy
        self._ephemeral: KeyPair | None = None
        self._remote_ephemeral: bytes | None = None
        self._position = 0
        self._symmetric = SymmetricState(protocol)
        self.remote_static = remote_static
        self.preshared_key = preshared_key
        self._symmetric.mix_hash(prologue)
        if protocol.pattern.is_responder_known:
            known = remote_static if is_initiator else static.public
            if known is None:
                raise LocalProtocolError("the responder's static key is needed beforehand")
            self._symmetric.mix_hash(known)

    def copy(self) -> "HandshakeState":
        """Return a state that goes on from here independently."""
        twin = HandshakeState.__new__(HandshakeState)
        for name in self.__slots__:
            setattr(twin, name, getattr(self, name))
        twin._symmetric = self._symmetric.copy()
        return twin

    @property
    def handshake_hash(self) -> bytes:
        """The hash of everything said so far; at the end it names this handshake (11.2)."""
        return self._symmetric.hash

    @property
    def is_finished(self) -> bool:
        """True once `split` may be called."""
        return self._position == len(self._protocol.pattern.messages)

    def write_message(self, payload: bytes) -> bytes:
        """Return the next message, carrying `payload` as secretly as the pattern allows by then."""
        parts = [self._write_token(token) for token in self._next_tokens(is_writing=True)]
        parts.append(self._symmetric.encrypt_and_hash(payload))
        return b"".join(parts)

    def read_message_untrusted(self, message: bytes) -> bytes:
        """Return the payload of the next message.

        Raises:
            DatagramError: BAD_HANDSHAKE, whatever is wrong with it.
        """
        rest = message
        try:
            if len(message) > MAX_MESSAGE:
                raise ValueError
            for token in self._next_tokens(is_writing=False):
                rest = self._read_token(token, rest)
            return self._symmetric.decrypt_and_hash(rest)
        except (InvalidTag, ValueError):
            raise DatagramError(DropReason.BAD_HANDSHAKE) from None

    def split(self) -> tuple[bytes, bytes]:
        """Return the transport keys: what the initiator sends under, what the responder does."""
        if not self.is_finished:
            raise LocalProtocolError("split before the handshake's end")
        return self._symmetric.split()

    def _next_tokens(self, *, is_writing: bool) -> tuple[Token, ...]:
        is_ours = (self._position % 2 == 0) == self._is_initiator
        if self.is_finished or is_ours != is_writing:
            raise LocalProtocolError("a handshake message out of turn")
        tokens = self._protocol.pattern.messages[self._position]
        self._position += 1
        return tokens

    def _write_token(self, token: Token) -> bytes:
        if token is Token.E:
            self._ephemeral = KeyPair(self._entropy(DH_SIZE))
            self._mix_ephemeral(self._ephemeral.public)
            return self._ephemeral.public
        if token is Token.S:
            return self._symmetric.encrypt_and_hash(self._static.public)
        self._mix_secret(token)
        return b""

    def _read_token(self, token: Token, rest: bytes) -> bytes:
        """Consume what `token` put at the front of `rest`; return what is left."""
        if token is Token.E:
            self._remote_ephemeral, rest = _take(rest, DH_SIZE)
            self._mix_ephemeral(self._remote_ephemeral)
        elif token is Token.S:
            sealed, rest = _take(rest, DH_SIZE + self._symmetric.sealed_overhead)
            self.remote_static = self._symmetric.decrypt_and_hash(sealed)
        else:
            self._mix_secret(token)
        return rest

    def _mix_ephemeral(self, public_key: bytes) -> None:
        self._symmetric.mix_hash(public_key)
        if self._protocol.pattern.has_psk:  # section 9.2: psk handshakes depend on e twice
            self._symmetric.mix_key(public_key)

    def _mix_secret(self, token: Token) -> None:
        if token is Token.PSK:
            assert self.preshared_key is not None
            self._symmetric.mix_key_and_hash(self.preshared_key)
            return
        # "es" is the initiator's ephemeral with the responder's static key, from either end.
        initiators, responders = token.value
        ours, theirs = (initiators, responders) if self._is_initiator else (responders, initiators)
        pair = self._ephemeral if ours == "e" else self._static
        public_key = self._remote_ephemeral if theirs == "e" else self.remote_static
        assert pair is not None
        assert public_key is not None
        self._symmetric.mix_key(pair.exchange(public_key))


def _take(data: bytes, size: int) -> tuple[bytes, bytes]:
    if len(data) < size:
        raise ValueError
    return data[:size], data[size:]
