"""Every exception MultiWANBond raises on purpose, and the exit code each means (sysexits.h).

A message a person may see names the thing, quotes the value and says what to do.
"""

from enum import Enum


class MultiWanBondError(Exception):
    """Root of all deliberate errors; `exit_code` is what the command returns when one ends it."""

    exit_code = 1


class ConfigError(MultiWanBondError):
    """The operator's file says something that cannot be meant.

    Args:
        where: `file:line:column`, or the file alone when no position is known.
        problem: what is wrong, with the offending value quoted.
        remedy: what the operator can do about it.
    """

    exit_code = 78

    def __init__(self, where: str, problem: str, remedy: str) -> None:
        super().__init__(f"{where}: {problem} {remedy}".strip())
        self.where = where
        self.problem = problem
        self.remedy = remedy


class ConfigFileError(MultiWanBondError):
    """Everything that is wrong with one configuration file, found in one pass."""

    exit_code = 78

    def __init__(self, errors: list[ConfigError]) -> None:
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = errors


class PlatformError(MultiWanBondError):
    """The machine lacks something we need: a kernel feature, a device, a free address."""

    exit_code = 69

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem} {remedy}".strip())
        self.problem = problem
        self.remedy = remedy


class PrivilegeError(PlatformError):
    """We may not do what we were asked to; being root (or CAP_NET_ADMIN) would help."""

    exit_code = 77


class ControlError(MultiWanBondError):
    """The command could not reach the daemon, or the daemon refused."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem} {remedy}".strip())
        self.problem = problem
        self.remedy = remedy


class MessageError(MultiWanBondError):
    """A program wants to send what no bond carries, or to where none leads."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem} {remedy}".strip())
        self.problem = problem
        self.remedy = remedy


class UsageError(MultiWanBondError):
    """The command line itself is wrong."""

    exit_code = 64


class DropReason(Enum):
    """Why a received datagram or packet was thrown away; statistics count under these names."""

    TOO_SHORT = "too short"
    """Fewer bytes than the type's fixed part needs."""
    UNKNOWN_TYPE = "unknown type"
    """The first byte names no datagram or frame type of this wire version."""
    UNKNOWN_VERSION = "unknown version"
    """A handshake of a wire version we do not speak."""
    UNKNOWN_SESSION = "unknown session"
    """No live key has this receiver index."""
    BAD_MAC = "bad mac"
    """A handshake whose first MAC does not prove knowledge of our public key."""
    COOKIE_REQUIRED = "cookie required"
    """Under load, and the handshake proved no address; a cookie was sent instead."""
    BAD_HANDSHAKE = "bad handshake"
    """A handshake message that does not decrypt or decode."""
    UNKNOWN_PEER = "unknown peer"
    """A well-formed handshake by a key that is not configured."""
    REPLAYED_HANDSHAKE = "replayed handshake"
    """A handshake initiation seen before."""
    FORGED = "forged"
    """The AEAD tag does not verify."""
    REPLAYED = "replayed"
    """A counter already seen, or older than the replay window."""
    MALFORMED = "malformed"
    """Authentic, but its content does not decode."""
    BAD_SOURCE = "bad source"
    """An inner source address this peer may not use."""


class DatagramError(MultiWanBondError):
    """The peer or the network sent something unusable; it is counted, never shown."""

    def __init__(self, reason: DropReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class LocalProtocolError(MultiWanBondError):
    """We broke our own rules: a bug of ours. Let it end the task and be seen."""
