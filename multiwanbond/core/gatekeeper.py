"""The responder's door: what a stranger's first datagram must prove before it costs us anything."""

from collections.abc import Callable
from typing import Final

from multiwanbond.core.burst import Bytes
from multiwanbond.core.cookie import CookieGuard
from multiwanbond.core.datagram import Address
from multiwanbond.core.handshake import Offer, Responder, public_key_of
from multiwanbond.core.wire import (
    DH_SIZE,
    Initiation,
    decode_initiation_untrusted,
    encode_cookie_reply,
    split_macs_untrusted,
)
from multiwanbond.errors import DatagramError, DropReason

REPEAT_WINDOW: Final = 5.0
"""Seconds in which the same initiation is answered again: it was raced over several WANs, and each
of them needs its answer. Later it is a replay."""
REMEMBERED_INITIATIONS: Final = 16_384
"""Authentic initiations known again as replays. A client makes one every two minutes; forgetting
the oldest is harmless, because a replay can never confirm the keys it asks for."""


class Admission:
    """An authentic initiation: who asks for what, and the state that answers."""

    __slots__ = ("ephemeral", "offer", "peer_public_key", "responder", "session_id")

    def __init__(
        self,
        ephemeral: bytes,
        session_id: int,
        peer_public_key: bytes,
        offer: Offer,
        responder: Responder,
    ) -> None:
        self.ephemeral = ephemeral
        self.session_id = session_id
        """The initiator's name for the key: what we put in datagrams to it."""
        self.peer_public_key = peer_public_key
        self.offer = offer
        self.responder = responder


class Gatekeeper:
    """Examines initiations in the order of what each test costs.

    Length and version, then the first MAC (one hash: without our public key nobody gets past it),
    then whether it was seen before, then under load the proof of address, then two X25519
    exchanges. Nothing about a stranger is remembered until the last of these succeeded.
    """

    def __init__(self, private_key: bytes, entropy: Callable[[int], bytes], now: float) -> None:
        self._private_key = private_key
        self._entropy = entropy
        self._guard = CookieGuard(public_key_of(private_key), entropy=entropy, now=now)
        self._answered: dict[bytes, tuple[float, bytes]] = {}

    def examine_untrusted(self, data: Bytes, source: Address, now: float) -> Admission | bytes:
        """Return the admission, or the datagram that already answered this very initiation.

        Raises:
            DatagramError: TOO_SHORT, UNKNOWN_VERSION, BAD_MAC, REPLAYED_HANDSHAKE, BAD_HANDSHAKE;
                COOKIE_REQUIRED: send back `cookie_reply`.
        """
        initiation = decode_initiation_untrusted(data)
        macs = split_macs_untrusted(data)
        self._guard.check_mac1_untrusted(macs)
        ephemeral = initiation.noise[:DH_SIZE]
        if ephemeral in self._answered:
            answered_at, response = self._answered[ephemeral]
            if now - answered_at > REPEAT_WINDOW:
                raise DatagramError(DropReason.REPLAYED_HANDSHAKE)
            return response
        self._guard.check_initiation_untrusted(macs, source, now)
        return self._authenticate_untrusted(initiation, ephemeral)

    def _authenticate_untrusted(self, initiation: Initiation, ephemeral: bytes) -> Admission:
        responder = Responder(private_key=self._private_key, entropy=self._entropy)
        peer_public_key, offer = responder.read_untrusted(initiation.noise)
        return Admission(ephemeral, initiation.sender, peer_public_key, offer, responder)

    def cookie_reply(self, data: Bytes, source: Address, now: float) -> bytes:
        """Return what asks the sender of an initiation to prove its address."""
        sender = decode_initiation_untrusted(data).sender
        reply = self._guard.reply(split_macs_untrusted(data), sender, source, now)
        return encode_cookie_reply(reply)

    def check_response_untrusted(self, data: Bytes) -> None:
        """Raise BAD_MAC unless whoever sent this response knows our public key."""
        self._guard.check_mac1_untrusted(split_macs_untrusted(data))

    def remember(self, admission: Admission, response: bytes, now: float) -> None:
        """Note how an admission was answered, so that its repetition is known."""
        if len(self._answered) >= REMEMBERED_INITIATIONS:
            del self._answered[next(iter(self._answered))]
        self._answered[admission.ephemeral] = (now, response)
