"""Requests and replies as lines."""

import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multiwanbond.control.protocol import (
    Command,
    Failure,
    Request,
    RequestError,
    Success,
    decode_reply_untrusted,
    decode_request_untrusted,
    encode_reply,
    encode_request,
)

any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
# The machine may be busy with other tests: slow generation says nothing about the parser.
fuzzed = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
requests = st.dictionaries(
    st.sampled_from(["version", "command", "more"]), st.sampled_from([1, 2, "stop"]) | any_json
)
replies = st.dictionaries(
    st.sampled_from(["version", "ok", "result", "error", "remedy"]),
    st.sampled_from([1, True, False]) | any_json,
)


@pytest.mark.parametrize("command", Command)
def test_a_request_survives_the_way(command: Command) -> None:
    request = Request(command=command)

    line = encode_request(request)

    assert line.count(b"\n") == 1
    assert decode_request_untrusted(line) == request


@pytest.mark.parametrize(
    "reply", [Success(result={"a": [1, "ü"]}), Failure(error="no\nline", remedy="yes")]
)
def test_a_reply_survives_the_way(reply: Success | Failure) -> None:
    line = encode_reply(reply)

    assert line.count(b"\n") == 1
    assert decode_reply_untrusted(line) == reply


def test_an_unknown_command_is_told_the_known_ones() -> None:
    with pytest.raises(RequestError, match=r"no command 'sotp'.*status, .*stop"):
        decode_request_untrusted(b'{"version": 1, "command": "sotp"}')


def test_another_version_is_refused_with_both_numbers() -> None:
    with pytest.raises(RequestError, match=r"Version 2 .* speaks version 1"):
        decode_request_untrusted(b'{"version": 2, "command": "status"}')


def test_an_unknown_field_is_ignored() -> None:
    line = b'{"version": 1, "command": "status", "since": 4}'

    assert decode_request_untrusted(line) == Request(command=Command.STATUS)


def test_a_refusal_is_understood_whatever_its_version() -> None:
    line = b'{"version": 99, "ok": false, "error": "too old", "remedy": "upgrade"}'

    assert decode_reply_untrusted(line) == Failure(error="too old", remedy="upgrade")


def test_deep_nesting_does_not_exhaust_the_stack() -> None:
    with pytest.raises(RequestError):
        decode_request_untrusted(b"[" * 60_000)


def test_a_number_of_many_digits_is_refused() -> None:
    with pytest.raises(RequestError):
        decode_request_untrusted(b'{"version": ' + b"9" * 5000 + b"}")


@fuzzed
@given(st.binary() | requests.map(lambda request: json.dumps(request).encode()))
def test_any_bytes_are_a_request_or_a_request_error(line: bytes) -> None:
    with suppress(RequestError):
        assert isinstance(decode_request_untrusted(line), Request)


@fuzzed
@given(st.binary() | replies.map(lambda reply: json.dumps(reply).encode()))
def test_any_bytes_are_a_reply_or_a_request_error(line: bytes) -> None:
    with suppress(RequestError):
        assert isinstance(decode_reply_untrusted(line), Success | Failure)
