"""The kernel's multicast routing: what it forwards, what it asks about, what hosts say to it.

One socket for each IP version makes this process the host's multicast router (ip_mroute; what pimd
and igmpproxy do). The kernel copies packets between interfaces as it is told for each source and
group, lowers hop limits, and asks about packets nobody has told it of. All of it, interfaces and
entries, ends with the socket: a killed daemon leaves nothing.

    <linux/mroute.h>, <linux/mroute6.h>      upcalls come as packets with a zero where the protocol
                                             of an IPv4 header, or the type of ICMPv6, would be
"""

import errno
import fcntl
import socket
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

import trio

from multiwanbond.core.membership import encode_igmp_query, encode_mld_query
from multiwanbond.errors import PlatformError, PrivilegeError

from .lans import LanFinder

# From <linux/mroute.h>, <linux/mroute6.h>, <linux/in.h>, <linux/in6.h>, <linux/icmpv6.h>.
_INIT, _ADD_INTERFACE, _DELETE_INTERFACE, _ADD_ENTRY, _DELETE_ENTRY = 200, 202, 203, 204, 205
_COUNTERS: Final = 0x89E1  # SIOCGETSGCNT, SIOCGETSGCNT_IN6
_NO_CACHE: Final = 1
_USE_INDEX: Final = 0x8
_MOST_INTERFACES: Final = 32
_NEVER: Final = 0
_THRESHOLD: Final = 1
"""A packet is copied if its hop limit is above this."""
_VIF: Final = Struct("=HBBIi4s")
_MFC: Final = Struct("@4s4sH32sIIIi")
_SG: Final = Struct("@4s4sLLL")
_UPCALL: Final = Struct("=8xBBBB4s4s")
_MIF: Final = Struct("@HBBHI")
_MF6C: Final = Struct("@28s28sH2x8I")
_SG6: Final = Struct("@28s28sLLL")
_UPCALL6: Final = Struct("=BBHI16s16s")
_SOCKADDR6: Final = Struct("=HHI16sI")
_PACKET_INFO: Final = Struct("=i4s4s")
_PACKET_INFO6: Final = Struct("=16si")
_IP_PKTINFO, _IPV6_RECVPKTINFO, _IPV6_PKTINFO = 8, 49, 50
_IPV6_HOPOPTS, _ICMP6_FILTER = 54, 1
_ROUTER_ALERT: Final = b"\x94\x04\0\0"  # RFC 2113
_ROUTER_ALERT6: Final = b"\0\0\x05\x02\0\0\x01\0"  # RFC 2711, in a hop-by-hop header
_MLD_TYPES: Final = (130, 131, 132, 143)
_ALL_HOSTS: Final = {4: "224.0.0.1", 6: "ff02::1"}
_ALL_REPORTS: Final = {4: "224.0.0.22", 6: "ff02::16"}
_ALL_ROUTERS: Final = {4: "224.0.0.2", 6: "ff02::2"}

_LARGEST_READ: Final = 65536
_ROOM: Final = 256 * 1024
"""Bytes of upcalls and reports that may wait for us."""


class Unresolved(NamedTuple):
    """The kernel holds a packet of which it does not know where to copy it."""

    interface: int
    """Index of the interface it came by."""
    source: bytes
    group: bytes


class Heard(NamedTuple):
    """A host, or another router, said something about groups."""

    interface: int
    source: bytes
    data: bytes
    """The IGMP or MLD message."""


class MulticastRouter(ABC):
    """This host's multicast router for one IP version, as long as it is open."""

    version: int
    _family: socket.AddressFamily
    _protocol: int
    _level: int

    def __init__(self) -> None:
        """Become the router.

        Raises:
            PrivilegeError: not permitted.
            PlatformError: another program is, or this kernel has no multicast routing.
        """
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
        try:
            self._socket = socket.socket(self._family, kind, self._protocol)
        except PermissionError as exc:
            raise _not_permitted() from exc
        self._numbers: dict[int, int] = {}  # index of an interface -> the kernel's number for it
        try:
            self._set(_INIT, 1)
            self._prepare()
        except OSError as exc:
            self._socket.close()
            raise self._explain(exc) from exc

    def _explain(self, exc: OSError) -> PlatformError:
        match exc.errno:
            case errno.EADDRINUSE:
                return PlatformError(
                    f"Another program is this host's multicast router for IPv{self.version}.",
                    "End it (pimd, smcroute, igmpproxy, another tunnel with multicast), or set "
                    "session.multicast_enabled: false.",
                )
            case errno.ENOPROTOOPT | errno.EOPNOTSUPP:
                return PlatformError(
                    f"This kernel has no multicast routing for IPv{self.version}.",
                    "It takes CONFIG_IP_MROUTE and CONFIG_IPV6_MROUTE; else set "
                    "session.multicast_enabled: false.",
                )
            case errno.EPERM | errno.EACCES:
                return _not_permitted()
        return PlatformError(f"Multicast routing failed: {exc.strerror}.", "See 'dmesg'.")

    def _set(self, option: int, value: int | bytes) -> None:
        self._socket.setsockopt(self._level, option, value)

    @abstractmethod
    def _prepare(self) -> None:
        """Set the socket up for queries and reports."""

    # Interfaces

    @property
    def interfaces(self) -> frozenset[int]:
        """Indices of the interfaces between which packets may be copied."""
        return frozenset(self._numbers)

    def add_interface(self, index: int, *, has_hosts: bool) -> None:
        """Let packets of an interface be copied, and hear the hosts there, if there are any.

        Raises:
            PlatformError: the interface is gone, or the kernel takes no more.
        """
        number = next(n for n in range(_MOST_INTERFACES + 1) if n not in self._numbers.values())
        try:
            self._add_interface(number, index)
        except OSError as exc:
            raise PlatformError(
                f"Multicast routing does not take interface {index}: {exc.strerror}.",
                f"It takes {_MOST_INTERFACES}; name those you need in "
                "session.multicast_interfaces.",
            ) from exc
        self._numbers[index] = number
        if has_hosts:
            for group in (_ALL_REPORTS[self.version], _ALL_ROUTERS[self.version]):
                with suppress(OSError):  # a member already
                    self._join(ip_address(group).packed, index)

    def remove_interface(self, index: int) -> None:
        """Copy no more from or to an interface; it may be gone already."""
        number = self._numbers.pop(index, None)
        if number is not None:
            with suppress(OSError):
                self._delete_interface(number)

    @abstractmethod
    def _add_interface(self, number: int, index: int) -> None: ...
    @abstractmethod
    def _delete_interface(self, number: int) -> None: ...
    @abstractmethod
    def _join(self, group: bytes, index: int) -> None: ...

    # Entries

    def forward(self, asked: Unresolved, targets: Iterable[int]) -> None:
        """Copy packets of this source and group to the interfaces `targets` from now on.

        An entry without targets keeps the kernel from asking again.
        """
        number = self._numbers.get(asked.interface)
        numbers = [self._numbers[index] for index in targets if index in self._numbers]
        if number is not None:
            self._set(_ADD_ENTRY, self._entry(asked, number, numbers))

    def forget(self, asked: Unresolved) -> None:
        """Let the kernel ask again; it may have forgotten the entry already."""
        number = self._numbers.get(asked.interface, _NEVER)
        with suppress(OSError):
            self._set(_DELETE_ENTRY, self._entry(asked, number, ()))

    def count(self, asked: Unresolved) -> int:
        """Return how many packets of this source and group came by the interface they should."""
        request = bytearray(self._counter_request(asked))
        try:
            fcntl.ioctl(self._socket, _COUNTERS, request)
        except OSError:
            return 0
        return self._counted(request)

    @abstractmethod
    def _entry(self, asked: Unresolved, number: int, targets: Sequence[int]) -> bytes: ...
    @abstractmethod
    def _counter_request(self, asked: Unresolved) -> bytes: ...
    @abstractmethod
    def _counted(self, request: bytearray) -> int: ...

    # What the kernel and hosts say

    async def wait_readable(self) -> None:
        """Return when `receive_nowait` has something to tell."""
        await trio.lowlevel.wait_readable(self._socket)

    def receive_nowait(self) -> list[Unresolved | Heard]:
        """Return what was said since the last call, at most 64 things; what is none is left out."""
        said: list[Unresolved | Heard] = []
        for _ in range(64):
            try:
                data, ancillary, _, address = self._socket.recvmsg(_LARGEST_READ, 256)
            except BlockingIOError:
                break
            except OSError as exc:
                if exc.errno != errno.ENOBUFS:
                    raise
                continue
            one = self._parse(data, ancillary, address)
            if one is not None:
                said.append(one)
        return said

    @abstractmethod
    def _parse(
        self, data: bytes, ancillary: list[tuple[int, int, bytes]], address: tuple[str, int]
    ) -> Unresolved | Heard | None: ...

    def _index_of(self, number: int) -> int | None:
        return next((index for index, each in self._numbers.items() if each == number), None)

    @abstractmethod
    def query(self, index: int, group: bytes | None) -> None:
        """Ask the hosts of an interface who wants a group, or all groups (None).

        An interface that is down does not hear it; the next query comes anyway.
        """

    def close(self) -> None:
        """Be the router no more; the kernel forgets all interfaces and entries."""
        if self._socket.fileno() < 0:
            return
        with suppress(RuntimeError):  # raised outside trio, where nobody can be waiting
            trio.lowlevel.notify_closing(self._socket)
        self._socket.close()


class Ipv4Router(MulticastRouter):
    """Speaks IGMP."""

    version = 4
    _family = socket.AF_INET
    _protocol = socket.IPPROTO_IGMP
    _level = socket.IPPROTO_IP

    def _prepare(self) -> None:
        self._set(_IP_PKTINFO, 1)
        self._set(socket.IP_OPTIONS, _ROUTER_ALERT)
        self._set(socket.IP_MULTICAST_TTL, 1)
        self._set(socket.IP_MULTICAST_LOOP, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)

    def _add_interface(self, number: int, index: int) -> None:
        entry = _VIF.pack(number, _USE_INDEX, _THRESHOLD, 0, index, bytes(4))
        self._set(_ADD_INTERFACE, entry)

    def _delete_interface(self, number: int) -> None:
        self._set(_DELETE_INTERFACE, _VIF.pack(number, 0, 0, 0, 0, bytes(4)))

    def _join(self, group: bytes, index: int) -> None:
        self._set(socket.IP_ADD_MEMBERSHIP, group + bytes(4) + index.to_bytes(4, sys.byteorder))

    def _entry(self, asked: Unresolved, number: int, targets: Sequence[int]) -> bytes:
        thresholds = bytearray(32)
        for target in targets:
            thresholds[target] = _THRESHOLD
        return _MFC.pack(asked.source, asked.group, number, bytes(thresholds), 0, 0, 0, 0)

    def _counter_request(self, asked: Unresolved) -> bytes:
        return _SG.pack(asked.source, asked.group, 0, 0, 0)

    def _counted(self, request: bytearray) -> int:
        _, _, packets, _, wrong = _SG.unpack(request)
        return int(packets - wrong)

    def _parse(
        self, data: bytes, ancillary: list[tuple[int, int, bytes]], address: tuple[str, int]
    ) -> Unresolved | Heard | None:
        if len(data) < 20:
            return None
        if not data[9]:
            kind, _, low, high, source, group = _UPCALL.unpack_from(data)
            index = self._index_of(high << 8 | low)
            return Unresolved(index, source, group) if kind == _NO_CACHE and index else None
        for _, option, content in ancillary:
            if option == _IP_PKTINFO and data[9] == self._protocol:
                index, *_ = _PACKET_INFO.unpack_from(content)
                return Heard(index, data[12:16], data[(data[0] & 15) * 4 :])
        return None

    def query(self, index: int, group: bytes | None) -> None:
        target = _ALL_HOSTS[4] if group is None else str(ip_address(group))
        info = _PACKET_INFO.pack(index, bytes(4), bytes(4))
        with suppress(OSError):
            self._socket.sendmsg(
                [encode_igmp_query(group)],
                [(socket.IPPROTO_IP, _IP_PKTINFO, info)],
                0,
                (target, 0),
            )


class Ipv6Router(MulticastRouter):
    """Speaks MLD."""

    version = 6
    _family = socket.AF_INET6
    _protocol = socket.IPPROTO_ICMPV6
    _level = socket.IPPROTO_IPV6

    def _prepare(self) -> None:
        blocked = bytearray(b"\xff" * 32)
        for kind in _MLD_TYPES:
            word = int.from_bytes(blocked[kind // 32 * 4 :][:4], sys.byteorder) & ~(1 << kind % 32)
            blocked[kind // 32 * 4 : kind // 32 * 4 + 4] = word.to_bytes(4, sys.byteorder)
        self._socket.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, bytes(blocked))
        self._set(_IPV6_RECVPKTINFO, 1)
        self._set(_IPV6_HOPOPTS, _ROUTER_ALERT6)
        self._set(socket.IPV6_MULTICAST_HOPS, 1)
        self._set(socket.IPV6_MULTICAST_LOOP, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)

    def _add_interface(self, number: int, index: int) -> None:
        self._set(_ADD_INTERFACE, _MIF.pack(number, 0, _THRESHOLD, index, 0))

    def _delete_interface(self, number: int) -> None:
        self._set(_DELETE_INTERFACE, number)

    def _join(self, group: bytes, index: int) -> None:
        self._set(socket.IPV6_JOIN_GROUP, group + index.to_bytes(4, sys.byteorder))

    def _entry(self, asked: Unresolved, number: int, targets: Sequence[int]) -> bytes:
        words = [0] * 8
        for target in targets:
            words[target // 32] |= 1 << target % 32
        return _MF6C.pack(_sockaddr(asked.source), _sockaddr(asked.group), number, *words)

    def _counter_request(self, asked: Unresolved) -> bytes:
        return _SG6.pack(_sockaddr(asked.source), _sockaddr(asked.group), 0, 0, 0)

    def _counted(self, request: bytearray) -> int:
        _, _, packets, _, wrong = _SG6.unpack(request)
        return int(packets - wrong)

    def _parse(
        self, data: bytes, ancillary: list[tuple[int, int, bytes]], address: tuple[str, int]
    ) -> Unresolved | Heard | None:
        if not data:
            return None
        if not data[0]:
            if len(data) < _UPCALL6.size:
                return None
            _, kind, number, _, source, group = _UPCALL6.unpack_from(data)
            index = self._index_of(number)
            return Unresolved(index, source, group) if kind == _NO_CACHE and index else None
        for _, option, content in ancillary:
            if option == _IPV6_PKTINFO:
                _, index = _PACKET_INFO6.unpack_from(content)
                return Heard(index, ip_address(address[0].split("%")[0]).packed, data)
        return None

    def query(self, index: int, group: bytes | None) -> None:
        target = _ALL_HOSTS[6] if group is None else str(ip_address(group))
        info = _PACKET_INFO6.pack(bytes(16), index)
        with suppress(OSError):
            self._socket.sendmsg(
                [encode_mld_query(group)],
                [(socket.IPPROTO_IPV6, _IPV6_PKTINFO, info)],
                0,
                (target, 0, 0, index),
            )


def _sockaddr(address: bytes) -> bytes:
    return _SOCKADDR6.pack(socket.AF_INET6, 0, 0, address, 0)


def _not_permitted() -> PrivilegeError:
    return PrivilegeError(
        "Being this host's multicast router is not permitted.",
        "Run as root, or give the process CAP_NET_ADMIN and CAP_NET_RAW.",
    )


@dataclass(frozen=True, slots=True)
class MulticastHost:
    """This machine as a multicast router: one for each IP version, and where hosts are."""

    routers: tuple[MulticastRouter, ...]
    lans: LanFinder


def open_routers() -> tuple[MulticastRouter, ...]:
    """Become this host's multicast router for every IP version it has.

    Raises:
        PrivilegeError, PlatformError: it cannot be; nothing has changed.
    """
    routers: list[MulticastRouter] = [Ipv4Router()]
    if Path("/proc/net/if_inet6").exists():
        try:
            routers.append(Ipv6Router())
        except PlatformError:
            routers[0].close()
            raise
    return tuple(routers)


def own_groups(directory: Path = Path("/proc/net")) -> dict[int, set[bytes]]:
    """Return the groups that programs of this host have joined, by index of the interface."""
    found: dict[int, set[bytes]] = {}
    for index, group in (*_igmp_lines(directory / "igmp"), *_igmp6_lines(directory / "igmp6")):
        found.setdefault(index, set()).add(group)
    return found


def _igmp_lines(file: Path) -> Iterable[tuple[int, bytes]]:
    """Yield index and group from lines such as "2 eth0 : 2 V3" and "    FB0000E0 1 0:0 0"."""
    index = 0
    for line in file.read_text().splitlines()[1:]:
        words = line.split()
        if not line.startswith("\t"):
            index = int(words[0])
        else:
            yield index, int(words[0], 16).to_bytes(4, sys.byteorder)


def _igmp6_lines(file: Path) -> Iterable[tuple[int, bytes]]:
    """Yield index and group from lines such as "2 eth0 ff0200...fb 1 00000004 0"."""
    if file.exists():
        for line in file.read_text().splitlines():
            words = line.split()
            yield int(words[0]), bytes.fromhex(words[2])
