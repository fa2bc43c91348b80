"""Two small plugins: a packet filter and a metrics collector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
from multiwanbond.config.notations import FILE
from multiwanbond.config.traffic_notations import CODE_POINT
from multiwanbond.core.burst import Burst
from multiwanbond.core.ip import internet_sum
from multiwanbond.options import option
from multiwanbond.plugins.api import MetricsCollector, PacketFilter


@dataclass(frozen=True, slots=True, kw_only=True)
class StampOptions:
    """The settings of `stamp`."""

    dscp: int = option(notation=CODE_POINT, low=0, high=63, doc="Code point that packets get.")


class Stamp(PacketFilter):
    """Sets the code point of IPv4 packets to the peer."""

    options_type = StampOptions

    def outbound(self, bursts: Sequence[Burst]) -> Sequence[Burst]:
        """Return the packets, stamped."""
        return [self._stamped(burst) for burst in bursts]

    def _stamped(self, burst: Burst) -> Burst:
        packet = bytearray(burst.packet)
        if len(packet) < 20 or packet[0] != 0x45:
            return burst
        packet[1] = self.options.dscp << 2 | packet[1] & 3
        packet[10:12] = bytes(2)
        packet[10:12] = (0xFFFF ^ internet_sum(bytes(packet[:20]))).to_bytes(2, "big")
        return Burst(bytes(packet), is_checksum_partial=burst.is_checksum_partial)


@dataclass(frozen=True, slots=True, kw_only=True)
class SizesOptions:
    """The settings of `sizes`."""

    file: Path = option(notation=FILE, doc="File that a line is added to each time.")


class Sizes(MetricsCollector):
    """Writes how many peers there are."""

    options_type = SizesOptions

    async def collect(self, status: Mapping[str, Any]) -> None:
        """Add a line. What may take long runs in a thread: packets do not wait for a disk."""
        await trio.to_thread.run_sync(self._write, len(status["peers"]))

    def _write(self, count: int) -> None:
        with self.options.file.open("a") as file:
            file.write(f"{count}\n")
