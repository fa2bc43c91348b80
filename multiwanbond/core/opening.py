"""The initiator's side of opening a bond: one question raced over every WAN until one answer."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from multiwanbond.core.cookie import MacStamper
from multiwanbond.core.datagram import Address, Transmit
from multiwanbond.core.handshake import Answer, Initiator, Offer, TransportSecrets
from multiwanbond.core.settings import PeerSettings
from multiwanbond.core.wire import CookieReply, Initiation, Response, encode_initiation
from multiwanbond.errors import DatagramError, DropReason

FIRST_RETRY: Final = 0.3
"""Seconds until the first repetition; most answers are back by then."""
SLOWEST_RETRY: Final = 2.0
"""Seconds between repetitions at most: a server that returns is found again within this time."""
REMEMBERED_ATTEMPTS: Final = 4
"""Attempts whose answer is still good: a satellite answers after the second one has left."""


class Attempt:
    """One initiation and the state that reads its response."""

    __slots__ = ("initiator", "message")

    def __init__(self, initiator: Initiator, message: bytes) -> None:
        self.initiator = initiator
        self.message = message


class Opening:
    """Asks for keys, again and again, over every WAN that has a link.

    No WAN is the master: each attempt leaves on all of them, and the first answer wins.
    """

    def __init__(
        self,
        peer: PeerSettings,
        offer: Offer,
        private_key: bytes,
        entropy: Callable[[int], bytes],
        now: float,
    ) -> None:
        self._peer = peer
        self._offer = offer
        self._private_key = private_key
        self._entropy = entropy
        self._retry_after = FIRST_RETRY
        self._attempts: dict[int, Attempt] = {}
        self._stampers: dict[int, MacStamper] = {}
        self.next_at = now
        """When the next attempt is due."""

    @property
    def session_ids(self) -> Iterator[int]:
        """The session ids under which an answer may come."""
        return iter(self._attempts)

    def start_attempt(
        self, session_id: int, links: Mapping[int, Address], now: float
    ) -> Iterator[Transmit]:
        """Begin an attempt that will be answered to `session_id`; yield it once for every WAN."""
        if len(self._attempts) == REMEMBERED_ATTEMPTS:
            del self._attempts[next(iter(self._attempts))]
        initiator = Initiator(
            private_key=self._private_key,
            peer_public_key=self._peer.public_key,
            preshared_key=self._peer.preshared_key,
            entropy=self._entropy,
        )
        message = encode_initiation(Initiation(session_id, initiator.write(self._offer)))
        self._attempts[session_id] = Attempt(initiator, message)
        self.next_at = now + self._retry_after
        self._retry_after = min(self._retry_after * 2, SLOWEST_RETRY)
        for wan_id, remote in links.items():
            yield self._transmit(message, wan_id, remote, now)

    def on_link_up(self, wan_id: int, remote: Address, now: float) -> Iterator[Transmit]:
        """Yield the newest attempt for a WAN that has just come up."""
        if self._attempts:
            newest = next(reversed(self._attempts.values()))
            yield self._transmit(newest.message, wan_id, remote, now)

    def _transmit(self, message: bytes, wan_id: int, remote: Address, now: float) -> Transmit:
        # A cookie proves one source address, and every WAN has its own.
        stamper = self._stampers.get(wan_id)
        if stamper is None:
            stamper = self._stampers[wan_id] = MacStamper(self._peer.public_key)
        return Transmit(stamper.stamp(message, now), remote, wan_id=wan_id)

    def handle_response_untrusted(self, response: Response) -> tuple[Answer, TransportSecrets]:
        """Return what the peer agreed to; raises BAD_HANDSHAKE, and UNKNOWN_SESSION if not ours."""
        attempt = self._attempts.get(response.receiver)
        if attempt is None:
            raise DatagramError(DropReason.UNKNOWN_SESSION)
        return attempt.initiator.read_untrusted(response.noise)

    def handle_cookie_untrusted(self, reply: CookieReply, wan_id: int, now: float) -> None:
        """Keep the cookie and hurry the next attempt, which will prove the WAN's address."""
        stamper = self._stampers.get(wan_id)
        if stamper is None or reply.receiver not in self._attempts:
            raise DatagramError(DropReason.UNKNOWN_SESSION)
        stamper.on_cookie_untrusted(reply, now)
        self.next_at = min(self.next_at, now + FIRST_RETRY)
