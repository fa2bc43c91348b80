"""Looks, before anything is changed, whether we could change it."""

from pathlib import Path
from typing import Final

from multiwanbond.errors import PlatformError, PrivilegeError

_CAP_NET_ADMIN: Final = 12  # <linux/capability.h>
_STATUS: Final = Path("/proc/self/status")
_TUN: Final = Path("/dev/net/tun")


def check_privileges(status: Path = _STATUS, tun: Path = _TUN) -> None:
    """Return if TUN devices, routes and marks are within our power.

    Raises:
        PrivilegeError: we have no CAP_NET_ADMIN.
        PlatformError: there is no TUN driver.
    """
    if not has_net_admin(status.read_text()):
        raise PrivilegeError(
            "Setting up a tunnel needs the privilege to configure the network.",
            "Run as root (sudo), or give the process CAP_NET_ADMIN.",
        )
    if not tun.exists():
        raise PlatformError(
            f"This system has no {tun}.",
            "Load the driver: 'modprobe tun'. In a container, start it with "
            "'--device /dev/net/tun --cap-add NET_ADMIN'.",
        )


def has_net_admin(status: str) -> bool:
    """Return whether the text of /proc/PID/status shows CAP_NET_ADMIN in effect."""
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_NET_ADMIN & 1)
    return False
