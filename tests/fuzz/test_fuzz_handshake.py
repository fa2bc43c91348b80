"""No bytes whatever make the handshake, a key or a cookie do anything but DatagramError."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiwanbond.core.cookie import CookieGuard, MacStamper
from multiwanbond.core.datagram import Address
from multiwanbond.core.handshake import (
    Answer,
    Cipher,
    Initiator,
    Offer,
    Responder,
    TransportSecrets,
    decode_answer_untrusted,
    decode_offer_untrusted,
    public_key_of,
)
from multiwanbond.core.keys import TransportKey
from multiwanbond.core.wire import NONCE, CookieReply, split_macs_untrusted
from multiwanbond.errors import DatagramError, DropReason

CLIENT = b"\x11" * 32
SERVER = b"\x22" * 32
OFFER = Offer(bond_id=bytes(8), inner_mtu=1440, features=0, aes_gcm_ns=1, chacha20_ns=2)


def constant_entropy(size: int) -> bytes:
    return b"\x33" * size


def an_initiator() -> Initiator:
    initiator = Initiator(
        private_key=CLIENT,
        peer_public_key=public_key_of(SERVER),
        preshared_key=bytes(32),
        entropy=constant_entropy,
    )
    initiator.write(OFFER)
    return initiator


INITIATOR = an_initiator()
"""Shared by all examples: forged responses must not change it."""
KEYS = {
    cipher: TransportKey(
        TransportSecrets(bytes(32), bytes(32)), cipher, local_id=1, remote_id=2, now=0
    )
    for cipher in Cipher
}


@given(noise=st.binary(max_size=300))
def test_any_initiation_is_refused(noise: bytes) -> None:
    responder = Responder(private_key=SERVER, entropy=constant_entropy)

    with pytest.raises(DatagramError) as refused:
        responder.read_untrusted(noise)

    assert refused.value.reason is DropReason.BAD_HANDSHAKE


@given(noise=st.binary(max_size=300))
def test_any_response_is_refused(noise: bytes) -> None:
    with pytest.raises(DatagramError) as refused:
        INITIATOR.read_untrusted(noise)

    assert refused.value.reason is DropReason.BAD_HANDSHAKE


@pytest.mark.parametrize("decode", [decode_offer_untrusted, decode_answer_untrusted])
@given(payload=st.binary(max_size=60))
def test_any_payload_is_read_or_refused(
    decode: Callable[[bytes], Offer | Answer], payload: bytes
) -> None:
    try:
        found = decode(payload)
    except DatagramError:
        return

    assert found.bond_id == payload[1:9]


@pytest.mark.parametrize("cipher", Cipher)
@given(datagram=st.binary(max_size=200), path_id=st.integers(0, 255), sequence=st.integers(0))
def test_any_transport_datagram_is_refused(
    cipher: Cipher, datagram: bytes, path_id: int, sequence: int
) -> None:
    nonce = NONCE.pack(path_id, sequence % 2**64)

    with pytest.raises(DatagramError) as refused:
        KEYS[cipher].open_untrusted(memoryview(datagram), nonce)

    assert refused.value.reason in (DropReason.FORGED, DropReason.TOO_SHORT)


@given(datagram=st.binary(max_size=300))
def test_any_handshake_datagram_is_silently_dropped(datagram: bytes) -> None:
    guard = CookieGuard(public_key_of(SERVER), entropy=constant_entropy, now=0)

    with pytest.raises(DatagramError) as refused:
        guard.check_initiation_untrusted(
            split_macs_untrusted(datagram), Address("192.0.2.1", 1), now=0
        )

    assert refused.value.reason in (DropReason.TOO_SHORT, DropReason.BAD_MAC)


@given(nonce=st.binary(max_size=40), sealed=st.binary(max_size=60))
def test_any_cookie_reply_is_forged(nonce: bytes, sealed: bytes) -> None:
    stamper = MacStamper(public_key_of(SERVER))
    stamper.stamp(bytes(100), 0)

    with pytest.raises(DatagramError) as refused:
        stamper.on_cookie_untrusted(CookieReply(1, nonce, sealed), 0)

    assert refused.value.reason is DropReason.FORGED
