"""What may be said of kinds of traffic: classes of it, and what stays out of the tunnel."""

from dataclasses import dataclass

from multiwanbond.core.settings import Compression, Prefix, Priority
from multiwanbond.options import Reload, option

from .notations import DOMAIN, INTERFACE_NAME, NAME, PREFIX
from .traffic_notations import CODE_POINT, PORTS, PROTOCOL, PortRange


@dataclass(frozen=True, slots=True, kw_only=True)
class Class:
    """Traffic that is to be treated in its own way; the first class that matches counts."""

    name: str = option(notation=NAME, reload=Reload.LIVE, doc="What people call the class.")
    protocols: tuple[int, ...] = option(
        tuple,
        notation=PROTOCOL,
        low=0,
        high=255,
        reload=Reload.LIVE,
        default_doc="any",
        doc="IP protocols the class has, by name or number.",
    )
    prefixes: tuple[Prefix, ...] = option(
        tuple,
        notation=PREFIX,
        reload=Reload.LIVE,
        default_doc="any",
        doc="Networks, with the source or the destination in one of them.",
    )
    domains: tuple[str, ...] = option(
        tuple,
        notation=DOMAIN,
        reload=Reload.LIVE,
        default_doc="none",
        doc="Names whose addresses count as such networks, too; looked up as those of bypass.",
    )
    devices: tuple[str, ...] = option(
        tuple,
        notation=INTERFACE_NAME,
        reload=Reload.LIVE,
        default_doc="none",
        doc="Interfaces of this machine whose networks count as well, such as one of a guests' "
        "network.",
    )
    ports: tuple[PortRange, ...] = option(
        tuple,
        notation=PORTS,
        reload=Reload.LIVE,
        default_doc="any",
        doc="Ports and ranges of ports, with the source's or the destination's among them.",
    )
    dscp: tuple[int, ...] = option(
        tuple,
        notation=CODE_POINT,
        low=0,
        high=63,
        reload=Reload.LIVE,
        default_doc="any",
        doc="Code points of differentiated services, as the first packet of a connection has it.",
    )
    wans: tuple[int, ...] = option(
        tuple,
        low=1,
        high=255,
        reload=Reload.LIVE,
        default_doc="all",
        doc="Ids of the WANs that the class may use, as long as one of them is usable; if none "
        "is, it uses the others rather than not to get through. A server knows the WANs of its "
        "clients by the same ids. Parity of fec may still go by others.",
    )
    duplicate: bool | None = option(
        None,
        reload=Reload.LIVE,
        default_doc="session.duplicate_packets",
        doc="Whether its packets leave by several WANs at once, as session.duplicate_mode says; "
        "false also refuses the copies that urgent packets get while their WAN is unsteady.",
    )
    order: bool | None = option(
        None,
        reload=Reload.LIVE,
        default_doc="true but for UDP that sends little",
        doc="Whether packets are delivered in the order of their connection. false delivers them "
        "as they come, and never late: right for live video, wrong for TCP.",
    )
    fec: bool = option(
        True,
        reload=Reload.LIVE,
        doc="Whether its packets get parity while fec.enabled is true.",
    )
    compression: Compression | None = option(
        None,
        reload=Reload.LIVE,
        default_doc="session.compression",
        doc="zstd makes its packets smaller, none leaves them as they are.",
    )
    priority: Priority = option(
        Priority.AUTO,
        reload=Reload.LIVE,
        doc="latency_first lets its packets pass all others, as long as no line is full of them "
        "alone; throughput_first treats them as a download from the first one on; auto goes by "
        "what a connection sends.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bypass:
    """What leaves by the machine's ordinary routes instead of the tunnel's default route."""

    prefixes: tuple[Prefix, ...] = option(
        tuple,
        notation=PREFIX,
        reload=Reload.LIVE,
        default_doc="none",
        doc="Networks that are reached outside the tunnel, by this machine and those behind it.",
    )
    domains: tuple[str, ...] = option(
        tuple,
        notation=DOMAIN,
        reload=Reload.LIVE,
        default_doc="none",
        doc="Names whose addresses are reached outside the tunnel. They are looked up every "
        "minute; an address counts for an hour after it was last among the answers. Names below "
        "them do not count, and a service that answers others with other addresses escapes it.",
    )
    devices: tuple[str, ...] = option(
        tuple,
        notation=INTERFACE_NAME,
        reload=Reload.LIVE,
        default_doc="none",
        doc="Interfaces all of whose hosts reach the Internet outside the tunnel, such as one of a "
        "guests' network.",
    )
