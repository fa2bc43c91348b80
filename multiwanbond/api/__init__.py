"""For programs: a bond as part of them, without a TUN device and without root.

    configuration = load_configuration("client.yaml")
    async with open_bond(configuration) as bond:
        await bond.send(b"Hello, MultiWANBond!")
        async for message in bond:
            print(message.peer, message.data)

What is listed here stays as it is from release to release; see docs/library.md.
"""

from pathlib import Path

from multiwanbond.config.load import load, load_bytes
from multiwanbond.config.model import Configuration, Mode
from multiwanbond.core.datagram import Address
from multiwanbond.core.events import (
    BondClosed,
    BondOpened,
    Event,
    MtuChanged,
    PathAddressChanged,
    PathRemoved,
    PathStateChanged,
)
from multiwanbond.core.path_state import PathState
from multiwanbond.errors import (
    ConfigFileError,
    MessageError,
    MultiWanBondError,
    PlatformError,
)

from .bond import Bond, BondStatistics, open_bond
from .keys import KeyPair, generate_keys
from .messages import MESSAGE_PORT, Message

__all__ = [
    "MESSAGE_PORT",
    "Address",
    "Bond",
    "BondClosed",
    "BondOpened",
    "BondStatistics",
    "ConfigFileError",
    "Configuration",
    "Event",
    "KeyPair",
    "Message",
    "MessageError",
    "Mode",
    "MtuChanged",
    "MultiWanBondError",
    "PathAddressChanged",
    "PathRemoved",
    "PathState",
    "PathStateChanged",
    "PlatformError",
    "generate_keys",
    "load_configuration",
    "open_bond",
    "parse_configuration",
]


def load_configuration(path: str | Path, *, mode: Mode | None = None) -> Configuration:
    """Return the configuration in a file, YAML or JSON; `mode` overrides the one it names.

    Raises:
        ConfigFileError: everything that is wrong with the file, with line, column and remedy.
    """
    return load(Path(path), mode=mode)


def parse_configuration(text: str, *, mode: Mode | None = None) -> Configuration:
    """Return the configuration that a text says, as if it were in a file; see the function above.

    Files it names are sought in the current directory.
    """
    return load_bytes(text.encode(), mode=mode)
