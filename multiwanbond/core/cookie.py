"""How strangers are kept from costing us anything: MAC 1, and under load a proof of address.

A key exchange costs a few hundred microseconds, a UDP packet with a forged source address nothing.
So the initiator must first show two things that are cheap to check. WireGuard's design (its paper,
section 5.4), because trio's and DTLS's cookie leaves the first one out:

- MAC 1 shows that it knows our public key. Without that it gets no answer of any kind, under load
  or not: to a port scanner the port is closed.
- MAC 2 shows that it receives what we send to the address it writes from. It is asked for only
  under load, by a reply that is smaller than the initiation and costs us three hashes and one seal:
  no key exchange, no memory. The cookie in it is a MAC of that address under a secret that only we
  know and change every two minutes.

The reply is sealed under a key that takes our public key to know, and bound to the initiation's
MAC 1: who only sees the replies, or did not see the initiation, can neither use nor forge one.
"""

import hmac
from collections.abc import Callable
from hashlib import blake2s
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from multiwanbond.core.datagram import Address
from multiwanbond.core.wire import COOKIE_NONCE_SIZE, COOKIE_SIZE, MAC_SIZE, CookieReply, Macs
from multiwanbond.errors import DatagramError, DropReason

# --- from a specification --------------------------------------------------------------------

COOKIE_LIFETIME: Final = 120.0
"""Seconds until the secret changes, and for which an initiator uses a cookie (WireGuard, 6.1)."""

# --- chosen by us ----------------------------------------------------------------------------

INITIATIONS_PER_SECOND: Final = 50.0
"""Initiations answered without proof of address. At 4 ms of key exchange each on a Raspberry Pi 4
they take a fifth of a core; 1000 clients that rekey every 120 s need 8."""
INITIATIONS_AT_ONCE: Final = 100.0
"""As many may come together, after a server's restart for instance; the rest needs one round trip
more."""

_MAC1_LABEL: Final = b"MultiWANBond mac1"
_COOKIE_LABEL: Final = b"MultiWANBond cookie"
_NO_MAC: Final = bytes(MAC_SIZE)
_SECRET_SIZE: Final = 32
_ZERO_NONCE: Final = bytes(12)
"""Each cookie reply has a key of its own, drawn from its 24-byte nonce."""


def _mac(key: bytes, data: bytes) -> bytes:
    return blake2s(data, digest_size=MAC_SIZE, key=key).digest()


def _labelled(label: bytes, public_key: bytes) -> bytes:
    return blake2s(label + public_key).digest()


def _reply_cipher(key: bytes, nonce: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(blake2s(nonce, key=key).digest())


class MacStamper:
    """Ends our handshake messages to one address of a peer with their MACs.

    A cookie is good for one source address of ours, so every path has a stamper of its own.
    """

    __slots__ = ("_cookie", "_cookie_key", "_cookie_until", "_last_mac1", "_mac1_key")

    def __init__(self, peer_public_key: bytes) -> None:
        self._mac1_key = _labelled(_MAC1_LABEL, peer_public_key)
        self._cookie_key = _labelled(_COOKIE_LABEL, peer_public_key)
        self._cookie = b""
        self._cookie_until = 0.0
        self._last_mac1 = _NO_MAC

    def stamp(self, message: bytes, now: float) -> bytes:
        """Return `message` with MAC 1 and MAC 2; MAC 2 is zeros without a valid cookie."""
        mac1 = _mac(self._mac1_key, message)
        self._last_mac1 = mac1
        covered = message + mac1
        has_cookie = self._cookie and now < self._cookie_until
        return covered + (_mac(self._cookie, covered) if has_cookie else _NO_MAC)

    def on_cookie_untrusted(self, reply: CookieReply, now: float) -> None:
        """Use the cookie from now on; to be followed by stamping a handshake message again.

        Raises:
            DatagramError: FORGED if it does not answer the message stamped last.
        """
        cipher = _reply_cipher(self._cookie_key, reply.nonce)
        try:
            self._cookie = cipher.decrypt(_ZERO_NONCE, reply.sealed, self._last_mac1)
        except InvalidTag:
            raise DatagramError(DropReason.FORGED) from None
        self._cookie_until = now + COOKIE_LIFETIME


class InitiationBudget:
    """How many initiations may still be answered without proof: a token bucket."""

    __slots__ = ("_at", "_tokens")

    def __init__(self, now: float) -> None:
        self._tokens = INITIATIONS_AT_ONCE
        self._at = now

    def take(self, now: float) -> bool:
        """Spend one token; False if there is none."""
        earned = max(0.0, now - self._at) * INITIATIONS_PER_SECOND
        self._at = max(self._at, now)
        self._tokens = min(INITIATIONS_AT_ONCE, self._tokens + earned)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class CookieGuard:
    """Decides whether a handshake message for us is worth a key exchange.

    Args:
        public_key: our own.
        entropy: source of the secret behind the cookies and of the replies' nonces.
    """

    __slots__ = (
        "_budget",
        "_cookie_key",
        "_entropy",
        "_mac1_key",
        "_previous_secret",
        "_secret",
        "_secret_until",
    )

    def __init__(self, public_key: bytes, *, entropy: Callable[[int], bytes], now: float) -> None:
        self._mac1_key = _labelled(_MAC1_LABEL, public_key)
        self._cookie_key = _labelled(_COOKIE_LABEL, public_key)
        self._entropy = entropy
        self._budget = InitiationBudget(now)
        self._previous_secret = entropy(_SECRET_SIZE)
        self._secret = entropy(_SECRET_SIZE)
        self._secret_until = now + COOKIE_LIFETIME

    def check_mac1_untrusted(self, macs: Macs) -> None:
        """Raise BAD_MAC unless the sender knows our public key; enough for responses."""
        if not hmac.compare_digest(_mac(self._mac1_key, macs.covered_by_mac1), macs.mac1):
            raise DatagramError(DropReason.BAD_MAC)

    def check_initiation_untrusted(self, macs: Macs, source: Address, now: float) -> None:
        """Return if the initiation should be answered.

        Raises:
            DatagramError: BAD_MAC: stay silent. COOKIE_REQUIRED: too many come, and this one
                proves no address; send it `reply`.
        """
        self.check_mac1_untrusted(macs)
        # The budget first: as long as it lasts nobody's MAC 2 costs us a hash. Those who prove
        # their address do not depend on it, so a flood cannot use it up for them.
        if not self._budget.take(now) and not self._is_proven(macs, source, now):
            raise DatagramError(DropReason.COOKIE_REQUIRED)

    def reply(self, macs: Macs, sender: int, source: Address, now: float) -> CookieReply:
        """Return what asks for proof of address.

        Args:
            macs: of the initiation, its MAC 1 checked.
            sender: the session id in it, which the reply is for.
            source: where it came from; the cookie is good for this address only.
        """
        self._rotate(now)
        nonce = self._entropy(COOKIE_NONCE_SIZE)
        cookie = self._cookie(self._secret, source)
        sealed = _reply_cipher(self._cookie_key, nonce).encrypt(_ZERO_NONCE, cookie, macs.mac1)
        return CookieReply(sender, nonce, sealed)

    def _is_proven(self, macs: Macs, source: Address, now: float) -> bool:
        if macs.mac2 == _NO_MAC:
            return False
        self._rotate(now)
        return any(
            hmac.compare_digest(_mac(self._cookie(secret, source), macs.covered_by_mac2), macs.mac2)
            for secret in (self._secret, self._previous_secret)
        )

    @staticmethod
    def _cookie(secret: bytes, source: Address) -> bytes:
        return blake2s(str(source).encode(), digest_size=COOKIE_SIZE, key=secret).digest()

    def _rotate(self, now: float) -> None:
        """Change the secret if it is due; cookies of the one before stay good for one lifetime."""
        if now < self._secret_until:
            return
        is_recent = now < self._secret_until + COOKIE_LIFETIME
        self._previous_secret = self._secret if is_recent else self._entropy(_SECRET_SIZE)
        self._secret = self._entropy(_SECRET_SIZE)
        self._secret_until = now + COOKIE_LIFETIME
