"""The demo's scene: a download over three unequal WANs, the best of which is cut and restored.

`run` plays it and hands out snapshots; how they are shown is `demo_view`'s business, and what it
amounted to `demo_report`'s.
"""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from multiwanbond.lab.bond import SERVER_INNER_IPV4, Bond, Document, path_of
from multiwanbond.lab.topology import Topology, Wan, three_unequal_lines
from multiwanbond.lab.traffic import Transfer, TransferResult

Tell = Callable[[float, str], None]
"""Takes the time and what happened."""

# Chosen by us.
_CUT_AT: Final = 0.35
_RESTORED_AT: Final = 0.65
"""Shares of the demo's time."""
CUT_WAN: Final = 1
"""The first and fastest: the one whose loss hurts most."""
_TICK: Final = 0.05
_SNAPSHOT_INTERVAL: Final = 0.25
_CARRIES_AGAIN: Final = 30_000
"""Bytes over a restored line that only traffic can be: probes come to a kilobyte a second."""
_ENDS_WITHIN: Final = 30.0
"""Seconds for what is still in flight when the sender has stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WanView:
    """One WAN at one moment."""

    name: str
    line_mbit: float
    state: str
    """As the client's daemon sees it."""
    rtt_ms: float | None
    loss_pct: float
    down_mbit: float
    """What the line delivered to the client since the last snapshot."""
    is_cut: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One line of the story."""

    at: float
    """Seconds since the transfer began."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything there is to see at one moment."""

    elapsed: float
    seconds: float
    """How long the demo is planned to last."""
    received_bytes: int
    mbit: float
    """What the download received since the last snapshot."""
    wans: tuple[WanView, ...]
    happenings: tuple[Happening, ...]
    """All so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the demo showed."""

    transfer: TransferResult
    cut_wan: str
    cut_at: float
    restored_at: float
    received_during_cut: int
    """Bytes of the download that arrived while the WAN was cut."""
    noticed_after: float | None
    """Seconds from the cut until the client called the path Down; None if it never did."""
    carried_again_after: float | None
    """Seconds from the restoration until the WAN carried traffic; None if it never did."""
    down_bytes: dict[str, int]
    """What each WAN's line delivered to the client, by name."""

    @property
    def is_success(self) -> bool:
        """Tell whether the transfer was intact, went on during the cut, and got the WAN back."""
        return (
            self.transfer.is_intact
            and self.received_during_cut > 0
            and self.carried_again_after is not None
        )


def run(seconds: float, show: Callable[[Snapshot], None], say: Callable[[str], None]) -> Outcome:
    """Play the scene for `seconds` of traffic, and remove all of it again.

    Args:
        show: called with a snapshot four times a second.
        say: called with what is being prepared, before there is anything to show.
    """
    say("Building two network namespaces joined by three emulated WANs ...")
    with Topology(three_unequal_lines(), purpose="demo") as lab:
        bond = Bond(lab)
        bond.start()
        say("Waiting for the bond between the client and the server ...")
        bond.wait_connected()
        transfer = Transfer(lab.server, lab.client, host=SERVER_INNER_IPV4, seconds=seconds)
        with closing(transfer):
            return _Play(lab, bond, transfer, seconds).perform(show)


class _Cut:
    """The cut and the restoration, and what they did to the transfer."""

    def __init__(self, lab: Topology, transfer: Transfer, seconds: float, tell: Tell) -> None:
        self._lab = lab
        self._transfer = transfer
        self._tell = tell
        self._wan = lab.wan(CUT_WAN)
        self._planned = seconds * _CUT_AT, seconds * _RESTORED_AT
        self.cut_at: float | None = None
        self.restored_at: float | None = None
        self._noticed_at: float | None = None
        self._carried_again_at: float | None = None
        self._line_at_restoration = 0
        self._received_at_cut = self._received_at_restoration = 0

    @property
    def is_on(self) -> bool:
        """Tell whether the WAN is cut right now."""
        return self.cut_at is not None and self.restored_at is None

    def tick(self, now: float) -> None:
        """Do what is due, and see whether the WAN is back."""
        name = self._wan.name
        if self.cut_at is None and now >= self._planned[0]:
            self._received_at_cut = self._transfer.received()
            self._lab.black_out(CUT_WAN)
            self.cut_at = now
            self._tell(now, f"{name} cut: it swallows every packet, no link goes down")
        elif self.restored_at is None and now >= self._planned[1]:
            self._received_at_restoration = self._transfer.received()
            self._line_at_restoration = down_bytes(self._lab)[CUT_WAN]
            self._lab.restore(CUT_WAN)
            self.restored_at = now
            self._tell(now, f"{name} restored")
        elif self.restored_at is not None and self._carried_again_at is None:
            self._watch_return(now, self.restored_at)

    def _watch_return(self, now: float, restored_at: float) -> None:
        if down_bytes(self._lab)[CUT_WAN] - self._line_at_restoration >= _CARRIES_AGAIN:
            self._carried_again_at = now
            self._tell(now, f"{self._wan.name} carries traffic again, {now - restored_at:.1f} s on")

    def note_state(self, state: str, now: float) -> None:
        """Take note of what the client calls the WAN."""
        if state == "Down" and self.cut_at is not None and self._noticed_at is None:
            self._noticed_at = now

    def outcome(self, ended_at: float) -> Outcome:
        """Return what the demo showed, now that it has ended."""
        cut_at = ended_at if self.cut_at is None else self.cut_at
        restored_at = ended_at if self.restored_at is None else self.restored_at
        down = down_bytes(self._lab)
        return Outcome(
            transfer=self._transfer.result(),
            cut_wan=self._wan.name,
            cut_at=cut_at,
            restored_at=restored_at,
            received_during_cut=self._received_at_restoration - self._received_at_cut,
            noticed_after=_span(cut_at, self._noticed_at),
            carried_again_after=_span(restored_at, self._carried_again_at),
            down_bytes={wan.name: down[wan.number] for wan in self._lab.wans},
        )


class _Play:
    """The running transfer, the clock, and what has been shown so far."""

    def __init__(self, lab: Topology, bond: Bond, transfer: Transfer, seconds: float) -> None:
        self._lab = lab
        self._bond = bond
        self._transfer = transfer
        self._seconds = seconds
        self._began = time.monotonic()
        self._cut = _Cut(lab, transfer, seconds, self._tell)
        self._happenings: list[Happening] = []
        self._states: dict[int, str] = {}
        self._shown_at = 0.0
        self._shown_bytes = 0
        self._shown_down = down_bytes(lab)

    def perform(self, show: Callable[[Snapshot], None]) -> Outcome:
        """Follow the transfer to its end, cutting and restoring on the way."""
        next_snapshot = _SNAPSHOT_INTERVAL
        while not self._transfer.has_ended() and self._elapsed() < self._seconds + _ENDS_WITHIN:
            now = self._elapsed()
            self._cut.tick(now)
            if now >= next_snapshot:
                show(self._snapshot(now))
                next_snapshot = now + _SNAPSHOT_INTERVAL
            time.sleep(_TICK)
        return self._cut.outcome(self._elapsed())

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _tell(self, at: float, text: str) -> None:
        self._happenings.append(Happening(at=at, text=text))

    def _snapshot(self, now: float) -> Snapshot:
        span = now - self._shown_at
        received, down = self._transfer.received(), down_bytes(self._lab)
        status = self._bond.client.status()
        rates = {
            number: (size - self._shown_down[number]) * 8 / span / 1e6
            for number, size in down.items()
        }
        wans = tuple(self._view(wan, status, rates[wan.number], now) for wan in self._lab.wans)
        mbit = (received - self._shown_bytes) * 8 / span / 1e6
        self._shown_at, self._shown_bytes, self._shown_down = now, received, down
        return Snapshot(
            elapsed=now,
            seconds=self._seconds,
            received_bytes=received,
            mbit=mbit,
            wans=wans,
            happenings=tuple(self._happenings),
        )

    def _view(self, wan: Wan, status: Document | None, mbit: float, now: float) -> WanView:
        path = path_of(status, wan.number)
        self._note_state(wan, path["state"], now)
        settings = wan.spec.to_client
        assert settings is not None
        assert isinstance(settings.rate, float)
        return WanView(
            name=wan.name,
            line_mbit=settings.rate * 8 / 1e6,
            state=path["state"],
            rtt_ms=path["rtt_ms"],
            loss_pct=path["loss_pct"],
            down_mbit=mbit,
            is_cut=wan.number == CUT_WAN and self._cut.is_on,
        )

    def _note_state(self, wan: Wan, state: str, now: float) -> None:
        before = self._states.get(wan.number)
        self._states[wan.number] = state
        if before is not None and before != state:
            self._tell(now, f"{wan.name}: {before} -> {state}")
        if wan.number == CUT_WAN:
            self._cut.note_state(state, now)


def down_bytes(lab: Topology) -> dict[int, int]:
    """Return what each line has delivered to the client."""
    counted = lab.statistics()
    return {
        wan.number: int(counted[wan.device]["to_client"]["delivered_bytes"]) for wan in lab.wans
    }


def _span(start: float, end: float | None) -> float | None:
    return None if end is None else end - start
