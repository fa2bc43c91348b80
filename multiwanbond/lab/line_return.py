"""How long after a line's return the bond sends by it again, watched from outside the daemon."""

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from multiwanbond.lab.bond import Daemon, path_of

SHARE: Final = 0.25
"""Of a line's rate: what the sender must give it. Probes, and the trains that measure a returned
line, are at most 108 kB, which is less over `WINDOW` on lines of 18 Mbit/s and more."""
WINDOW: Final = 0.2
"""Seconds over which that is seen."""
_POLL: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """What became of one line after it had been black."""

    wan: int
    """Number, from 1."""
    seconds: float | None
    """From the line's return until it got a quarter of its rate; None: not while we watched."""


class LineReturn:
    """Judges one line's return by how many bytes were sent by it.

    Args:
        rate: bytes per second that the line carries.
        began: when the line could carry packets again.
    """

    def __init__(self, rate: float, began: float) -> None:
        self._least = SHARE * rate
        self._began = began
        self._samples: deque[tuple[float, int]] = deque()
        self.seconds: float | None = None
        """How long it took; None as long as it is not used."""

    def handle_sample(self, sent_bytes: int, now: float) -> None:
        """Take note of a path's counter; one that went back is that of another path."""
        samples = self._samples
        if samples and sent_bytes < samples[-1][1]:
            samples.clear()
        samples.append((now, sent_bytes))
        while len(samples) > 1 and now - samples[1][0] >= WINDOW:
            samples.popleft()
        at, before = samples[0]
        is_measured = self.seconds is None and now - at >= WINDOW
        if is_measured and sent_bytes - before >= self._least * (now - at):
            self.seconds = at - self._began


class ReturnWatch:
    """Watches every line that comes back, by the status of the daemon that sends; `finish` it."""

    def __init__(self, daemon: Daemon, rates: Mapping[int, float]) -> None:
        """
        Args:
            daemon: the one whose sent bytes count.
            rates: bytes per second towards the receiver, by the WAN's number.
        """
        self._daemon = daemon
        self._rates = rates
        self._is_over = threading.Event()
        self._watched: list[tuple[int, LineReturn, threading.Thread]] = []

    def begin(self, wan: int) -> None:
        """Watch a WAN that can carry packets from now on."""
        judged = LineReturn(self._rates[wan], time.monotonic())
        thread = threading.Thread(target=self._watch, args=(wan, judged), daemon=True)
        self._watched.append((wan, judged, thread))
        thread.start()

    def finish(self) -> tuple[Returned, ...]:
        """Stop to watch; return what was seen, in the order of the returns."""
        self._is_over.set()
        for _, _, thread in self._watched:
            thread.join()
        return tuple(Returned(wan=wan, seconds=one.seconds) for wan, one, _ in self._watched)

    def _watch(self, wan: int, judged: LineReturn) -> None:
        while judged.seconds is None:
            sent = path_of(self._daemon.status(), wan).get("sent_bytes")
            if sent is not None:
                judged.handle_sample(sent, time.monotonic())
            if self._is_over.wait(_POLL):
                return
