"""From which address a WAN's datagrams come, as only the far end can see it.

Where something on the way translates addresses (NAT), that is not the WAN's own. The end that is
called tells it beside its view of a path; the end that calls dials an address and knows it.
"""

from ipaddress import ip_address
from typing import Final

from multiwanbond.core.datagram import Address
from multiwanbond.core.frames import Frame, Seen, View

# --- chosen by us ----------------------------------------------------------------------------

SEEN: Final = 2
"""The bit in a handshake's features that says "I can read this frame"."""


def beside_view(frames: list[Frame], remote: Address | None, features: int) -> list[Frame]:
    """Return `frames`, and where the peer is seen if a view of the path is among them.

    Args:
        frames: about to be sent on a path that begins at the peer.
        remote: where its datagrams come from.
        features: of the key they will be sealed with.
    """
    if remote is None or not features & SEEN or not any(isinstance(each, View) for each in frames):
        return frames
    # What is of one link only has a zone, and is no news.
    return frames if "%" in remote.host else [*frames, seen_at(remote)]


def seen_at(address: Address) -> Seen:
    """Return the frame that tells an address."""
    return Seen(port=address.port, address=ip_address(address.host).packed)


def address_of(seen: Seen) -> Address:
    """Return what a frame tells."""
    return Address(str(ip_address(seen.address)), seen.port)
