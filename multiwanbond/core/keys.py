"""Transport keys: sealing and opening datagrams, and how one pair of keys replaces another.

The life of a key pair is WireGuard's (its paper, section 6): the initiator uses a new pair at once,
the responder only when an authentic datagram has come under it, and both still open what arrives
under the one before. So no datagram is lost when keys change, and none is sent that the far end
cannot read.
"""

from collections.abc import Iterator
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from multiwanbond.core.burst import Burst
from multiwanbond.core.handshake import Cipher, TransportSecrets
from multiwanbond.core.segments import RunCipher, Segments, run_cipher
from multiwanbond.core.wire import HEADER_SIZE, OVERHEAD, TAG_SIZE
from multiwanbond.errors import DatagramError, DropReason

# --- from a specification --------------------------------------------------------------------

REKEY_AFTER: Final = 120.0
"""Seconds of age at which the initiator opens the next handshake (WireGuard, section 6.1)."""
REJECT_AFTER: Final = 180.0
"""Seconds of age at which a key pair is forgotten, rekeyed or not (the same)."""
# WireGuard also rekeys after 2^60 datagrams, which a key's 180 s leave no time for. AES-GCM's own
# bound for datagrams of up to 2 kB, 2^26.5 (RFC 9001, appendix B.1.1), is 790,000 a second over
# 120 s: more than we ever carried.

# --- chosen by us ----------------------------------------------------------------------------

MAX_UNCONFIRMED: Final = 4
"""Unconfirmed key pairs a responder keeps. With one, whoever replays an old initiation between a
genuine one and its confirmation would throw the genuine keys away."""

_AEADS: Final[dict[Cipher, type[AESGCM | ChaCha20Poly1305]]] = {
    Cipher.AES_256_GCM: AESGCM,
    Cipher.CHACHA20_POLY1305: ChaCha20Poly1305,
}


class TransportKey:
    """One agreed pair of keys: one to seal what we send, one to open what we receive.

    Args:
        secrets: what the handshake yielded.
        cipher: what the answer chose.
        local_id: the session id the peer writes on datagrams for us.
        remote_id: the session id we write on datagrams for the peer.
        features: the optional parts of the protocol that both ends speak, a bit each.
        now: when the handshake was completed at this end.
    """

    __slots__ = (
        "_decrypt_into",
        "_encrypt_into",
        "_runs",
        "cipher",
        "features",
        "local_id",
        "reject_at",
        "rekey_at",
        "remote_id",
    )

    def __init__(
        self,
        secrets: TransportSecrets,
        cipher: Cipher,
        *,
        local_id: int,
        remote_id: int,
        now: float,
        features: int = 0,
    ) -> None:
        aead = _AEADS[cipher]
        self._encrypt_into: Final = aead(secrets.send).encrypt_into
        self._decrypt_into: Final = aead(secrets.receive).decrypt_into
        self._runs: Final[RunCipher] = run_cipher(
            secrets, cipher, self._encrypt_into, self._decrypt_into
        )
        self.cipher: Final = cipher
        self.features: Final = features
        self.local_id: Final = local_id
        self.remote_id: Final = remote_id
        self.rekey_at: Final = now + REKEY_AFTER
        """When the initiator should open the next handshake."""
        self.reject_at: Final = now + REJECT_AFTER
        """When this pair must be forgotten."""

    def seal(self, buffer: memoryview, start: int, length: int, nonce: bytes) -> None:
        """Turn a header and `length` bytes of plaintext into a datagram, in place.

        Args:
            buffer: holds the header at `start`, the plaintext after it, and room for the tag.
            nonce: `wire.NONCE`; never the same twice under one key.
        """
        body = start + HEADER_SIZE
        end = body + length
        self._encrypt_into(
            nonce, buffer[body:end], buffer[start:body], buffer[body : end + TAG_SIZE]
        )

    def seal_run(
        self,
        view: memoryview,
        start: int,
        run: Burst,
        offset: int,
        count: int,
        path_id: int,
        sequence: int,
        number: int,
        distance: int,
        timestamp: int,
    ) -> None:
        """Lay out segments of a run as datagrams, and seal them (see `RunCipher.seal`)."""
        self._runs.seal(
            self.remote_id,
            view,
            start,
            run.packet,
            run.header_length,
            run.segment_size,
            offset,
            count,
            path_id,
            sequence,
            number,
            distance,
            timestamp,
        )

    def open_untrusted(self, datagram: memoryview, nonce: bytes) -> bytearray:
        """Return the plaintext of a datagram.

        Raises:
            DatagramError: FORGED, or TOO_SHORT for one that has no room for a header and a tag.
        """
        try:
            plaintext = bytearray(len(datagram) - OVERHEAD)
            self._decrypt_into(nonce, datagram[HEADER_SIZE:], datagram[:HEADER_SIZE], plaintext)
        except InvalidTag:
            raise DatagramError(DropReason.FORGED) from None
        except ValueError:  # bytearray() of a negative size
            raise DatagramError(DropReason.TOO_SHORT) from None
        return plaintext

    def open_run_untrusted(
        self, view: memoryview, start: int, size: int, sequence: int
    ) -> tuple[int, Segments | None]:
        """Open neighbouring segments of a run (see `RunCipher.open_untrusted`).

        Returns:
            How many there are, and all of them; None if they must be looked at one by one.
        """
        count, packet, header_length, segment_size = self._runs.open_untrusted(
            view, start, size, sequence
        )
        if packet is None:
            return count, None
        return count, Segments(packet, header_length, segment_size)


class KeyRing:
    """The key pairs of one bond.

    Every method that may forget keys returns those it forgot, so that the endpoint can drop them
    from its index by local session id.
    """

    __slots__ = ("_unconfirmed", "current", "previous")

    def __init__(self) -> None:
        self.current: TransportKey | None = None
        """What we seal with; None before the first handshake and after a long silence."""
        self.previous: TransportKey | None = None
        """The one before, for datagrams still on their way."""
        self._unconfirmed: list[TransportKey] = []

    def __iter__(self) -> Iterator[TransportKey]:
        """Every key pair under which datagrams may arrive."""
        if self.current is not None:
            yield self.current
        if self.previous is not None:
            yield self.previous
        yield from self._unconfirmed

    @property
    def local_ids(self) -> list[int]:
        """The session ids under which datagrams may arrive."""
        return [key.local_id for key in self]

    def install(self, key: TransportKey) -> list[TransportKey]:
        """Seal with `key` from now on: the initiator's step once it has read the response."""
        forgotten = [] if self.previous is None else [self.previous]
        self.previous = self.current
        self.current = key
        return forgotten

    def await_confirmation(self, key: TransportKey) -> list[TransportKey]:
        """Open with `key`, but do not seal yet: the responder's step once it has answered."""
        self._unconfirmed.append(key)
        if len(self._unconfirmed) <= MAX_UNCONFIRMED:
            return []
        return [self._unconfirmed.pop(0)]

    def confirm(self, key: TransportKey) -> list[TransportKey]:
        """Note that an authentic datagram came under `key`; seal with it if it was waiting.

        Unconfirmed keys older than it belong to handshakes the initiator gave up, or to replays,
        and are forgotten. Younger ones may be the initiator's next attempt and stay.
        """
        if key not in self._unconfirmed:
            return []
        position = self._unconfirmed.index(key)
        forgotten = self._unconfirmed[:position]
        del self._unconfirmed[: position + 1]
        return forgotten + self.install(key)

    def expire(self, now: float) -> list[TransportKey]:
        """Forget the keys whose time is over."""
        forgotten = [key for key in self if key.reject_at <= now]
        if forgotten:
            self._unconfirmed = [key for key in self._unconfirmed if key not in forgotten]
            if self.current in forgotten:
                self.current = None
            if self.previous in forgotten:
                self.previous = None
        return forgotten

    def deadline(self) -> float | None:
        """Return when `expire` has something to do; None if there are no keys."""
        return min((key.reject_at for key in self), default=None)
