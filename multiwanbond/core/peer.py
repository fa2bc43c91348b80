"""A configured far end: the bond with it, the bond about to replace that, and our calls for one."""

from collections.abc import Callable
from typing import Final

from multiwanbond.core.bond import Bond
from multiwanbond.core.burst import Burst
from multiwanbond.core.compression import ZSTD
from multiwanbond.core.datagram import Address, LinkChange, LinkUp, Transmit
from multiwanbond.core.events import BondClosed, BondOpened, CloseReason, Event
from multiwanbond.core.gatekeeper import Admission
from multiwanbond.core.handshake import BOND_ID_SIZE, Answer, Offer, TransportSecrets, choose_cipher
from multiwanbond.core.keys import TransportKey
from multiwanbond.core.opening import Opening
from multiwanbond.core.seen import SEEN
from multiwanbond.core.sessions import SessionTable
from multiwanbond.core.settings import EndpointSettings, PeerSettings
from multiwanbond.core.statistics import PeerStatistics
from multiwanbond.core.timers import earliest
from multiwanbond.core.wire import CookieReply, Response, encode_response
from multiwanbond.errors import DatagramError, DropReason

REOPEN_AFTER: Final = 1.0
"""Seconds without any usable path after which the initiator asks for new keys: the peer may have
restarted and no longer know the old ones. Asking is harmless if it has not."""
FEATURES: Final = ZSTD | SEEN
"""All optional parts of the protocol that we speak."""
MAX_CANDIDATES: Final = 4
"""Bonds a peer may have asked for without having used one yet; the oldest goes first."""


class Session:
    """What a session id of ours names: a key of a bond, or (key None) a call not yet answered."""

    __slots__ = ("bond", "key", "peer")

    def __init__(self, peer: "Peer", bond: Bond | None, key: TransportKey | None) -> None:
        self.peer = peer
        self.bond = bond
        self.key = key


class Peer:
    """Keeps at most one bond with one far end, and replaces it without a gap."""

    def __init__(
        self,
        settings: PeerSettings,
        endpoint: EndpointSettings,
        sessions: SessionTable[Session],
        entropy: Callable[[int], bytes],
        now: float,
    ) -> None:
        self.settings = settings
        self.bond: Bond | None = None
        self.events: list[Event] = []
        self.transmits: list[Transmit] = []
        """Handshake messages to send."""
        self._endpoint = endpoint
        self._sessions = sessions
        self._entropy = entropy
        self._candidates: dict[bytes, Bond] = {}
        self._opening: Opening | None = None
        self._links: dict[int, Address] = {}
        self._handshakes = 0
        self._unsendable_packets = 0
        self._unusable_since: float | None = now
        self._opened_at = now
        self._is_closed = False
        self._is_removed = False

    def handle_bursts(self, bursts: list[Burst], now: float) -> None:
        """Send inner packets over the bond; without one they are dropped and counted."""
        if self.bond is not None:
            self.bond.handle_bursts(bursts, now)
        else:
            self._unsendable_packets += sum(burst.segment_count for burst in bursts)

    # --- the initiator's side

    def handle_link_change(self, wan_id: int, change: LinkChange, now: float) -> None:
        """A WAN came or went; a call under way and the bond's path follow it."""
        if isinstance(change, LinkUp):
            if self._endpoint.wan(wan_id) is None:
                return  # taken out of the configuration meanwhile
            self._links[wan_id] = change.remote
            if self._opening is not None:
                self.transmits += self._opening.on_link_up(wan_id, change.remote, now)
        else:
            self._links.pop(wan_id, None)
        if self.bond is not None:
            self.bond.handle_link_change(wan_id, change, now)

    @property
    def _may_call(self) -> bool:
        return self.settings.is_initiator and self._opening is None and not self._is_closed

    def _call_if_needed(self, now: float) -> None:
        """Open a call when there is no bond, its key is old, or nothing gets through."""
        if not self._may_call:
            return
        call_at = self._call_at()
        if call_at is None or now < call_at:
            return
        bond_id = self.bond.bond_id if self.bond else self._entropy(BOND_ID_SIZE)
        costs = self._endpoint.cipher_costs
        offer = Offer(
            bond_id=bond_id,
            inner_mtu=self._endpoint.inner_mtu,
            features=FEATURES,
            aes_gcm_ns=costs.aes_gcm_ns,
            chacha20_ns=costs.chacha20_ns,
        )
        self._opening = Opening(
            self.settings, offer, self._endpoint.private_key, self._entropy, now
        )

    def _call_at(self) -> float | None:
        """When keys should be asked for; a time that has passed means now."""
        if self.bond is None or self.bond.keys.current is None:
            return 0.0
        rekey_at = self.bond.keys.current.rekey_at
        if self._unusable_since is None:
            return rekey_at
        # Counted from the last answer too: new keys that do not help are not asked for in a storm.
        return min(rekey_at, max(self._unusable_since, self._opened_at) + REOPEN_AFTER)

    def _attempt_if_due(self, now: float) -> None:
        opening = self._opening
        if opening is None or now < opening.next_at:
            return
        before = set(opening.session_ids)
        session_id = self._sessions.add(Session(self, None, None))
        self.transmits += opening.start_attempt(session_id, self._links, now)
        self._sessions.discard(before - set(opening.session_ids))

    def handle_response_untrusted(self, response: Response, now: float) -> None:
        """The peer agreed: the bond gets its new key, or begins."""
        opening = self._opening
        if opening is None:
            raise DatagramError(DropReason.UNKNOWN_SESSION)
        answer, secrets = opening.handle_response_untrusted(response)
        self._sessions.discard(set(opening.session_ids) - {response.receiver})
        self._opening = None
        bond = self.bond
        if bond is None or not answer.is_resumed or bond.bond_id != answer.bond_id:
            if bond is not None:
                self._end(bond, CloseReason.REPLACED)
            bond = self._begin(answer.bond_id, answer.inner_mtu, now)
            for wan_id, remote in self._links.items():
                bond.handle_link_change(wan_id, LinkUp(remote=remote), now)
        key = self._key(secrets, answer, response.receiver, response.sender, now)
        bond.install_key(key)
        self._sessions.replace(response.receiver, Session(self, bond, key))
        self._opened(bond, key, is_resumed=answer.is_resumed, now=now)

    def handle_cookie_untrusted(self, reply: CookieReply, wan_id: int, now: float) -> None:
        """The peer is under load and wants this WAN's address proved."""
        if self._opening is None:
            raise DatagramError(DropReason.UNKNOWN_SESSION)
        self._opening.handle_cookie_untrusted(reply, wan_id, now)

    # --- the responder's side

    def admit(self, admission: Admission, now: float) -> bytes:
        """Return the response (without MACs) to an authentic initiation.

        The bond it asks for changes nothing until a datagram under its key proves that the
        initiation was no replay (see `confirm`).
        """
        offer = admission.offer
        bond = self.bond
        is_resumed = bond is not None and bond.bond_id == offer.bond_id
        if bond is None or not is_resumed:
            bond = self._candidate(offer, now)
        answer = Answer(
            bond_id=offer.bond_id,
            is_resumed=is_resumed,
            inner_mtu=bond.inner_mtu,
            features=offer.features & FEATURES,
            cipher=choose_cipher(offer, self._endpoint.cipher_costs),
        )
        noise, secrets = admission.responder.write(answer, self.settings.preshared_key)
        session = Session(self, bond, None)
        session_id = self._sessions.add(session)
        session.key = self._key(secrets, answer, session_id, admission.session_id, now)
        bond.await_confirmation(session.key)
        self._forget_keys(bond)
        return encode_response(Response(session_id, admission.session_id, noise))

    def _candidate(self, offer: Offer, now: float) -> Bond:
        bond = self._candidates.get(offer.bond_id)
        if bond is not None:
            return bond
        if len(self._candidates) == MAX_CANDIDATES:
            self._drop(self._candidates.pop(next(iter(self._candidates))))
        inner_mtu = min(offer.inner_mtu, self._endpoint.inner_mtu)
        bond = Bond(self.settings, offer.bond_id, inner_mtu, self._endpoint, now)
        self._candidates[offer.bond_id] = bond
        return bond

    def on_confirmed(self, bond: Bond, key: TransportKey, now: float) -> None:
        """The peer has used a key for the first time: its bond, if new, is the bond from now on."""
        is_resumed = bond is self.bond
        if not is_resumed:
            if self.bond is not None:
                self._end(self.bond, CloseReason.REPLACED)
            self._candidates.pop(bond.bond_id, None)
            for stale in self._candidates.values():
                self._drop(stale)
            self._candidates.clear()
            self.bond = bond
        self._opened(bond, key, is_resumed=is_resumed, now=now)

    # --- both sides

    def _begin(self, bond_id: bytes, inner_mtu: int, now: float) -> Bond:
        inner_mtu = min(inner_mtu, self._endpoint.inner_mtu)
        self.bond = Bond(self.settings, bond_id, inner_mtu, self._endpoint, now)
        return self.bond

    def _key(
        self, secrets: TransportSecrets, answer: Answer, local_id: int, remote_id: int, now: float
    ) -> TransportKey:
        return TransportKey(
            secrets,
            answer.cipher,
            local_id=local_id,
            remote_id=remote_id,
            now=now,
            features=answer.features & FEATURES,
        )

    def _opened(self, bond: Bond, key: TransportKey, *, is_resumed: bool, now: float) -> None:
        self._handshakes += 1
        self._opened_at = now
        self._forget_keys(bond)
        self.events.append(
            BondOpened(
                peer=self.settings.name,
                is_resumed=is_resumed,
                cipher=key.cipher.name,
                inner_mtu=bond.paths.inner_mtu.in_force,
            )
        )

    def _forget_keys(self, bond: Bond) -> None:
        self._sessions.discard(bond.forgotten_ids)
        bond.forgotten_ids.clear()

    def _drop(self, bond: Bond) -> None:
        """Forget a bond and every session id that names one of its keys."""
        self._sessions.discard([*bond.forgotten_ids, *bond.keys.local_ids])

    def _end(self, bond: Bond, reason: CloseReason) -> None:
        self.events += bond.paths.events
        bond.paths.events.clear()
        self._drop(bond)
        self.bond = None
        self.events.append(BondClosed(peer=self.settings.name, reason=reason))

    def reconfigure(self, settings: PeerSettings, endpoint: EndpointSettings, now: float) -> None:
        """Follow new settings of the peer and of this end; keys in use stay in use."""
        if self._opening is not None and settings.preshared_key != self.settings.preshared_key:
            self._sessions.discard(self._opening.session_ids)
            self._opening = None  # a call with the old secret would not be understood
        self.settings = settings
        self._endpoint = endpoint
        self._links = {wan: remote for wan, remote in self._links.items() if endpoint.wan(wan)}
        for bond in (self.bond, *self._candidates.values()):
            if bond is not None:
                bond.reconfigure(settings, endpoint, now)

    def remove(self, now: float) -> None:
        """Say that the peer is configured no more, and forget its keys; poll and send once more."""
        self.close(CloseReason.REMOVED, now)
        self._is_removed = True
        for bond in (self.bond, *self._candidates.values()):
            if bond is not None:
                self._drop(bond)
        self._candidates.clear()
        if self.bond is not None:
            self.events.append(BondClosed(peer=self.settings.name, reason=CloseReason.REMOVED))

    def after(self, now: float) -> None:
        """Draw the consequences of whatever was just handled; call it before polling."""
        if self._is_removed:
            return
        bond = self.bond
        if bond is not None and bond.closed_by_peer is not None:
            self._end(bond, bond.closed_by_peer)
        elif bond is not None and bond.is_silent(now):
            self._end(bond, CloseReason.SILENT)
        bond = self.bond
        if bond is not None:
            self.events += bond.paths.events
            bond.paths.events.clear()
        if bond is not None and bond.paths.is_usable:
            self._unusable_since = None
        elif self._unusable_since is None:
            self._unusable_since = now
        if bond is not None:
            bond.drain(now)
        self._call_if_needed(now)
        self._attempt_if_due(now)

    def handle_timeout(self, now: float) -> None:
        """Let bond and candidates do what is due."""
        if self.bond is not None:
            self.bond.handle_timeout(now)
            self._forget_keys(self.bond)
        for bond_id, bond in list(self._candidates.items()):
            bond.expire_keys(now)
            self._forget_keys(bond)
            if not bond.keys.local_ids:
                del self._candidates[bond_id]

    def close(self, reason: CloseReason, now: float) -> None:
        """Tell the peer that the bond ends, and call no more."""
        if self._opening is not None:
            self._sessions.discard(self._opening.session_ids)
        self._opening = None
        self._is_closed = True
        if self.bond is not None:
            self.bond.close(reason.value, now)

    def deadline(self) -> float | None:
        """When `handle_timeout` is due."""
        if self._is_removed:
            return None
        return earliest(
            [
                self.bond.deadline() if self.bond else None,
                self._opening.next_at if self._opening else None,
                self._call_at() if self._may_call else None,
                *(bond.keys.deadline() for bond in self._candidates.values()),
            ]
        )

    def statistics(self, now: float) -> PeerStatistics:
        """Return a snapshot."""
        if self.bond is not None:
            return self.bond.statistics(self._handshakes, now)
        return PeerStatistics(
            name=self.settings.name,
            public_key=self.settings.public_key,
            is_connected=False,
            connected_since=None,
            cipher=None,
            inner_mtu=None,
            handshakes=self._handshakes,
            sent_packets=0,
            sent_bytes=0,
            received_packets=0,
            received_bytes=0,
            repaired_packets=0,
            copied_packets=0,
            compressed_packets=0,
            saved_bytes=0,
            parity_datagrams=0,
            recovered_packets=0,
            queued_bytes=0,
            shed_packets=0,
            unsendable_packets=self._unsendable_packets,
            paths=(),
            reorder=None,
        )
