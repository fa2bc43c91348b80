"""Plugin `email`: sends alerts by mail, several in one."""

import logging
import smtplib
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Final

import trio

from multiwanbond.config.notations import FILE, HOST_PORT, HostPort, Text
from multiwanbond.options import option
from multiwanbond.plugins.api import Alert
from multiwanbond.plugins.builtin.digest import DigestManager
from multiwanbond.units import DURATION, NotationError

TIMEOUT: Final = 20.0
ATTEMPTS: Final = 3
PAUSE: Final = 30.0


def _read_mailbox(text: str) -> str:
    if text.count("@") != 1 or any(each.isspace() for each in text):
        raise NotationError(f"{text!r} is no mail address", "Write it like me@example.net")
    return text


MAILBOX: Final = Text(name="a mail address", example="me@example.net", read=_read_mailbox)


class Encryption(Enum):
    """How the mail server is talked to."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The settings of `email`."""

    server: HostPort = option(notation=HOST_PORT, doc="Mail server (SMTP submission).")
    sender: str = option(notation=MAILBOX, doc="Address that mails come from.")
    recipients: tuple[str, ...] = option(notation=MAILBOX, doc="Addresses that mails go to.")
    encryption: Encryption = option(
        Encryption.STARTTLS, doc="starttls for port 587, tls for port 465, none for a local server."
    )
    username: str | None = option(
        None,
        notation=Text(name="a name", example="me", read=str),
        default_doc="none: without logging in",
        doc="Whom to log in as.",
    )
    password_file: Path | None = option(
        None, notation=FILE, default_doc="none", doc="File that holds the password."
    )
    interval: float = option(
        300.0,
        notation=DURATION,
        low=0.1,
        high=86400,
        doc="Least time between two mails: a line that comes and goes all night sends few.",
    )


class Email(DigestManager):
    """Sends alerts by mail: the first at once, what follows in digests."""

    options_type = Options

    async def pass_on(self, alerts: Sequence[Alert], left_out: int) -> None:
        """Send one mail."""
        await self._send(self._mail(alerts, left_out))

    def _mail(self, alerts: Sequence[Alert], left_out: int) -> EmailMessage:
        mail = EmailMessage()
        first = alerts[0]
        more = f" (and {len(alerts) + left_out - 1} more)" if len(alerts) + left_out > 1 else ""
        mail["Subject"] = " ".join(f"mwb {first.tunnel}: {first.text}{more}".split())
        mail["From"] = self.options.sender
        mail["To"] = ", ".join(self.options.recipients)
        lines = [
            f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(each.time))}  {each.text}"
            for each in alerts
        ]
        if left_out:
            lines.append(f"... and {left_out} more that are not listed.")
        mail.set_content("\n".join(lines) + "\n")
        return mail

    async def _send(self, mail: EmailMessage) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                deliver = partial(self._deliver, mail)
                await trio.to_thread.run_sync(deliver, abandon_on_cancel=True)
                return
            except (OSError, smtplib.SMTPException) as exc:
                if attempt == ATTEMPTS:
                    reason = " ".join(str(exc).split())
                    self.context.log(logging.WARNING, f"gave up sending a mail: {reason}.")
                    return
                await trio.sleep(PAUSE)

    def _deliver(self, mail: EmailMessage) -> None:
        host, port = self.options.server
        wish = self.options.encryption
        trust = ssl.create_default_context()
        server = (
            smtplib.SMTP_SSL(host, port, timeout=TIMEOUT, context=trust)
            if wish is Encryption.TLS
            else smtplib.SMTP(host, port, timeout=TIMEOUT)
        )
        with server:
            if wish is Encryption.STARTTLS:
                server.starttls(context=trust)
            if self.options.username is not None:
                server.login(self.options.username, self._password())
            server.send_message(mail)

    def _password(self) -> str:
        file: Path | None = self.options.password_file
        return "" if file is None else file.read_text().strip()
