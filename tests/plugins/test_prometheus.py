"""The plugin `prometheus`: what is asked of it over HTTP, and what it answers."""

import copy
import os
from functools import partial
from pathlib import Path
from typing import Any

import trio

from multiwanbond.core.datagram import Address
from multiwanbond.plugins.builtin.prometheus import Options, Prometheus, page
from tests.cli.test_status import QUOTA, STATUS
from tests.daemon.waiting import wait_until

from .collected import context


def test_every_figure_has_its_help_its_type_and_its_labels() -> None:
    status: Any = {**STATUS, "quotas": [QUOTA]}

    lines = page(status).splitlines()

    assert 'mwb_up{tunnel="mwb0",version="0.1.0"} 1' in lines
    assert "# TYPE mwb_wan_rtt_seconds gauge" in lines
    assert 'mwb_wan_rtt_seconds{tunnel="mwb0",peer="vps",wan="Fibre"} 0.01234' in lines
    assert 'mwb_wan_sent_bytes_total{tunnel="mwb0",peer="vps",wan="Fibre"} 1500000' in lines
    assert 'mwb_wan_quota_used_bytes{tunnel="mwb0",wan="LTE"} 12300000000' in lines
    assert 'mwb_wan_state{tunnel="mwb0",peer="vps",wan="Fibre",state="Up"} 1' in lines
    assert 'mwb_peer_connected{tunnel="mwb0",peer="vps"} 1' in lines
    assert 'mwb_dropped_total{tunnel="mwb0",reason="forged"} 3' in lines
    named = {line.split("{")[0] for line in lines if not line.startswith("#")}
    assert named == {line.split()[2] for line in lines if line.startswith("# TYPE")}


def test_what_is_not_measured_yet_is_left_out_and_names_are_escaped() -> None:
    status: Any = copy.deepcopy(STATUS)
    status["peers"][0]["paths"][0] |= {"rtt_ms": None, "wan": 'a "b"\\\n'}

    text = page(status)

    assert "mwb_wan_rtt_seconds{" not in text
    assert r'wan="a \"b\"\\\n"' in text


async def asked(port: int, request: bytes) -> bytes:
    """What comes back."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(request)
        answer = b""
        with trio.move_on_after(5):
            async for part in stream:
                answer += part
        return answer


async def test_it_answers_over_http_and_survives_nonsense(nursery: trio.Nursery) -> None:
    plugin = Prometheus(Options(listen=Address("127.0.0.1", 0)), context())
    nursery.start_soon(plugin.run)
    await wait_until(lambda: bool(plugin.listening))
    port = plugin.listening[0].socket.getsockname()[1]
    ask = partial(asked, port)
    await plugin.collect(STATUS)

    good = await ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = good.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert f"Content-Length: {len(body)}".encode() in head
    assert body.decode() == page(STATUS)
    assert (await ask(b"GET /else HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 404")
    assert (await ask(b"POST /metrics HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 405")
    assert b" 405 " in await ask(b"\xff" * 10_000)
    assert (await ask(b"HEAD /metrics HTTP/1.1\r\n\r\n")).endswith(b"\r\n\r\n")


async def test_the_file_is_whole_at_any_moment(tmp_path: Path) -> None:
    file = tmp_path / "mwb.prom"
    plugin = Prometheus(Options(listen=None, textfile=file), context())

    await plugin.collect(STATUS)

    assert file.read_text() == page(STATUS)
    assert os.listdir(tmp_path) == ["mwb.prom"]
