"""The authenticated session with one peer over all paths.

`Bond` composes the files around it and decides nothing itself: which key counts is `keys`' affair,
which path `scheduling`'s, what order `reorder`'s, whether a path is alive `path`'s.
"""

from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from typing import Final

from multiwanbond.core import train
from multiwanbond.core.bond_statistics import statistics_of
from multiwanbond.core.burst import Burst
from multiwanbond.core.datagram import LinkChange, LinkDown, LinkLeaving, LinkUp, Received, Transmit
from multiwanbond.core.dispatch import Dispatch
from multiwanbond.core.events import CloseReason, close_reason
from multiwanbond.core.fec.shards import RESERVED
from multiwanbond.core.feedback import Feedback, ack_of, quickest
from multiwanbond.core.frames import (
    Abandon,
    Ack,
    Close,
    Frame,
    Groups,
    Leave,
    Probe,
    ProbeReply,
    Seen,
    Terms,
    Train,
    TrainReport,
    View,
    decode_frames_untrusted,
)
from multiwanbond.core.groups import Wishes
from multiwanbond.core.inbound import Inbound
from multiwanbond.core.inner_mtu import InnerMtu
from multiwanbond.core.keys import KeyRing, TransportKey
from multiwanbond.core.path import Path
from multiwanbond.core.path_state import PathState
from multiwanbond.core.paths import PathSet
from multiwanbond.core.pmtu import FIRST_ID
from multiwanbond.core.rtt import DelayClock
from multiwanbond.core.seen import beside_view
from multiwanbond.core.segments import SEGMENT
from multiwanbond.core.settings import EndpointSettings, PeerSettings
from multiwanbond.core.statistics import PeerStatistics
from multiwanbond.core.timers import earliest
from multiwanbond.core.wire import (
    NONCE,
    OVERHEAD,
    SEQUENCE_BITS,
    TRANSPORT_HEADER,
    TRANSPORT_TYPES,
    DatagramType,
    expand,
)
from multiwanbond.errors import DatagramError, DropReason

_DATA: Final = DatagramType.DATA.value
_PARITY: Final = DatagramType.PARITY.value
CALM_AFTER: Final = 0.1
"""Seconds without an inner packet after which a train meets none of them."""
IDLE_AFTER: Final = 5.0
"""Seconds without an inner packet after which probing slows down."""
SILENCE_LIMIT: Final = 180.0
"""Seconds without an authentic datagram after which the bond is forgotten: no key outlives it."""


class Bond:
    """One peer's paths, keys, flows and order, from the first handshake until silence or close."""

    def __init__(
        self,
        peer: PeerSettings,
        bond_id: bytes,
        inner_mtu: int,
        settings: EndpointSettings,
        now: float,
    ) -> None:
        self.peer = peer
        self.bond_id = bond_id
        self.inner_mtu = inner_mtu
        """What both ends agreed on; what is in force may be less, see `paths.inner_mtu`."""
        self.keys = KeyRing()
        reserve = RESERVED if settings.fec.enabled else 0
        self.paths = PathSet(peer, InnerMtu(inner_mtu, reserve))
        self.wishes = Wishes()
        """Which multicast groups either end wants."""
        self.opened_at = now
        self.closed_by_peer: CloseReason | None = None
        """The reason the peer gave in a close frame."""
        self.forgotten_ids: list[int] = []
        """Session ids of keys that are gone, for the owner to drop from its table."""
        self.confirmed_key: TransportKey | None = None
        """The key the peer has just used for the first time, for the owner to take away."""
        self._inbound = Inbound(peer, settings.reorder, inner_mtu)
        self._dispatch = Dispatch(settings)
        self._delay_clock = DelayClock()
        self._settings = settings
        self._feedback = Feedback()
        self._last_packet_at = now
        self._heard_at = now

    # --- paths

    def handle_link_change(self, wan_id: int, change: LinkChange, now: float) -> None:
        """A WAN of ours (the initiator's end) came or went; its path follows."""
        path = self.paths.by_id.get(wan_id)
        match change:
            case LinkUp():
                limits = self._settings.wan(wan_id)
                if limits is not None:
                    self.paths.link_up(wan_id, change, limits, now)
            case LinkLeaving() if path is not None:
                self._leave(path, now)
            case LinkDown() if path is not None:
                path.on_link_lost(now)
                self._settle_paths()
                self._abandon(path, now)
        self._settle_paths()

    def _leave(self, path: Path, now: float) -> None:
        """Take a path of ours out of the bond; the peer hears of it by the others, too."""
        if not path.is_leaving:
            path.leave(now)
            self._settle_paths()
            for way in quickest(self.paths.sendable):
                self._send_frames(way, [Leave(path.path_id)], now)

    def reconfigure(self, peer: PeerSettings, settings: EndpointSettings, now: float) -> None:
        """Follow new settings; what waits, is under way or is held stays what it is."""
        self.peer = peer
        self._dispatch.reconfigure(settings, self._settings)
        self._settings = settings
        self._inbound.reconfigure(peer, settings.reorder)
        for path in self.paths.reconfigure(peer, settings, now):
            self._leave(path, now)
        self._settle_paths()

    def _settle_paths(self) -> None:
        if self.paths.settle():
            self._dispatch.use(self.paths.sendable)
        self._dispatch.largest = self.paths.largest

    # --- keys

    def install_key(self, key: TransportKey) -> None:
        """Seal with `key` from now on (the initiator's side)."""
        self._forget(self.keys.install(key))

    def await_confirmation(self, key: TransportKey) -> None:
        """Open with `key`, and seal with it once the peer has used it (the responder's side)."""
        self._forget(self.keys.await_confirmation(key))

    def expire_keys(self, now: float) -> None:
        """Forget the keys whose time is over."""
        self._forget(self.keys.expire(now))

    def _forget(self, keys: Iterable[TransportKey]) -> None:
        self.forgotten_ids += (key.local_id for key in keys)

    # --- sending

    def handle_bursts(self, bursts: Iterable[Burst], now: float) -> None:
        """Send inner packets, or let them wait for their turn."""
        self._last_packet_at = now
        self._dispatch.handle_bursts(bursts, self.keys.current, now)

    def drain(self, now: float) -> None:
        """Let leave what waits, as far as the paths have credit; call it before polling."""
        self._dispatch.drain(self.keys.current, now)

    @property
    def room(self) -> int:
        """Bytes of inner packets that may come now without any being shed; 0: none can leave."""
        return self._dispatch.room if self.keys.current is not None else 0

    def _send_frames(
        self, path: Path, frames: Sequence[Frame], now: float, *, size: int = 0
    ) -> None:
        key = self.keys.current
        if key is not None and path.has_link:
            self._dispatch.outbound.send_frames(frames, path, key, now, size=size)

    def _send_wanted_train(self, path: Path, now: float) -> None:
        """Send a train if one is wanted, and so large that what leaves then will fit."""
        is_calm = now - self._last_packet_at > CALM_AFTER
        size = path.mtu.train_size
        if path.is_usable and size and path.train.take_wish(now, is_idle=is_calm):
            self._send_train(path, min(size, self.inner_mtu + OVERHEAD), now)

    def _send_train(self, path: Path, size: int, now: float) -> None:
        """Send full datagrams back to back; their spread on arrival tells the line's rate."""
        first = path.ledger.next_sequence
        path.train.on_sent(first, first + train.LENGTH - 1)
        for _ in range(train.LENGTH):
            frames = [Train(path.train.train_id)]
            self._send_frames(path, frames, now, size=size)

    def close(self, reason: int, now: float) -> None:
        """Tell the peer on every path that this bond ends."""
        for path in self.paths:
            self._send_frames(path, [Close(reason)], now)

    # --- receiving

    def handle_run(
        self,
        view: memoryview,
        start: int,
        size: int,
        key: TransportKey,
        received: Received,
        wan_id: int,
        dropped: MutableMapping[DropReason, int],
        now: float,
    ) -> int:
        """Open transport datagrams that lie end to end, and act on each.

        Args:
            view: one socket read.
            start: where the first one lies; it is a transport datagram under `key`.
            size: bytes of each but perhaps the last.
            key: the key it names.
            received: where the read came from and went to.
            wan_id: the socket it was read from.
            dropped: counts those that are REPLAYED, FORGED, MALFORMED, ... under their reasons.
            now: the caller's clock.

        Returns:
            Where the first datagram lies that is none of this key's; the end if all were.
        """
        session = key.local_id.to_bytes(2, "big")
        open_untrusted = self._open_untrusted
        end = len(view)
        one_by_one = start  # what lies before belongs to a run that cannot be opened as one
        while start < end:
            datagram = view[start : start + size]
            if datagram[2:4] != session or datagram[0] >> 4 not in TRANSPORT_TYPES:
                break
            is_run = datagram[0] == SEGMENT and start >= one_by_one and start + size < end
            if is_run and not self._inbound.wants_single_packets:
                count, is_done = self._open_run_untrusted(
                    view, start, size, key, received, wan_id, dropped, now
                )
                one_by_one = start + count * size
                if is_done:
                    start = one_by_one
                    continue
            try:
                open_untrusted(datagram, key, received, wan_id, now)
            except DatagramError as error:
                dropped[error.reason] += 1
            start += size
        return start

    def _open_run_untrusted(
        self,
        view: memoryview,
        start: int,
        size: int,
        key: TransportKey,
        received: Received,
        wan_id: int,
        dropped: MutableMapping[DropReason, int],
        now: float,
    ) -> tuple[int, bool]:
        """Act on all segments of a run that follow each other, unless one of them is special.

        Returns:
            How many they are, and whether they are dealt with: if not, nothing has changed.
        """
        _, path_id, _, low, tail = TRANSPORT_HEADER.unpack_from(view, start)
        path = self.paths.by_id.get(path_id)
        if path is None:
            return 1, False
        sequence = expand(low, SEQUENCE_BITS, path.arrivals.highest)
        if sequence <= path.replay.highest:
            return 1, False
        count, segments = key.open_run_untrusted(view, start, size, sequence)
        if segments is None:
            return count, False
        path.replay.accept_run(sequence, count)
        last = start + (count - 1) * size
        octets = min(last + size, len(view)) - start
        self._on_authentic(path, key, sequence, count, tail, octets, received, wan_id, now)
        self._on_data(path, now)
        number, distance = tail >> 16 & 0xFFFFFF, tail & 0xFFFF
        octets -= count * OVERHEAD
        first = view[last]
        try:
            self._inbound.on_run(path_id, first, number, count, distance, segments, octets, now)
        except DatagramError as error:
            dropped[error.reason] += count
        return count, True

    def _open_untrusted(
        self, datagram: memoryview, key: TransportKey, received: Received, wan_id: int, now: float
    ) -> None:
        """Act on one datagram; nothing changes before its tag is verified."""
        if len(datagram) < OVERHEAD:
            raise DatagramError(DropReason.TOO_SHORT)
        first, path_id, _, low, tail = TRANSPORT_HEADER.unpack_from(datagram)
        path = self.paths.by_id.get(path_id)
        sequence = expand(low, SEQUENCE_BITS, path.arrivals.highest if path else 0)
        if path is not None and not path.replay.is_fresh(sequence):
            raise DatagramError(DropReason.REPLAYED)
        plain = key.open_untrusted(datagram, NONCE.pack(path_id, sequence))
        if path is None:
            path = self.paths.add(path_id, wan_id, self._settings.health, now)
        path.replay.accept(sequence)
        self._on_authentic(path, key, sequence, 1, tail, len(datagram), received, wan_id, now)
        number = tail >> 16 & 0xFFFFFF
        if first >> 4 == _DATA:
            self._on_data(path, now)
            self._inbound.on_packet(path_id, first, number, tail & 0xFFFF, plain, now)
        elif first >> 4 == _PARITY:
            self._feedback.want(path, now)
            self._inbound.on_parity(path_id, number, plain, now)
        else:
            self._inbound.on_note(path_id, number, now)
            self._handle_frames(path, decode_frames_untrusted(plain), len(datagram), now)

    def _on_authentic(
        self,
        path: Path,
        key: TransportKey,
        sequence: int,
        count: int,
        tail: int,
        octets: int,
        received: Received,
        wan_id: int,
        now: float,
    ) -> None:
        """Note datagrams of a path whose tags are right, whatever is in them."""
        if key is not self.keys.current:
            self._confirm(key)
        self._heard_at = now
        if not path.arrivals.on_datagram(sequence, tail >> 40, octets, now, count):
            return
        if path.arrivals.has_gap:
            path.arrivals.has_gap = False
            self._feedback.want_soon(path, now)
        is_elsewhere = (
            received.source is not path.remote or received.local_host is not path.local_host
        )
        if is_elsewhere and self.paths.follow(path, received, wan_id, now):
            self._settle_paths()
        if path.state is PathState.DOWN:
            path.on_arrival(now)

    def _on_data(self, path: Path, now: float) -> None:
        if path not in self._feedback.unreported:
            self._feedback.want(path, now)
        self._last_packet_at = now

    def _confirm(self, key: TransportKey) -> None:
        self._forget(self.keys.confirm(key))
        if self.keys.current is key:
            self.confirmed_key = key

    def _handle_frames(self, path: Path, frames: Iterable[Frame], octets: int, now: float) -> None:
        for frame in frames:
            match frame:
                case Probe():
                    self._answer(path, frame, now)
                case ProbeReply():
                    path.on_probe_reply(frame.probe_id, now)
                    self._send_wanted_train(path, now)
                    if frame.probe_id & FIRST_ID:
                        self.paths.follow_mtu(now)
                case Train():
                    path.arriving_train.on_datagram(frame.train_id, octets, now)
                    self._feedback.want(path, now)
                case TrainReport() if (told := self.paths.by_id.get(frame.path_id)) is not None:
                    told.on_train_report(frame, now)
                case Ack():
                    self._handle_ack(frame, path, now)
                case Terms():
                    path.on_terms(frame)
                case Leave() if (told := self.paths.by_id.get(frame.path_id)) is not None:
                    told.on_leave()
                case Abandon():
                    self._handle_abandon(frame.path_id, now)
                case Close():
                    self.closed_by_peer = close_reason(frame.reason)
                case View():
                    path.peer_view.on_view(frame, now)
                case Seen():
                    path.peer_view.on_seen(frame)
                case Groups():
                    self.wishes.on_frame(frame, now)
        self._settle_paths()

    def _answer(self, path: Path, probe: Probe, now: float) -> None:
        frames: list[Frame] = [ProbeReply(probe.probe_id)]
        if self._is_idle(now) and path.is_probe_near(now):
            frames += self._start_probe(path, now, is_idle=True)
        self._send_frames(path, [*frames, ack_of([path], now)], now)

    def _start_probe(self, path: Path, now: float, *, is_idle: bool) -> list[Frame]:
        frames, key = path.start_probe(now, is_idle=is_idle), self.keys.current
        if path.is_ours or key is None:
            return frames
        return beside_view(frames, path.remote, key.features)

    def _handle_ack(self, ack: Ack, came_by: Path, now: float) -> None:
        for report in ack.paths:
            path = self.paths.by_id.get(report.path_id)
            if path is not None:
                lost = path.on_ack(
                    report, self._delay_clock, now, came_by_this_path=path is came_by
                )
                self._dispatch.repair(lost)
        self._inbound.set_repair_time(self.paths.sendable)

    def _handle_abandon(self, path_id: int, now: float) -> None:
        path = self.paths.by_id.get(path_id)
        if path is not None and path.on_abandoned(now):
            self._settle_paths()
            self._dispatch.repair(path.in_flight.take_all(now))

    def poll_deliver(self, now: float) -> list[Burst]:
        """Return the bursts whose turn has come."""
        return self._dispatch.pass_on(self._inbound.poll_deliver(now), now)

    def take_malformed(self) -> int:
        """Return how many authentic packets turned out to be none since the last call."""
        return self._inbound.take_malformed()

    # --- time

    def _abandon(self, path: Path, now: float) -> None:
        """Let the peer know at once that a path seems dead, and send what it holds elsewhere."""
        if any(other is not path for other in self.paths.sendable):
            # Once more that it leaves, should the peer not have heard of it.
            frames = [Leave(path.path_id)] if path.is_leaving else []
            for way in quickest(self.paths.sendable):
                self._send_frames(way, [*frames, Abandon(path.path_id)], now)
            self._dispatch.repair(path.in_flight.take_all(now))

    def handle_timeout(self, now: float) -> None:
        """Do whatever has become due: feedback, probes, giving up on silent paths, old keys."""
        for path, frames in self._feedback.take(self.paths.sendable, now):
            self._send_frames(path, frames, now)
        is_idle = self._is_idle(now)
        for path in self.paths:
            if not path.has_link:
                continue
            if path.on_time(now):
                self._settle_paths()
                self._abandon(path, now)
            if path.prober.is_due(now):
                frames = self._start_probe(path, now, is_idle=is_idle)
                # On an idle bond the answers tell as much, and bytes count.
                frames += [] if is_idle else [ack_of([path], now)]
                self._send_frames(path, frames, now)
            for probe_id, size in path.start_padded_probes(now):
                self._send_frames(path, [Probe(probe_id)], now, size=size)
        self.paths.follow_mtu(now)
        for wish in self.wishes.take(now):
            for way in quickest(self.paths.sendable):
                self._send_frames(way, [wish], now)
        self.wishes.expire(now)
        self.expire_keys(now)
        self._dispatch.expire_idle(now)
        self._settle_paths()

    def _is_idle(self, now: float) -> bool:
        return now - self._last_packet_at > IDLE_AFTER

    def is_silent(self, now: float) -> bool:
        """Say whether nothing authentic was heard for longer than any key lives."""
        return now - self._heard_at >= SILENCE_LIMIT

    def deadline(self) -> float | None:
        """When `handle_timeout` has something to do next."""
        return earliest(
            [
                self._feedback.deadline(),
                self._inbound.deadline(),
                self._dispatch.deadline(),
                self.keys.deadline(),
                self.wishes.deadline(),
                self.paths.inner_mtu.deadline(),
                self._heard_at + SILENCE_LIMIT,
                *(path.deadline() for path in self.paths),
            ]
        )

    def poll_transmit(self) -> Iterator[Transmit]:
        """Yield what is to be sent now."""
        return self._dispatch.poll_transmit()

    def statistics(self, handshakes: int, now: float) -> PeerStatistics:
        """Return a snapshot of the bond, and through it of the peer."""
        return statistics_of(self, self._dispatch, self._inbound, handshakes=handshakes, now=now)
