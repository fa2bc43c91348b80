"""The status document as a person reads it: a few lines and a table.

rich draws the table on a terminal; a pipe gets plain columns, which need no import at all.
"""

import sys
from collections.abc import Iterator, Sequence

from multiwanbond.control.status import (
    MulticastDocument,
    PathDocument,
    PeerDocument,
    QuotaDocument,
    ServerDocument,
    StatusDocument,
    WanDocument,
)
from multiwanbond.units import format_rate, format_size

_HEADINGS = (
    "WAN",
    "interface",
    "state",
    "MTU",
    "RTT",
    "jitter",
    "loss",
    "loss down",
    "can take",
    "can bring",
    "up",
    "down",
    "remote",
)
_NUMBERS = {"MTU", "RTT", "jitter", "loss", "loss down", "can take", "can bring", "up", "down"}
_IF_WIDE = {"MTU", "loss down", "can bring"}
_WIDE = 110
"""Characters a terminal has at least for the columns in `_IF_WIDE`."""
_COLOURS = {"Up": "green", "Degraded": "yellow", "Recovering": "yellow", "Down": "red"}


def show_status(status: StatusDocument) -> None:
    """Print the document to stdout."""
    print(_headline(status))
    for peer in status["peers"]:
        print()
        print(_peer_line(peer))
        rows = [_path_row(path) for path in peer["paths"]]
        if rows:
            _show_table(rows)
        for line in filter(None, (*_narrow_lines(peer), _mending(peer), _shrinking(peer))):
            print(f"  {line}")
    for line in (*_server_lines(status["servers"]), *waiting_lines(status["wans"])):
        print(line)
    for line in map(_quota_line, status["quotas"]):
        print(line)
    for line in _multicast_lines(status["multicast"]):
        print(line)
    for line in (*_plugin_lines(status), *_loss_lines(status), *_slow_lines(status)):
        print(line)


def waiting_lines(wans: Sequence[WanDocument]) -> Iterator[str]:
    """Yield what each WAN waits for that cannot be tried yet, and what to know of the others."""
    for wan in wans:
        if wan["waiting_for"]:
            yield f"WAN {wan['name']} waits: {wan['waiting_for']}"
        elif wan["warning"]:
            yield f"WAN {wan['name']}: {wan['warning']}"


def _server_lines(servers: Sequence[ServerDocument]) -> Iterator[str]:
    """Yield which of several servers is in use; one alone is the peer that is shown anyway."""
    if len(servers) > 1:
        shown = (
            f"{server['name']} at {server['remote']}{' (in use)' if server['is_used'] else ''}"
            for server in servers
        )
        yield f"servers, in this order: {', '.join(shown)}"


def _quota_line(quota: QuotaDocument) -> str:
    used, most = quota["used_bytes"], quota["quota_bytes"]
    since = f" since {quota['since']}" if quota["since"] else ""
    kept = "" if quota["is_kept"] else "; cannot be written, a restart forgets it"
    until = quota["until"]
    if quota["is_used_up"]:
        fate = "off" if quota["action"] == "off" else "in reserve"
        then = f": {fate} until {until}" if until else f": {fate}; the clock is not set"
    else:
        then = f"; anew on {until}" if until else "; the clock is not set"
    return (
        f"WAN {quota['wan']}: {format_size(used)} of {format_size(most)} used{since}, "
        f"{used / most * 100:.1f} %{then}{kept}"
    )


def _headline(status: StatusDocument) -> str:
    tunnel = status["tunnel"]
    addresses = ", ".join(tunnel["addresses"]) or "no address"
    return (
        f"{tunnel['name']} ({status['mode']}): {addresses}, MTU {tunnel['mtu']}, running for "
        f"{_age(status['uptime_s'])}, process {status['pid']}, version {status['version']}"
    )


def _peer_line(peer: PeerDocument) -> str:
    if not peer["is_connected"]:
        return f"peer {peer['name']} ({peer['key']}...): not connected"
    return (
        f"peer {peer['name']} ({peer['key']}...): connected for {_age(peer['connected_s'] or 0)}, "
        f"{peer['cipher']}, sent {format_size(peer['sent_bytes'])}, "
        f"received {format_size(peer['received_bytes'])}"
    )


def _narrow_lines(peer: PeerDocument) -> Iterator[str]:
    """Yield which paths carry no packets, because they let only smaller ones pass."""
    for path in peer["paths"]:
        if not path["carries_packets"]:
            yield f"{path['wan']} carries no packets now: {_why_narrow(path)}"


def _why_narrow(path: PathDocument) -> str:
    if path["mtu_state"] == "searching":
        return "large ones are lost there, and what passes is being looked for"
    return f"only {path['mtu']} bytes pass there, the tunnel's headers included"


def _mending(peer: PeerDocument) -> str:
    """Return what was done against loss and lateness; "" if nothing was."""
    counts = {
        "sent again": peer["repaired_packets"],
        "sent twice": peer["copied_packets"],
        "parity sent": peer["parity_datagrams"],
        "made up for by parity": peer["recovered_packets"],
    }
    return ", ".join(f"{text}: {count}" for text, count in counts.items() if count)


def _shrinking(peer: PeerDocument) -> str:
    """Return what compression has done; "" if nothing."""
    if not peer["compressed_packets"]:
        return ""
    saved = format_size(peer["saved_bytes"])
    return f"compressed: {peer['compressed_packets']} packets, {saved} less sent"


def _plugin_lines(status: StatusDocument) -> Iterator[str]:
    """Yield what runs beside the packets, and what failed."""
    running = [each["name"] for each in status["plugins"] if each["state"] == "running"]
    if running:
        yield f"plugins: {', '.join(running)}"
    for each in status["plugins"]:
        if each["state"] != "running":
            yield f"plugin {each['name']} is disabled: {each['reason']}"
        if each["dropped_alerts"]:
            yield f"plugin {each['name']} was too slow for {each['dropped_alerts']} alerts"


def _loss_lines(status: StatusDocument) -> Iterator[str]:
    """Yield what was thrown away, if anything was: silence means all is well."""
    dropped = [f"{count} {reason}" for reason, count in status["dropped"].items() if count]
    if dropped:
        yield f"received datagrams dropped: {', '.join(dropped)}"
    for key, text in (
        ("unroutable_packets", "packets to addresses of no peer"),
        ("undeliverable_packets", "packets the tunnel interface did not take"),
        ("unsent_datagrams", "datagrams that could not leave"),
    ):
        count = status[key]  # type: ignore[literal-required]  # three keys of the same type
        if count:
            yield f"{text}: {count}"


def _multicast_lines(multicast: MulticastDocument | None) -> Iterator[str]:
    """Yield which groups are carried, and how much."""
    if multicast is None:
        return
    here, there = (_listed(multicast[side]) for side in ("wanted_here", "wanted_there"))
    yield (
        f"multicast on {_listed(multicast['interfaces'])}: wanted here {here}, there {there}; sent "
        f"{multicast['sent_packets']} packets, received {multicast['received_packets']}, "
        f"passed on {multicast['relayed_packets']}"
    )
    if multicast["looped_packets"]:
        yield f"multicast packets that came round and were stopped: {multicast['looped_packets']}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _slow_lines(status: StatusDocument) -> Iterator[str]:
    """Yield what takes more processor time here than it could."""
    if status["tunnel"]["offload"] == "none":
        yield f"slower than need be: {status['tunnel']['name']} takes packets one by one"
    names = {wan["id"]: wan["name"] for wan in status["wans"]}
    for socket in status["sockets"]:
        if not socket["is_gso"]:
            name = names.get(socket["wan_id"], socket["local"])
            yield f"slower than need be: datagrams leave by {name} one by one (no GSO)"
    if not status["is_compiled"]:
        yield "slower than need be: Python encrypts (python -m multiwanbond.native.build)"


def _path_row(path: PathDocument) -> list[str]:
    view = path["peer_view"]
    return [
        path["wan"],
        path["interface"] or "",
        _state(path),
        str(path["mtu"]) if path["mtu_state"] == "found" else "?",
        _milliseconds(path["rtt_ms"]),
        _milliseconds(path["jitter_ms"]),
        f"{path['loss_pct']:.1f} %",
        f"{view['loss_pct']:.1f} %" if view else "",
        format_rate(path["capacity_mbit"] * 1e6 / 8),
        format_rate(view["capacity_mbit"] * 1e6 / 8) if view else "",
        format_rate(path["rate_up_mbit"] * 1e6 / 8),
        format_rate(path["rate_down_mbit"] * 1e6 / 8),
        path["remote"] or "",
    ]


def _state(path: PathDocument) -> str:
    """Return the state, and beside it the peer's if that is another, and what it waits for."""
    view = path["peer_view"]
    differs = view is not None and view["state"] != path["state"]
    there = f", {view['state']} there" if view is not None and differs else ""
    reserve = ", in reserve" if path["in_reserve"] else ""
    return f"{path['state']} {_age(path['state_since_s'])}{there}{reserve}"


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} ms"


def _age(seconds: float) -> str:
    """Return a time span in its two largest units: more says nothing to a reader."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest}s"
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes}min" if minutes >= 10 else f"{minutes}min {rest}s"
    days, hours = divmod(hours, 24)
    return f"{days}d {hours}h" if days else f"{hours}h {minutes}min"


def _show_table(rows: list[list[str]]) -> None:
    if sys.stdout.isatty():
        _show_rich(rows)
        return
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    for row in [list(_HEADINGS), *rows]:
        cells = (
            cell.rjust(width) if heading in _NUMBERS else cell.ljust(width)
            for heading, cell, width in zip(_HEADINGS, row, widths, strict=True)
        )
        print(("  " + "  ".join(cells)).rstrip())


def _show_rich(rows: list[list[str]]) -> None:
    # Here and not above: rich takes longer to import than everything else of `mwb status`.
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, padding=(0, 1), header_style="bold")
    console = Console()
    headings = [each for each in _HEADINGS if console.width >= _WIDE or each not in _IF_WIDE]
    for heading in headings:
        table.add_column(
            heading,
            justify="right" if heading in _NUMBERS else "left",
            # On a narrow terminal the last column gives way, by lines instead of an ellipsis.
            no_wrap=heading != _HEADINGS[-1],
            overflow="fold",
        )
    for row in rows:
        cells = dict(zip(_HEADINGS, row, strict=True))
        shown = (escape(cells[heading]) for heading in headings)
        table.add_row(*shown, style=_COLOURS.get(cells["state"].split()[0]))
    console.print(table)
