"""A client learns from which address the server sees each of its WANs."""

import pytest

from multiwanbond.core import peer as peer_module
from multiwanbond.core.datagram import Address
from multiwanbond.core.frames import Seen, decode_frames_untrusted, encode_frames
from multiwanbond.core.peer_view import IDLE_INTERVAL
from multiwanbond.core.seen import address_of, seen_at
from multiwanbond.errors import DatagramError, DropReason

from .pair import Pair


def seen_by_server(pair: Pair) -> dict[int, Address | None]:
    """What the client knows of it, by path."""
    (peer,) = pair.client.statistics().peers
    return {
        path.path_id: None if path.peer_view is None else path.peer_view.seen for path in peer.paths
    }


def test_the_server_tells_soon_where_it_sees_each_wan() -> None:
    pair = Pair()
    pair.connect()
    pair.run(1)

    assert seen_by_server(pair) == pair.sources


def test_another_address_is_told_on_an_idle_bond_as_well() -> None:
    pair = Pair()
    pair.connect()
    pair.run(1)

    pair.sources[1] = Address("2001:db8::99", 51234)
    pair.run(IDLE_INTERVAL + 5)

    assert seen_by_server(pair) == pair.sources


def test_the_client_does_not_tell_where_it_sees_the_server_that_it_dialled() -> None:
    pair = Pair()
    pair.connect()
    pair.run(2)

    (peer,) = pair.server.statistics().peers
    assert all(path.peer_view and path.peer_view.seen is None for path in peer.paths)


def test_a_peer_that_cannot_read_it_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_module, "FEATURES", 0)  # the handshake of both, as before
    pair = Pair()
    pair.connect()
    pair.run(1)

    assert set(seen_by_server(pair).values()) == {None}
    assert not pair.client.statistics().dropped.get(DropReason.MALFORMED)


@pytest.mark.parametrize("host", ["203.0.113.7", "2001:db8::7"])
def test_an_address_is_read_as_it_was_written(host: str) -> None:
    address = Address(host, 51234)

    (frame,) = decode_frames_untrusted(encode_frames([seen_at(address)]))

    assert isinstance(frame, Seen)
    assert address_of(frame) == address


@pytest.mark.parametrize("length", [0, 5, 16, 255])
def test_an_address_of_a_wrong_length_is_malformed(length: int) -> None:
    plain = bytes([12, 0xC8, 0x22, length]) + bytes(15)

    with pytest.raises(DatagramError) as caught:
        decode_frames_untrusted(plain)

    assert caught.value.reason is DropReason.MALFORMED
