"""What this kernel can do for us, tried out on sockets that are closed at once."""

import ctypes
import socket
from collections.abc import Iterator
from typing import Final

_SOL_UDP: Final = 17
_UDP_SEGMENT: Final = 103
_UDP_GRO: Final = 104
_TIME_ERROR: Final = 5
"""adjtimex(2): the clock is not synchronised."""


def missing_features() -> Iterator[tuple[str, str]]:
    """Yield what this kernel lacks, each with what that costs."""
    if not _has_udp_option(_UDP_SEGMENT):
        yield "UDP segmentation offload (Linux 4.18)", "several times the processor time to send"
    if not _has_udp_option(_UDP_GRO):
        yield "UDP receive offload (Linux 5.0)", "several times the processor time to receive"
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()
    except OSError:
        yield "IPv6", "IPv6 networks and servers cannot be reached"


def _has_udp_option(option: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.getsockopt(_SOL_UDP, option)
        except OSError:
            return False
    return True


def is_clock_synchronised() -> bool:
    """Tell whether something disciplines the clock (NTP, PTP); True where nobody can say."""
    # struct timex is some 200 bytes; modes = 0 only reads.
    buffer = ctypes.create_string_buffer(512)
    try:
        state = int(ctypes.CDLL(None).adjtimex(buffer))
    except (OSError, AttributeError):
        return True
    return state != _TIME_ERROR
