"""What travels on the control socket: one JSON object per line, request and reply by turns.

    {"version": 1, "command": "status"}
    {"version": 1, "ok": true, "result": {...}}
    {"version": 1, "ok": false, "error": "what is wrong", "remedy": "what to do"}

Text becomes a type here and nowhere else. A field we do not know is ignored, so that a newer
command can talk to an older daemon as long as the version is the same.
"""

import json
from dataclasses import dataclass
from enum import Enum
from typing import Final

from multiwanbond.errors import ControlError

from .status import JsonObject

VERSION: Final = 1
"""Changes when an old reader would misunderstand, not when a field is added."""

REQUEST_BYTES: Final = 64 * 1024
"""Longest request line: far above what any command needs, far below what would hurt the daemon."""

REPLY_BYTES: Final = 16 * 1024 * 1024
"""Longest reply line a client reads: the status of a server with thousands of peers fits."""


class Command(Enum):
    """What a daemon can be asked."""

    STATUS = "status"
    """Answered with a `StatusDocument`."""
    RELOAD = "reload"
    """Answered with a `ReloadDocument`, once everything is in force or nothing is."""
    STOP = "stop"
    """Answered at once; the daemon then says goodbye to its peers, cleans up and ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One command."""

    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """The command was carried out."""

    result: JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The command was refused, in words a person may see."""

    error: str
    remedy: str


Reply = Success | Failure


class RequestError(ControlError):
    """A request line that cannot be understood; the client gets it back as a `Failure`."""


def encode_request(request: Request) -> bytes:
    """Return the line that asks for `request`."""
    return _line({"version": VERSION, "command": request.command.value})


def decode_request_untrusted(line: bytes) -> Request:
    """Return the request in `line` (with or without its newline).

    Raises:
        RequestError: for everything else, whatever the bytes are.
    """
    document = _object_untrusted(line)
    if document is None:
        raise RequestError("The request is no JSON object.", "Send one object per line.")
    _check_version_untrusted(document)
    name = document.get("command")
    try:
        return Request(command=Command(name))
    except ValueError:
        known = ", ".join(command.value for command in Command)
        shown = name if isinstance(name, str) and len(name) <= 40 else "..."
        raise RequestError(
            f"This daemon knows no command {shown!r}.", f"It knows: {known}."
        ) from None


def encode_reply(reply: Reply) -> bytes:
    """Return the line that carries `reply`."""
    match reply:
        case Success():
            return _line({"version": VERSION, "ok": True, "result": reply.result})
        case Failure():
            return _line(
                {"version": VERSION, "ok": False, "error": reply.error, "remedy": reply.remedy}
            )


def decode_reply_untrusted(line: bytes) -> Reply:
    """Return the reply in `line`.

    Raises:
        RequestError: the other side of the socket is no MultiWANBond daemon, or one of another age.
    """
    document = _object_untrusted(line)
    if document is None or not isinstance(document.get("ok"), bool):
        raise RequestError(
            "What answers on the control socket does not speak our protocol.",
            "Check which program owns the socket.",
        )
    if document["ok"]:
        _check_version_untrusted(document)
        result = document.get("result")
        return Success(result=result if isinstance(result, dict) else {})
    # The version is not looked at: a daemon that refuses ours must still be able to say so.
    return Failure(error=str(document.get("error", "")), remedy=str(document.get("remedy", "")))


def _line(document: JsonObject) -> bytes:
    # allow_nan: "NaN" is not JSON, and a browser behind the web UI would choke on the whole status.
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _object_untrusted(line: bytes) -> JsonObject | None:
    try:
        # RecursionError: json descends once per bracket, and a line holds thousands of them.
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _check_version_untrusted(document: JsonObject) -> None:
    version = document.get("version")
    if version != VERSION or isinstance(version, bool):
        shown = version if isinstance(version, int) and abs(version) < 10**9 else "..."
        raise RequestError(
            f"Version {shown} of the control protocol; this side speaks version {VERSION}.",
            "Restart the daemon after an upgrade: mwb down, mwb up.",
        )
