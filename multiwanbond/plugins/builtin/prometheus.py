"""Plugin `prometheus`: the figures of `mwb status` for Prometheus, by HTTP or in a file."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from multiwanbond.config.notations import FILE, LISTEN_ADDRESS
from multiwanbond.core.datagram import Address
from multiwanbond.options import option
from multiwanbond.plugins.api import Context, MetricsCollector
from multiwanbond.units import DURATION

_MOST_REQUEST: Final = 8192
_REQUEST_TIME: Final = 5.0
_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]
Sample = tuple[str, Labels, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One figure: its name in Prometheus, what it is, and where it stands in the document."""

    name: str
    kind: str
    help: str
    key: str
    factor: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The settings of `prometheus`."""

    listen: Address | None = option(
        Address("127.0.0.1", 9400),
        notation=LISTEN_ADDRESS,
        doc="Address and port that answer GET /metrics, to anybody who can reach them.",
    )
    textfile: Path | None = option(
        None,
        notation=FILE,
        default_doc="none",
        doc="File that is written anew each time, for node_exporter's textfile collector.",
    )
    interval: float = option(
        5.0,
        notation=DURATION,
        low=0.5,
        high=3600,
        doc="Time between two looks at the figures.",
    )


_PATH: Final = (
    Metric(name="rtt_seconds", kind="gauge", help="Round-trip time.", key="rtt_ms", factor=1e-3),
    Metric(name="jitter_seconds", kind="gauge", help="Its variation.", key="jitter_ms",
           factor=1e-3),
    Metric(name="loss_ratio", kind="gauge", help="Share of lost datagrams.", key="loss_pct",
           factor=0.01),
    Metric(name="capacity_bytes", kind="gauge", help="Bytes a second it can take from us.",
           key="capacity_mbit", factor=125e3),
    Metric(name="sent_bytes_total", kind="counter", help="Bytes of datagrams sent.",
           key="sent_bytes"),
    Metric(name="received_bytes_total", kind="counter", help="Bytes of datagrams received.",
           key="received_bytes"),
)  # fmt: skip
_PEER: Final = (
    Metric(name="connected", kind="gauge", help="1 if the bond stands.", key="is_connected"),
    Metric(name="sent_bytes_total", kind="counter", help="Inner bytes sent.", key="sent_bytes"),
    Metric(name="received_bytes_total", kind="counter", help="Inner bytes received.",
           key="received_bytes"),
    Metric(name="repaired_packets_total", kind="counter", help="Packets sent again.",
           key="repaired_packets"),
    Metric(name="copied_packets_total", kind="counter", help="Packets sent twice.",
           key="copied_packets"),
    Metric(name="recovered_packets_total", kind="counter", help="Packets made up for by parity.",
           key="recovered_packets"),
    Metric(name="queued_bytes", kind="gauge", help="Inner bytes that wait.", key="queued_bytes"),
)  # fmt: skip
_QUOTA: Final = (
    Metric(name="quota_bytes", kind="gauge", help="Bytes it may carry in a period.",
           key="quota_bytes"),
    Metric(name="quota_used_bytes", kind="gauge", help="Bytes of these it has carried.",
           key="used_bytes"),
)  # fmt: skip


class Prometheus(MetricsCollector):
    """Offers the figures of `mwb status` to Prometheus, by HTTP or in a file."""

    options_type = Options

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__(options, context)
        self.interval = options.interval
        self._page = b""
        self.listening: list[trio.SocketListener] = []
        """Sockets that requests come to."""

    async def run(self) -> None:
        """Answer requests until cancelled."""
        where: Address | None = self.options.listen
        if where is None:
            await trio.sleep_forever()
            return
        serve = partial(trio.serve_tcp, self._answer, where.port, host=where.host)
        async with trio.open_nursery() as nursery:
            self.listening = await nursery.start(serve)

    async def collect(self, status: Mapping[str, Any]) -> None:
        """Keep the figures for the next request, and write the file."""
        self._page = page(status).encode()
        file: Path | None = self.options.textfile
        if file is not None:
            # By another name first: nobody ever reads half of it.
            part = file.with_name(f".{file.name}.part")
            await trio.Path(part).write_bytes(self._page)
            await trio.Path(part).replace(file)

    async def _answer(self, stream: trio.SocketStream) -> None:
        try:
            with trio.move_on_after(_REQUEST_TIME):
                await stream.send_all(self._response(await _read_request(stream)))
                await stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # whoever asked has gone
        finally:
            await trio.aclose_forcefully(stream)

    def _response(self, request: bytes) -> bytes:
        method, _, rest = request.partition(b" ")
        path = rest.split(b" ", 1)[0].split(b"?", 1)[0]
        if method not in (b"GET", b"HEAD"):
            return _http("405 Method Not Allowed", b"Only GET is answered.\n")
        if path not in (b"/metrics", b"/"):
            return _http("404 Not Found", b"The figures are at /metrics.\n")
        return _http("200 OK", self._page, is_head=method == b"HEAD")


async def _read_request(stream: trio.SocketStream) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data and len(data) < _MOST_REQUEST:
        more = await stream.receive_some()
        if not more:
            break
        data += more
    return data


def _http(status: str, body: bytes, *, is_head: bool = False) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {_TYPE}\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + (b"" if is_head else body)


def page(status: Mapping[str, Any]) -> str:
    """Return a status document in Prometheus' text format."""
    tunnel = {"tunnel": status["tunnel"]["name"]}
    lines = ["# HELP mwb_up 1 while the daemon runs.", "# TYPE mwb_up gauge"]
    lines.append(_line(("mwb_up", {**tunnel, "version": status["version"]}, 1.0)))
    for metric in _PEER:
        lines += _head(f"mwb_peer_{metric.name}", metric)
        for peer in status["peers"]:
            value = peer[metric.key]
            labels = {**tunnel, "peer": peer["name"]}
            lines += _samples(f"mwb_peer_{metric.name}", labels, value, metric)
    for metric in _PATH:
        lines += _head(f"mwb_wan_{metric.name}", metric)
        for own, path in _paths(status, tunnel):
            lines += _samples(f"mwb_wan_{metric.name}", own, path[metric.key], metric)
    for metric in _QUOTA:
        lines += _head(f"mwb_wan_{metric.name}", metric)
        for quota in status["quotas"]:
            own = {**tunnel, "wan": quota["wan"]}
            lines += _samples(f"mwb_wan_{metric.name}", own, quota[metric.key], metric)
    lines += ["# HELP mwb_wan_state 1 for the state it is in.", "# TYPE mwb_wan_state gauge"]
    for own, path in _paths(status, tunnel):
        lines.append(_line(("mwb_wan_state", {**own, "state": path["state"]}, 1.0)))
    lines += ["# HELP mwb_dropped_total Received datagrams thrown away.",
              "# TYPE mwb_dropped_total counter"]  # fmt: skip
    for reason, count in status["dropped"].items():
        lines.append(_line(("mwb_dropped_total", {**tunnel, "reason": reason}, float(count))))
    return "\n".join(lines) + "\n"


def _paths(status: Mapping[str, Any], tunnel: Labels) -> Iterator[tuple[Labels, Mapping[str, Any]]]:
    for peer in status["peers"]:
        for path in peer["paths"]:
            yield {**tunnel, "peer": peer["name"], "wan": path["wan"]}, path


def _head(name: str, metric: Metric) -> list[str]:
    return [f"# HELP {name} {metric.help}", f"# TYPE {name} {metric.kind}"]


def _samples(name: str, labels: Labels, value: Any, metric: Metric) -> list[str]:
    if value is None:
        return []  # not measured yet
    return [_line((name, labels, float(value) * metric.factor))]


def _line(sample: Sample) -> str:
    name, labels, value = sample
    shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    number = str(int(value)) if value == math.floor(value) else f"{value:.9g}"
    return f"{name}{{{shown}}} {number}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
