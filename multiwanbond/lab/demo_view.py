"""The demo on a terminal: a live table with rich, or plain lines where nobody watches."""

from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from rich.bar import Bar
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .demo import Snapshot, WanView

_COLOURS: Final = {
    "Up": "green",
    "Degraded": "yellow",
    "Starting": "cyan",
    "Recovering": "cyan",
    "Down": "red",
}
_BAR_WIDTH: Final = 14
"""The table then fits the 80 columns of a plain terminal."""
_STATE_WIDTH: Final = len("Recovering")
_STORY_LINES: Final = 8
_LINE_INTERVAL: Final = 1.0
"""Seconds between two plain lines."""


class LiveView:
    """A table that is redrawn with every snapshot."""

    def __init__(self, console: Console) -> None:
        # Not refreshed by a thread of rich's own: every snapshot is drawn once, when it comes.
        self._live = Live(console=console, auto_refresh=False)

    def show(self, snapshot: Snapshot) -> None:
        """Draw `snapshot`."""
        self._live.update(draw(snapshot), refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()


def draw(snapshot: Snapshot) -> Group:
    """Return the picture of one moment."""
    story = [Text(f"{one.at:5.1f} s  {one.text}") for one in snapshot.happenings[-_STORY_LINES:]]
    return Group(_table(snapshot), _total(snapshot), *story)


def _table(snapshot: Snapshot) -> Table:
    table = Table(title="MultiWANBond: one download over three WANs", title_justify="left")
    table.add_column("WAN")
    table.add_column("line")
    table.add_column("state", min_width=_STATE_WIDTH)
    for heading in ("RTT", "loss", "Mbit/s"):
        table.add_column(heading, justify="right")
    table.add_column("use of the line")
    for wan in snapshot.wans:
        table.add_row(
            wan.name,
            f"{wan.line_mbit:.0f} Mbit/s",
            Text(wan.state, style=_COLOURS.get(wan.state, "")),
            _rtt(wan),
            f"{wan.loss_pct:.1f} %",
            f"{wan.down_mbit:.1f}",
            _use(wan),
        )
    return table


def _use(wan: WanView) -> Bar | Text:
    if wan.is_cut:
        return Text("cut", style="bold red")
    return Bar(wan.line_mbit, 0, min(wan.down_mbit, wan.line_mbit), width=_BAR_WIDTH)


def _rtt(wan: WanView) -> str:
    # What is known of a WAN that is Down is from before.
    return "-" if wan.rtt_ms is None or wan.state == "Down" else f"{wan.rtt_ms:.0f} ms"


def _total(snapshot: Snapshot) -> Text:
    return Text(
        f"{snapshot.elapsed:5.1f} of {snapshot.seconds:.0f} s"
        f"   download {snapshot.mbit:6.1f} Mbit/s   {snapshot.received_bytes / 1e6:.1f} MB",
        style="bold",
    )


class PlainView:
    """A line a second, and one for everything that happens."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._told = 0
        self._next_line = 0.0

    def show(self, snapshot: Snapshot) -> None:
        """Say what is new in `snapshot`."""
        for one in snapshot.happenings[self._told :]:
            self._say(f"{one.at:5.1f} s  {one.text}")
        self._told = len(snapshot.happenings)
        if snapshot.elapsed >= self._next_line:
            self._next_line = snapshot.elapsed + _LINE_INTERVAL
            wans = ", ".join(f"{wan.name} {wan.down_mbit:.1f}" for wan in snapshot.wans)
            self._say(f"{snapshot.elapsed:5.1f} s  download {snapshot.mbit:.1f} Mbit/s ({wans})")
