"""The whole protocol as a calculator: told what happened, asked what to do.

The contract. Every method takes `now`, seconds on the caller's own monotonic clock; calls must not
go back in time. There are four kinds:

- `handle_*` says what happened: packets to send, datagrams received, a WAN that came or went, time
  that passed. None of them blocks, calls back, or raises because of what the network sent.
- `poll_*` says what the caller must now do. After every `handle_*` (and after `close`) poll all of
  them: `poll_transmit` and `poll_deliver` for work, `poll_event` until None, then `poll_timeout`
  for the time at which `handle_timeout` is due. What is polled belongs to the core until the next
  call into it: send or copy it first.
- `reconfigure` and `close` are what the operator wants.
- `statistics` and `room` look and change nothing.

`Endpoint` only dispatches: by inner destination to a peer, by session id to a key, by type to a
handshake. What a bond does is in `bond`, how one begins in `peer`.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import ip_network
from typing import Final

from multiwanbond.core.burst import Burst
from multiwanbond.core.cookie import MacStamper
from multiwanbond.core.datagram import Address, LinkChange, Received, Transmit
from multiwanbond.core.events import CloseReason, Event, GroupsChanged
from multiwanbond.core.gatekeeper import Gatekeeper
from multiwanbond.core.ip import destination
from multiwanbond.core.multicast import Multicast
from multiwanbond.core.peer import Peer, Session
from multiwanbond.core.prefixes import PrefixMap
from multiwanbond.core.sessions import SessionTable
from multiwanbond.core.settings import EndpointSettings, PeerSettings, Prefix
from multiwanbond.core.statistics import EndpointStatistics
from multiwanbond.core.timers import DeadlineQueue
from multiwanbond.core.wire import (
    MIN_DATAGRAM,
    TRANSPORT_TYPES,
    DatagramType,
    datagram_type_untrusted,
    decode_cookie_reply_untrusted,
    decode_response_untrusted,
)
from multiwanbond.errors import DatagramError, DropReason

_GROUPS: Final = (ip_network("224.0.0.0/4"), ip_network("ff00::/8"))


class Endpoint:
    """One end of any number of bonds, without a socket, a clock or a task.

    Args:
        settings: who we are and whom we talk to.
        entropy: returns so many unpredictable bytes (`os.urandom`; seeded in simulations).
        now: the caller's clock.
    """

    def __init__(
        self, settings: EndpointSettings, *, entropy: Callable[[int], bytes], now: float
    ) -> None:
        self._settings = settings
        self._entropy = entropy
        self._sessions: SessionTable[Session] = SessionTable(entropy)
        self._gatekeeper = Gatekeeper(settings.private_key, entropy, now)
        self._peers = {
            peer.public_key: Peer(peer, settings, self._sessions, entropy, now)
            for peer in settings.peers
        }
        self._multicast = Multicast()
        self._multicast.is_enabled = settings.multicast_enabled
        self._routes = self._make_routes()
        self._deadlines: DeadlineQueue[Peer] = DeadlineQueue()
        self._touched: set[Peer] = set(self._peers.values())
        self._replies: list[Transmit] = []
        self._deliveries: list[Burst] = []
        self._events: deque[Event] = deque()
        self._dropped: Counter[DropReason] = Counter()
        self._unroutable_packets = 0
        self._now = now
        self._settle(now)

    @property
    def settings(self) -> EndpointSettings:
        """What is in force."""
        return self._settings

    def _make_routes(self) -> PrefixMap[Peer | Multicast]:
        unicast: list[tuple[Prefix, Peer | Multicast]] = [
            (prefix, peer) for peer in self._peers.values() for prefix in peer.settings.allowed_ips
        ]
        return PrefixMap([*unicast, *((prefix, self._multicast) for prefix in _GROUPS)])

    # --- what happened

    def handle_bursts(self, bursts: Sequence[Burst], now: float) -> None:
        """Send inner packets, each to the peer its destination belongs to.

        One to a multicast group goes to every peer that wants the group.
        """
        lookup = self._routes.lookup
        batches: dict[Peer, list[Burst]] = {}
        to_groups: list[Burst] = []
        for burst in bursts:
            peer = lookup(destination(burst.packet))
            if peer is None:
                self._unroutable_packets += burst.segment_count
            elif isinstance(peer, Multicast):
                to_groups.append(burst)
            else:
                batches.setdefault(peer, []).append(burst)
        if to_groups:
            self._multicast.handle_bursts(to_groups, batches, now)
        for peer, batch in batches.items():
            peer.handle_bursts(batch, now)
            self._touched.add(peer)
        self._settle(now)

    def handle_datagrams(self, wan_id: int, received: Sequence[Received], now: float) -> None:
        """Take datagrams from a WAN's socket; whatever is wrong with one is counted by reason."""
        for item in received:
            view = memoryview(item.data)
            size = item.segment_size or len(view) or 1
            start = self._handle_run(wan_id, view, 0, size, item, now)
            while start < len(view):
                start = self._handle_run(wan_id, view, start, size, item, now)
        self._settle(now)

    def handle_link_change(self, wan_id: int, change: LinkChange, now: float) -> None:
        """Follow a WAN of ours that came, went, or now leads to another address of the server."""
        for peer in self._peers.values():
            if peer.settings.is_initiator:
                peer.handle_link_change(wan_id, change, now)
                self._touched.add(peer)
        self._settle(now)

    def handle_refused(self, wan_id: int, destination: Address, octets: int, now: float) -> None:
        """Send no datagrams of so many bytes there: they do not fit the interface of that WAN.

        What is sent in their place leaves with the next `poll_transmit`, at `poll_timeout`.
        """
        for peer in self._peers.values():
            if peer.bond is not None and peer.bond.paths.on_refused(
                wan_id, destination, octets, now
            ):
                self._deadlines.set(peer, peer.deadline())

    def handle_wishes(self, groups: Iterable[bytes], now: float) -> None:
        """Hosts on our side want packets to these multicast groups, and to no others."""
        self._multicast.want(groups, self._peers.values(), now)
        self._touched.update(self._peers.values())
        self._settle(now)

    def handle_timeout(self, now: float) -> None:
        """Do what has become due; calling it early or late is harmless."""
        for peer in self._deadlines.pop_due(now):
            peer.handle_timeout(now)
            self._touched.add(peer)
        self._settle(now)

    # --- what the operator wants

    def reconfigure(self, settings: EndpointSettings, now: float) -> None:
        """Follow new settings without losing a packet.

        Peers and WANs may come and go: a peer that is gone hears so, and a WAN that is gone is used
        no more from now on; keep its socket until `has_left`, then say `LinkDown`.

        Args:
            settings: in force from now on. The private key, the inner MTU, and whether we call a
                peer or it us, are those of the start: another of these takes another endpoint.
            now: the caller's clock.
        """
        assert settings.private_key == self._settings.private_key
        assert settings.inner_mtu == self._settings.inner_mtu
        self._settings = settings
        before = self._peers
        self._peers = {
            peer.public_key: self._reconfigured(before.get(peer.public_key), peer, now)
            for peer in settings.peers
        }
        for public_key, peer in before.items():
            if public_key not in self._peers:
                peer.remove(now)
                self._touched.add(peer)  # for its last words
        self._multicast.is_enabled = settings.multicast_enabled
        self._routes = self._make_routes()
        self._touched.update(self._peers.values())
        self._settle(now)

    def _reconfigured(self, peer: Peer | None, settings: PeerSettings, now: float) -> Peer:
        if peer is None:
            return Peer(settings, self._settings, self._sessions, self._entropy, now)
        assert settings.is_initiator == peer.settings.is_initiator
        peer.reconfigure(settings, self._settings, now)
        return peer

    def has_left(self, wan_id: int, now: float) -> bool:
        """Say whether by a WAN that leaves, or was left out, nothing more is to be expected."""
        return all(
            peer.bond is None or peer.bond.paths.has_left(wan_id, now)
            for peer in self._peers.values()
            if peer.settings.is_initiator
        )

    def close(self, now: float) -> None:
        """Say goodbye to every peer; poll and send once more, then drop the endpoint."""
        for peer in self._peers.values():
            peer.close(CloseReason.SHUT_DOWN, now)
        self._touched.update(self._peers.values())
        self._settle(now)

    # --- what to do now

    def poll_transmit(self) -> Iterator[Transmit]:
        """Yield what must be sent: runs of datagrams, each to one address by one WAN."""
        replies, self._replies = self._replies, []
        yield from replies
        touched, self._touched = self._touched, set()
        for peer in touched:
            if peer.bond is not None:
                yield from peer.bond.poll_transmit()

    def poll_deliver(self) -> Sequence[Burst]:
        """Return what must be written to the TUN device, in order."""
        deliveries, self._deliveries = self._deliveries, []
        return deliveries

    def poll_event(self) -> Event | None:
        """Return the next thing the operator may want to know, or None."""
        return self._events.popleft() if self._events else None

    def poll_timeout(self) -> float | None:
        """Return when `handle_timeout` is due on the caller's clock; None for never."""
        return self._deadlines.earliest()

    def room(self, public_key: bytes) -> int:
        """Return how many bytes of packets a peer's bond takes without shedding any.

        0 means to wait: for a bond, for a path, or for what waits in the bond to leave. Whoever
        hands over more loses some of it, as behind any full queue.
        """
        peer = self._peers.get(public_key)
        return 0 if peer is None or peer.bond is None else peer.bond.room

    def statistics(self) -> EndpointStatistics:
        """Return a snapshot of everything counted."""
        return EndpointStatistics(
            peers=tuple(peer.statistics(self._now) for peer in self._peers.values()),
            dropped=dict(self._dropped),
            unroutable_packets=self._unroutable_packets,
            multicast=self._multicast.statistics(),
        )

    # --- dispatch

    def _handle_run(
        self, wan_id: int, view: memoryview, start: int, size: int, received: Received, now: float
    ) -> int:
        """Take the datagram at `start`, and those behind it that are under the same key.

        Returns:
            Where the next datagram lies.
        """
        datagram = view[start : start + size]
        try:
            if len(datagram) < MIN_DATAGRAM:
                raise DatagramError(DropReason.TOO_SHORT)
            if datagram[0] >> 4 not in TRANSPORT_TYPES:
                self._handle_handshake(wan_id, datagram, received, now)
                return start + size
            session = self._session(datagram[2] << 8 | datagram[3])
            bond, key = session.bond, session.key
            if bond is None or key is None:
                raise DatagramError(DropReason.UNKNOWN_SESSION)
        except DatagramError as error:
            self._dropped[error.reason] += 1
            return start + size
        start = bond.handle_run(view, start, size, key, received, wan_id, self._dropped, now)
        if bond.confirmed_key is not None:
            session.peer.on_confirmed(bond, bond.confirmed_key, now)
            bond.confirmed_key = None
        self._touched.add(session.peer)
        return start

    def _handle_handshake(
        self, wan_id: int, view: memoryview, received: Received, now: float
    ) -> None:
        match datagram_type_untrusted(view[0]):
            case DatagramType.INITIATION:
                self._handle_initiation(wan_id, view, received, now)
            case DatagramType.RESPONSE:
                response = decode_response_untrusted(view)
                self._gatekeeper.check_response_untrusted(view)
                peer = self._session(response.receiver).peer
                peer.handle_response_untrusted(response, now)
                self._touched.add(peer)
            case DatagramType.COOKIE:
                reply = decode_cookie_reply_untrusted(view)
                peer = self._session(reply.receiver).peer
                peer.handle_cookie_untrusted(reply, wan_id, now)
                self._touched.add(peer)

    def _session(self, session_id: int) -> Session:
        session = self._sessions.get(session_id)
        if session is None:
            raise DatagramError(DropReason.UNKNOWN_SESSION)
        return session

    def _handle_initiation(
        self, wan_id: int, view: memoryview, received: Received, now: float
    ) -> None:
        try:
            admission = self._gatekeeper.examine_untrusted(view, received.source, now)
        except DatagramError as error:
            if error.reason is DropReason.COOKIE_REQUIRED:
                demand = self._gatekeeper.cookie_reply(view, received.source, now)
                self._reply(demand, wan_id, received)
            raise
        if isinstance(admission, bytes):
            self._reply(admission, wan_id, received)
            return
        peer = self._peers.get(admission.peer_public_key)
        if peer is None:
            raise DatagramError(DropReason.UNKNOWN_PEER)
        stamper = MacStamper(admission.peer_public_key)
        response = stamper.stamp(peer.admit(admission, now), now)
        self._gatekeeper.remember(admission, response, now)
        self._reply(response, wan_id, received)
        self._touched.add(peer)

    def _reply(self, data: bytes, wan_id: int, received: Received) -> None:
        self._replies.append(
            Transmit(data, received.source, wan_id=wan_id, local_host=received.local_host)
        )

    def _settle(self, now: float) -> None:
        """Draw the consequences of a call for every peer it touched."""
        self._now = now
        for peer in self._touched:
            self._settle_peer(peer, now)
        # Once more for those that get what another has sent; each packet is passed on only once.
        while relays := self._multicast.take_relays():
            for peer, bursts in relays.items():
                peer.handle_bursts(bursts, now)
                self._touched.add(peer)
                self._settle_peer(peer, now)

    def _settle_peer(self, peer: Peer, now: float) -> None:
        peer.after(now)
        multicast = self._multicast
        if multicast.is_enabled and multicast.follow(peer, self._peers.values(), now):
            self._events.append(GroupsChanged(groups=multicast.wanted))
            for each in self._peers.values():
                self._deadlines.set(each, each.deadline())  # it has something to ask for
        if peer.bond is not None:
            delivered = peer.bond.poll_deliver(now)
            if delivered and multicast.is_enabled:
                delivered = multicast.on_delivered(peer, delivered, now)
            self._deliveries += delivered
            self._dropped[DropReason.MALFORMED] += peer.bond.take_malformed()
        self._replies += peer.transmits
        peer.transmits.clear()
        self._events.extend(peer.events)
        peer.events.clear()
        self._deadlines.set(peer, peer.deadline())
