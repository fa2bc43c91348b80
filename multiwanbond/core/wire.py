"""The datagrams on a WAN, byte by byte; `frames` has what is in CONTROL datagrams.

Everything is big-endian. A datagram is either a handshake message, readable before any key exists,
or a transport datagram: 16 bytes of header in the clear, which are the AEAD's associated data, then
ciphertext, then a 16-byte tag. With UDP and IPv4 that is 60 bytes a packet, 80 with IPv6.

Functions that read foreign bytes end in `_untrusted` and raise `DatagramError`, nothing else.
"""

from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

from multiwanbond.core.burst import Bytes
from multiwanbond.errors import DatagramError, DropReason

# --- from a specification --------------------------------------------------------------------

DH_SIZE: Final = 32
"""An X25519 public key (Noise, section 12.1)."""
TAG_SIZE: Final = 16
"""The tag of AES-GCM and ChaCha20-Poly1305 (Noise, section 12.3)."""

# --- chosen by us ----------------------------------------------------------------------------

WIRE_VERSION: Final = 1
"""Raised when a release can no longer be understood by an older one."""
MIN_DATAGRAM: Final = 32
"""Some carriers' NATs drop tiny datagrams; every datagram of ours is at least this long."""
TIME_UNIT: Final = 16e-6
"""Seconds per tick of a wire timestamp: 24 bits of it wrap after 268 s, far beyond any RTT."""
TIMESTAMP_MASK: Final = 0xFFFFFF
SEQUENCE_BITS: Final = 32
GLOBAL_SEQUENCE_BITS: Final = 24
MAX_FLOW_DISTANCE: Final = 0xFFFF
"""A flow's previous packet further back than this is not waited for: the distance is sent as 0."""
MAC_SIZE: Final = 16
COOKIE_SIZE: Final = 16
COOKIE_NONCE_SIZE: Final = 24


class DatagramType(IntEnum):
    """High nibble of the first byte."""

    INITIATION = 1
    RESPONSE = 2
    COOKIE = 3
    DATA = 4
    """One packet or one segment of a run; the plaintext is the packet itself."""
    CONTROL = 5
    """A sequence of frames."""
    PARITY = 6
    """A parity shard of several packets (see `fec.shards`)."""


TRANSPORT_TYPES: Final = frozenset(
    {DatagramType.DATA.value, DatagramType.CONTROL.value, DatagramType.PARITY.value}
)
"""Types of datagrams that are sealed under an agreed key."""


class DataForm(IntEnum):
    """Low two bits of the first byte of a DATA datagram: what its plaintext is."""

    PACKET = 0
    """A whole packet with its checksums complete."""
    PARTIAL = 1
    """A whole packet whose transport checksum holds only the pseudo-header's sum."""
    SEGMENT = 2
    """A segment of a run, under the run's header (see `join`)."""
    LAST_SEGMENT = 3
    """The same, and the run ends with it: FIN and PSH of the header count."""


FORM_MASK: Final = 0x03


def datagram_type_untrusted(first_byte: int) -> DatagramType:
    """Return the type, or raise UNKNOWN_TYPE."""
    try:
        return DatagramType(first_byte >> 4)
    except ValueError:
        raise DatagramError(DropReason.UNKNOWN_TYPE) from None


# --- transport header ------------------------------------------------------------------------
# offset size
#      0    1  type (high nibble), form or zero (low nibble; 4 more of a compressed DATA datagram)
#      1    1  path id, chosen by the initiator: the number of its WAN
#      2    2  session id: the receiver's name for the key
#      4    4  path sequence, low 32 bits; expanded to 64 it is the AEAD's counter
#      8    3  timestamp of the transmission, 16 us ticks of the sender's clock
#     11    3  global sequence, low 24 bits (DATA: of this packet; others: the last one assigned)
#     14    2  distance to the global sequence of the flow's previous packet; 0: not ordered
#
# Timestamp, global sequence and distance are packed as one 64-bit number: a Struct cannot say
# "three bytes", and two shifts are cheaper than two slices.

TRANSPORT_HEADER: Final = Struct("!BBHIQ")
HEADER_SIZE: Final = TRANSPORT_HEADER.size
OVERHEAD: Final = HEADER_SIZE + TAG_SIZE
"""Bytes a transport datagram is longer than its plaintext."""
NONCE: Final = Struct("!IQ")
"""AEAD nonce: path id, then the 64-bit path sequence. Each direction has a key of its own."""


def pack_tail(timestamp: int, global_sequence: int, distance: int) -> int:
    """Return the header's last eight bytes as a number; arguments may exceed their fields."""
    return (
        (timestamp & TIMESTAMP_MASK) << 40 | (global_sequence & 0xFFFFFF) << 16 | distance & 0xFFFF
    )


def expand(truncated: int, bits: int, reference: int) -> int:
    """Return the number nearest to `reference` whose low `bits` are `truncated`; never negative."""
    size = 1 << bits
    candidate = reference - (reference - truncated) % size
    # `candidate` is the greatest such number <= reference; the next one may be nearer.
    if reference - candidate > size >> 1 or candidate < 0:
        candidate += size
    return candidate


def ticks(now: float) -> int:
    """Return a clock reading as an untruncated wire timestamp."""
    return int(now / TIME_UNIT)


# --- handshake messages ----------------------------------------------------------------------
# Initiation                              Response
# offset size                             offset size
#      0    1  0x10                            0    1  0x20
#      1    1  wire version                    1    1  wire version
#      2    2  sender's session id             2    2  sender's session id
#      4    n  Noise message 1                 4    2  receiver's session id
#    4+n   16  MAC 1                           6    n  Noise message 2
#   20+n   16  MAC 2                         6+n   16  MAC 1
#                                           22+n   16  MAC 2
# Cookie: 0x30, version, receiver's session id (2), nonce (24), sealed cookie (16 + 16).
# MAC 1 covers everything before it; MAC 2 everything before it, MAC 1 included.

_INITIATION_HEAD: Final = Struct("!BBH")
_RESPONSE_HEAD: Final = Struct("!BBHH")
_COOKIE: Final = Struct(f"!BBH{COOKIE_NONCE_SIZE}s{COOKIE_SIZE + TAG_SIZE}s")


class Initiation(NamedTuple):
    """First handshake message."""

    sender: int
    noise: bytes


class Response(NamedTuple):
    """Second handshake message."""

    sender: int
    receiver: int
    noise: bytes


class CookieReply(NamedTuple):
    """A server under load asks for proof of address before it spends a key exchange."""

    receiver: int
    nonce: bytes
    sealed: bytes


class Macs(NamedTuple):
    """The end of a handshake message, and what each MAC covers."""

    covered_by_mac1: bytes
    mac1: bytes
    covered_by_mac2: bytes
    mac2: bytes


def encode_initiation(message: Initiation) -> bytes:
    """Return the message without its MACs (see `cookie.MacStamper`)."""
    head = _INITIATION_HEAD.pack(DatagramType.INITIATION << 4, WIRE_VERSION, message.sender)
    return head + message.noise


def encode_response(message: Response) -> bytes:
    """Return the message without its MACs."""
    head = _RESPONSE_HEAD.pack(
        DatagramType.RESPONSE << 4, WIRE_VERSION, message.sender, message.receiver
    )
    return head + message.noise


def encode_cookie_reply(message: CookieReply) -> bytes:
    """Return the whole datagram."""
    return _COOKIE.pack(
        DatagramType.COOKIE << 4, WIRE_VERSION, message.receiver, message.nonce, message.sealed
    )


def _check_version(data: Bytes, size: int) -> None:
    if len(data) < size:
        raise DatagramError(DropReason.TOO_SHORT)
    if data[1] != WIRE_VERSION:
        raise DatagramError(DropReason.UNKNOWN_VERSION)


def split_macs_untrusted(data: Bytes) -> Macs:
    """Return the MACs of an initiation or response and the bytes they cover."""
    if len(data) < _RESPONSE_HEAD.size + 2 * MAC_SIZE:
        raise DatagramError(DropReason.TOO_SHORT)
    whole = bytes(data)
    return Macs(
        whole[: -2 * MAC_SIZE],
        whole[-2 * MAC_SIZE : -MAC_SIZE],
        whole[:-MAC_SIZE],
        whole[-MAC_SIZE:],
    )


def decode_initiation_untrusted(data: Bytes) -> Initiation:
    """Decode an initiation; its MACs are not looked at."""
    # An ephemeral key, a sealed static key and an empty sealed payload are the least it can hold.
    _check_version(data, _INITIATION_HEAD.size + 2 * DH_SIZE + 2 * TAG_SIZE + 2 * MAC_SIZE)
    _, _, sender = _INITIATION_HEAD.unpack_from(data)
    return Initiation(sender, bytes(data[_INITIATION_HEAD.size : -2 * MAC_SIZE]))


def decode_response_untrusted(data: Bytes) -> Response:
    """Decode a response; its MACs are not looked at."""
    _check_version(data, _RESPONSE_HEAD.size + DH_SIZE + TAG_SIZE + 2 * MAC_SIZE)
    _, _, sender, receiver = _RESPONSE_HEAD.unpack_from(data)
    return Response(sender, receiver, bytes(data[_RESPONSE_HEAD.size : -2 * MAC_SIZE]))


def decode_cookie_reply_untrusted(data: Bytes) -> CookieReply:
    """Decode a cookie reply; it is not authenticated yet."""
    if len(data) != _COOKIE.size:
        raise DatagramError(
            DropReason.TOO_SHORT if len(data) < _COOKIE.size else DropReason.MALFORMED
        )
    _check_version(data, _COOKIE.size)
    _, _, receiver, nonce, sealed = _COOKIE.unpack(bytes(data))
    return CookieReply(receiver, nonce, sealed)
