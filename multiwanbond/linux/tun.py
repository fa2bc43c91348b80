"""The TUN device: IP packets and whole runs of segments to and from the kernel.

Every read and write carries a virtio-net header before the packet (IFF_VNET_HDR), in the machine's
byte order. It says whether the transport checksum is still partial, and for a run how long each
segment's payload is:

    1 flags (1: checksum partial, 2: checksum verified)
    1 GSO type (0: none, 1: TCP/IPv4, 4: TCP/IPv6, 5: UDP; 0x80: only the first segment has CWR)
    2 header length: a hint of the sending driver, wrong often enough to be ignored
    2 payload bytes of each segment
    2 offset of the checksummed part    2 offset of the checksum in it
"""

import errno
import fcntl
import os
import platform
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum
from struct import Struct
from typing import Final

import pytun
import trio

from multiwanbond.core import ip
from multiwanbond.core.burst import Burst, Bytes
from multiwanbond.errors import DatagramError, PlatformError, PrivilegeError

# From <linux/if_tun.h>, <linux/virtio_net.h>.
_WRITES: Final = 0x80000000 if platform.machine().startswith(("mips", "ppc")) else 0x40000000
_TUNSETOFFLOAD: Final = _WRITES | 4 << 16 | ord("T") << 8 | 208
_TUNSETVNETHDRSZ: Final = _WRITES | 4 << 16 | ord("T") << 8 | 216
_IFF_VNET_HDR: Final = 0x4000
_IFF_TUN_EXCL: Final = 0x8000
_NEEDS_CSUM: Final = 1
_DATA_VALID: Final = 2
_GSO_NONE, _GSO_TCPV4, _GSO_TCPV6, _GSO_UDP_L4, _GSO_ECN = 0, 1, 4, 5, 0x80
_CHECKSUM_OFFSETS: Final = {ip.TCP: 16, ip.UDP: 6}
_CWR: Final = 0x80

_HEADER: Final = Struct("=BBHHHH")
_PLAIN: Final = bytes(_HEADER.size)
_LARGEST_READ: Final = _HEADER.size + 65535

_VALID_NAME: Final = re.compile(r"[^\s/:%]{1,15}")

_NETWORK_ERRORS: Final = frozenset(
    # Device down; its queue full; a packet the kernel finds malformed; device deleted (the next
    # read says so).
    {errno.EIO, errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.EINVAL, errno.EBADFD}
)


class Offload(Enum):
    """Which runs the kernel leaves unsplit and takes unsplit (the argument of TUNSETOFFLOAD)."""

    TCP_AND_UDP = 0x67
    """Checksums, TSO for IPv4 and IPv6, USO for both (Linux 6.2)."""
    TCP = 0x07
    """Checksums and TSO for both."""
    NONE = 0
    """Packets come and go one by one."""


class TunDevice:
    """A TUN interface that exists as long as this object is open."""

    def __init__(self, name: str, *, wants_offload: bool = True) -> None:
        """Create the interface `name`, without address and down.

        Raises:
            PrivilegeError: we are neither root nor have CAP_NET_ADMIN.
            PlatformError: no TUN in this kernel, the name is taken, or it is no interface name.
        """
        self._device = _open(name)
        self._fd: int = self._device.fileno()
        # pytun leaves the descriptor to every child process; a child that holds it keeps the
        # interface alive after us.
        os.set_inheritable(self._fd, False)
        os.set_blocking(self._fd, False)
        fcntl.ioctl(self._fd, _TUNSETVNETHDRSZ, _HEADER.size.to_bytes(4, sys.byteorder))
        self.name: Final = name
        self.unusable = 0
        """Runs read that we cannot carry."""
        self.offload: Final = _agree_offload(self._fd) if wants_offload else Offload.NONE

    async def wait_readable(self) -> None:
        """Return when `read_nowait` has something to tell."""
        await trio.lowlevel.wait_readable(self._fd)

    def read_nowait(self, limit: int = 64, enough: int = sys.maxsize) -> list[Burst]:
        """Return what the kernel has for us now; none if it has nothing.

        Args:
            limit: bursts at most.
            enough: bytes from which on no more is read.

        Raises:
            PlatformError: somebody deleted the interface.
        """
        bursts: list[Burst] = []
        octets = 0
        read, fd = os.read, self._fd
        try:
            for _ in range(limit):
                data = read(fd, _LARGEST_READ)
                if data[:2] == b"\0\0":
                    bursts.append(Burst(data[_HEADER.size :]))
                elif burst := parse(data):
                    bursts.append(burst)
                else:
                    self.unusable += 1
                octets += len(data)
                if octets >= enough:
                    break
        except BlockingIOError:
            pass
        except OSError as exc:
            if exc.errno != errno.EBADFD:
                raise
            problem = f"The interface {self.name!r} was deleted while in use."
            remedy = (
                f"Start again, and find out what deletes it: 'ip monitor link dev {self.name}'."
            )
            raise PlatformError(problem, remedy) from exc
        return bursts

    def write_nowait(self, bursts: Sequence[Burst]) -> int:
        """Hand the bursts to the kernel; return how many packets of them it did not take."""
        dropped = 0
        writev, fd = os.writev, self._fd
        for burst in bursts:
            if burst.segment_size and not self._takes_whole(burst):
                dropped += self.write_nowait(ip.split_run(burst))
                continue
            header = _header_for(burst) if burst.is_checksum_partial else _PLAIN
            try:
                writev(fd, (header, burst.packet))
            except OSError as exc:
                if exc.errno not in _NETWORK_ERRORS:
                    raise
                dropped += burst.segment_count
        return dropped

    def _takes_whole(self, burst: Burst) -> bool:
        if self.offload is Offload.TCP_AND_UDP:
            return True
        return self.offload is Offload.TCP and _protocol(burst.packet) == ip.TCP

    def close(self) -> None:
        """Delete the interface; waiters get `trio.ClosedResourceError`. Closing twice is fine."""
        if self._fd < 0:
            return
        with suppress(RuntimeError):  # raised outside trio, where nobody can be waiting
            trio.lowlevel.notify_closing(self._fd)
        self._fd = -1
        self._device.close()


def _open(name: str) -> pytun.TunTapDevice:
    if not _VALID_NAME.fullmatch(name) or name in {".", ".."}:
        raise PlatformError(
            f"{name!r} is no name for an interface.",
            "Use 1 to 15 characters without spaces and '/ : %', such as 'mwb0'.",
        )
    # IFF_TUN_EXCL: without it we would silently adopt an interface that somebody else left.
    flags = pytun.IFF_TUN | pytun.IFF_NO_PI | _IFF_VNET_HDR | _IFF_TUN_EXCL
    try:
        return pytun.TunTapDevice(name=name, flags=flags)
    except OSError as exc:
        raise _explain(name, exc) from exc


def _explain(name: str, exc: OSError) -> PlatformError:
    match exc.errno:
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            return PlatformError(
                "This system has no /dev/net/tun.",
                "Load the driver: 'modprobe tun'. In a container, start it with "
                "'--device /dev/net/tun --cap-add NET_ADMIN'.",
            )
        case errno.EACCES if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
            return PrivilegeError(
                "Opening /dev/net/tun is not permitted.",
                "Run as root, or let everybody open it, as udev does: 'chmod 666 /dev/net/tun'. "
                "Creating interfaces takes CAP_NET_ADMIN nevertheless.",
            )
        case errno.EPERM | errno.EACCES:
            return PrivilegeError(
                f"Creating the interface {name!r} is not permitted.",
                "Run as root, or give the process CAP_NET_ADMIN.",
            )
        case errno.EBUSY | errno.EEXIST | errno.EINVAL:
            return PlatformError(
                f"There is already an interface {name!r}.",
                f"See 'ip link show {name}'. End what uses it, or choose another tunnel.name.",
            )
    return PlatformError(
        f"Creating the interface {name!r} failed: {exc.strerror}.",
        f"See 'ip link show {name}' and 'dmesg'.",
    )


def _agree_offload(fd: int) -> Offload:
    """Return the most that this kernel takes; it is in force afterwards."""
    for offload in Offload:
        with suppress(OSError):
            fcntl.ioctl(fd, _TUNSETOFFLOAD, offload.value)
            return offload
    return Offload.NONE


def _protocol(packet: Bytes) -> int:
    return packet[9] if packet[0] >> 4 == 4 else packet[6]


def _transport_offset(packet: Bytes) -> int:
    return (packet[0] & 15) * 4 if packet[0] >> 4 == 4 else 40


def parse(data: bytes) -> Burst | None:
    """Return the burst in one read whose virtio header is not all zeros; None if it has no use."""
    flags, gso_type, _, size, start, offset = _HEADER.unpack_from(data)
    if gso_type & ~_GSO_ECN:
        return _parse_run(data, size)
    packet = data[_HEADER.size :]
    if not flags & _NEEDS_CSUM:
        return Burst(packet, is_checksum_verified=bool(flags & _DATA_VALID))
    if start == _transport_offset(packet) and offset == _CHECKSUM_OFFSETS.get(_protocol(packet)):
        return Burst(packet, is_checksum_partial=True)
    # The sum of an inner header (GRE, VXLAN) or of a protocol we have no rule for: nobody later
    # could tell where it belongs.
    return Burst(_finish_checksum(packet, start, offset))


def _parse_run(data: bytes, size: int) -> Burst | None:
    # A run is tens of kilobytes: a view saves the copy. It keeps `data` alive, and only that.
    packet = memoryview(data)[_HEADER.size :]
    try:
        length = ip.header_length_untrusted(packet)
    except DatagramError:
        # TCP behind IPv6 extension headers, which `core.ip` does not follow. The sender repeats
        # it segment by segment, and those we carry.
        return None
    return Burst(packet, segment_size=size, header_length=length, is_checksum_partial=True)


def _finish_checksum(packet: bytes, start: int, offset: int) -> bytes:
    """Return `packet` with the Internet checksum over `start` onwards (RFC 1071) at its place.

    The field holds the pseudo-header's sum, so it counts like any other word.
    """
    checksum = 0xFFFF - ip.internet_sum(packet[start:])
    place = start + offset
    return packet[:place] + checksum.to_bytes(2, "big") + packet[place + 2 :]


def _header_for(burst: Burst) -> bytes:
    """Return the virtio header of a burst whose checksum is partial."""
    packet = burst.packet
    start = _transport_offset(packet)
    protocol = _protocol(packet)
    gso_type = _GSO_NONE
    if burst.segment_size:
        if protocol == ip.UDP:
            gso_type = _GSO_UDP_L4
        else:
            gso_type = _GSO_TCPV4 if packet[0] >> 4 == 4 else _GSO_TCPV6
            if packet[start + 13] & _CWR:
                # Else a network card may repeat CWR in every segment, and the far sender sees as
                # many answers to one congestion mark (RFC 3168, section 6.1.2).
                gso_type |= _GSO_ECN
    return _HEADER.pack(
        _NEEDS_CSUM,
        gso_type,
        burst.header_length,
        burst.segment_size,
        start,
        _CHECKSUM_OFFSETS[protocol],
    )
