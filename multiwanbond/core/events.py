"""Rare things the operator wants to know; the daemon logs them and plugins may act on them."""

from dataclasses import dataclass
from enum import Enum

from multiwanbond.core.datagram import Address
from multiwanbond.core.path_state import PathState, Trigger


class CloseReason(Enum):
    """Why a bond ended. The values are on the wire (close frame)."""

    SHUT_DOWN = 0
    """The operator ended the daemon."""
    REPLACED = 1
    """The peer started afresh."""
    SILENT = 2
    """Nothing authentic was heard for too long."""
    REMOVED = 3
    """The peer is no longer configured."""


def close_reason(code: int) -> CloseReason:
    """Return the reason behind a wire code; one that a later release added means "shut down"."""
    try:
        return CloseReason(code)
    except ValueError:
        return CloseReason.SHUT_DOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class BondOpened:
    """A handshake completed and both ends can send; resumed means that only the keys are new."""

    peer: str
    is_resumed: bool
    cipher: str
    inner_mtu: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BondClosed:
    """The bond is gone; an initiator opens a new one by itself unless it was shut down."""

    peer: str
    reason: CloseReason


@dataclass(frozen=True, slots=True, kw_only=True)
class PathStateChanged:
    """A path moved from one health state to another."""

    peer: str
    path_id: int
    state_from: PathState
    state_to: PathState
    trigger: Trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class PathAddressChanged:
    """The peer's datagrams on this path now come from another address (roaming, NAT rebinding)."""

    peer: str
    path_id: int
    address_from: Address
    address_to: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class PathRemoved:
    """The end whose WAN it is has taken a path out of the bond."""

    peer: str
    path_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MtuChanged:
    """The paths to a peer carry other packets than before; larger ones should not come any more."""

    peer: str
    inner_mtu: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupsChanged:
    """Peers want packets to these multicast groups, and to no others."""

    groups: frozenset[bytes]
    """Packed addresses, 4 or 16 bytes."""


Event = (
    BondOpened
    | BondClosed
    | PathStateChanged
    | PathAddressChanged
    | PathRemoved
    | MtuChanged
    | GroupsChanged
)
