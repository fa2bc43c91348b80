"""The plugins `webhook` and `email`: what they send, how often, and what without an answer."""

import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import trio

from multiwanbond.config.notations import HostPort
from multiwanbond.plugins.api import AlertManager
from multiwanbond.plugins.builtin import email, webhook
from multiwanbond.plugins.builtin.digest import MOST
from tests.daemon.waiting import wait_until

from .collected import Log, alert, context


class Hook(HTTPServer):
    """Keeps what is posted; answers the first ones with an error."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.failures = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class _Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:  # as http.server calls it
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_failure = self.server.failures > 0
        self.server.failures -= is_failure
        if not is_failure:
            self.server.posts.append((dict(self.headers), body))
        self.send_response(500 if is_failure else 204)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        pass


class MailServer(socketserver.TCPServer):
    """As much of SMTP as a client needs; keeps the mails."""

    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.mails: list[bytes] = []


class _Session(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self.wfile.write(b"220 test\r\n")
        while line := self.rfile.readline():
            if line.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                lines = list(iter(self.rfile.readline, b".\r\n"))
                self.server.mails.append(b"".join(lines))
            if line.upper().startswith(b"QUIT"):
                self.wfile.write(b"221 bye\r\n")
                return
            self.wfile.write(b"250 fine\r\n")


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    with MailServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


async def test_an_alert_is_posted_as_json(hook: Hook, nursery: trio.Nursery) -> None:
    options = webhook.Options(url=hook.url, authorization="Bearer abc")
    plugin = webhook.Webhook(options, context())
    nursery.start_soon(plugin.run)

    await plugin.alert(alert())
    await wait_until(lambda: len(hook.posts) >= 1)

    headers, body = hook.posts[0]
    assert headers["Authorization"] == "Bearer abc"
    assert json.loads(body) == {
        "alerts": [
            {
                "kind": "path_state",
                "severity": "warning",
                "text": "WAN LTE is Down: probes stay unanswered.",
                "tunnel": "mwb0",
                "time": 1_800_000_000.0,
                "fields": {"wan": "LTE", "path": "2", "state_to": "Down"},
            }
        ],
        "left_out": 0,
    }


async def test_a_flapping_line_is_few_messages(hook: Hook, nursery: trio.Nursery) -> None:
    plugin = webhook.Webhook(webhook.Options(url=hook.url, interval=0.3), context())
    nursery.start_soon(plugin.run)

    await plugin.alert(alert())
    await wait_until(lambda: len(hook.posts) >= 1)
    for _ in range(1000):
        await plugin.alert(alert())
    await wait_until(lambda: len(hook.posts) >= 2)

    second = json.loads(hook.posts[1][1])
    assert (len(second["alerts"]), second["left_out"]) == (MOST, 1000 - MOST)
    assert len(hook.posts) == 2


async def test_a_post_that_fails_is_tried_again_and_given_up_with_a_line(
    hook: Hook, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "FIRST_PAUSE", 0.01)
    log = Log()
    plugin = webhook.Webhook(webhook.Options(url=hook.url, interval=0.01), context(log))
    nursery.start_soon(plugin.run)
    hook.failures = 1

    await plugin.alert(alert("one"))
    await wait_until(lambda: len(hook.posts) >= 1)
    hook.failures = webhook.ATTEMPTS
    await plugin.alert(alert("two"))
    await wait_until(lambda: len(log.problems) >= 1)
    await plugin.alert(alert("three"))
    await wait_until(lambda: len(hook.posts) >= 2)

    assert log.problems == ["gave up posting an alert: the server answered 500."]
    assert [json.loads(body)["alerts"][0]["text"] for _, body in hook.posts] == ["one", "three"]


async def test_alerts_are_mailed_the_first_at_once(
    mail_server: MailServer, nursery: trio.Nursery
) -> None:
    host, port = mail_server.server_address[:2]
    options = email.Options(
        server=HostPort(str(host), port),
        sender="mwb@example.net",
        recipients=("me@example.net", "you@example.net"),
        encryption=email.Encryption.NONE,
        interval=0.2,
    )
    plugin: AlertManager = email.Email(options, context())
    nursery.start_soon(plugin.run)

    await plugin.alert(alert())
    await wait_until(lambda: len(mail_server.mails) >= 1)
    await plugin.alert(alert("Next\r\nBcc: someone@else"))
    await plugin.alert(alert())
    await wait_until(lambda: len(mail_server.mails) >= 2)

    first, second = (message_from_bytes(each, policy=policy.default) for each in mail_server.mails)
    assert first["Subject"] == "mwb mwb0: WAN LTE is Down: probes stay unanswered."
    assert first["To"] == "me@example.net, you@example.net"
    assert "probes stay unanswered" in first.get_content()
    assert second["Subject"].endswith("(and 1 more)")
    assert second["Bcc"] is None


async def test_a_mail_that_cannot_be_sent_is_given_up_with_a_line(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(email, "PAUSE", 0.01)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    log = Log()
    options = email.Options(server=HostPort("127.0.0.1", port), sender="a@b", recipients=("c@d",))
    plugin = email.Email(options, context(log))
    nursery.start_soon(plugin.run)

    await plugin.alert(alert())
    await wait_until(lambda: len(log.problems) >= 1)

    assert log.problems[0].startswith("gave up sending a mail: ")
