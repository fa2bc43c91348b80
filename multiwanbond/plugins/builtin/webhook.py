"""Plugin `webhook`: posts alerts as JSON to a URL."""

import json
import logging
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import trio

from multiwanbond import __version__
from multiwanbond.config.notations import Text
from multiwanbond.options import option
from multiwanbond.plugins.api import Alert
from multiwanbond.plugins.builtin.digest import DigestManager, as_object
from multiwanbond.units import DURATION, NotationError

ATTEMPTS: Final = 4
FIRST_PAUSE: Final = 2.0
"""Seconds before the second attempt; twice as many before each further one."""
TIMEOUT: Final = 8.0


def _read_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise NotationError(f"{text!r} is no URL", "Write it like https://example.net/alerts")
    return text


URL: Final = Text(name="a URL", example="https://example.net/alerts", read=_read_url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The settings of `webhook`."""

    url: str = option(notation=URL, is_secret=True, doc="Where alerts are posted to.")
    authorization: str | None = option(
        None,
        notation=Text(name="a header's value", example="Bearer abc", read=str),
        is_secret=True,
        default_doc="none",
        doc="Value of the header Authorization.",
    )
    interval: float = option(
        5.0,
        notation=DURATION,
        low=0.1,
        high=86400,
        doc="Least time between two posts; what happens meanwhile is posted together.",
    )


class Webhook(DigestManager):
    """Posts alerts as JSON to a URL; tries again for a while, then gives up."""

    options_type = Options

    async def pass_on(self, alerts: Sequence[Alert], left_out: int) -> None:
        """Post one object."""
        body = {"alerts": [as_object(each) for each in alerts], "left_out": left_out}
        await self._post(json.dumps(body).encode())

    async def _post(self, body: bytes) -> None:
        pause = FIRST_PAUSE
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await trio.to_thread.run_sync(partial(self._send, body), abandon_on_cancel=True)
                return
            except (OSError, ValueError) as exc:
                if attempt == ATTEMPTS:
                    self.context.log(logging.WARNING, f"gave up posting an alert: {exc}.")
                    return
                await trio.sleep(pause)
                pause *= 2

    def _send(self, body: bytes) -> None:
        headers = {"Content-Type": "application/json", "User-Agent": f"mwb/{__version__}"}
        if self.options.authorization is not None:
            headers["Authorization"] = self.options.authorization
        request = urllib.request.Request(self.options.url, data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                response.read(1)
        except urllib.error.HTTPError as exc:
            exc.close()
            # Not the body: a server's words are not for our log.
            raise OSError(f"the server answered {exc.code}") from None
