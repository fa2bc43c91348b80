"""Datagrams are sealed and opened; key pairs follow one another without losing a datagram."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from multiwanbond.core.handshake import Cipher, TransportSecrets
from multiwanbond.core.keys import (
    MAX_UNCONFIRMED,
    REJECT_AFTER,
    REKEY_AFTER,
    KeyRing,
    TransportKey,
)
from multiwanbond.core.wire import HEADER_SIZE, NONCE, OVERHEAD, TRANSPORT_HEADER
from multiwanbond.errors import DatagramError, DropReason

AT_INITIATOR = TransportSecrets(send=b"\x01" * 32, receive=b"\x02" * 32)
AT_RESPONDER = TransportSecrets(send=b"\x02" * 32, receive=b"\x01" * 32)
HEADER = TRANSPORT_HEADER.pack(0x40, 3, 0x1234, 7, 0x0102030405060708)
NONCE_OF_HEADER = NONCE.pack(3, 7)
PLAINTEXT = bytes(range(40))

GOLDEN = {
    Cipher.AES_256_GCM: (
        "400312340000000701020304050607087ce5c5c79cdd51c648e988b5378dfeb032ba1847ebc3eb17"
        "1a944330566ba4d497d5354999eb803c8e369729f3f6bba09800662c80c1af78"
    ),
    Cipher.CHACHA20_POLY1305: (
        "4003123400000007010203040506070830e80590c86153cd5636ef71855620daf098b3d8a7fd87da"
        "55ecdb48b7cfded42626794630c7b4c2424c74419e81fa0d11a9ca480b93ba5d"
    ),
}
"""The datagram that HEADER and PLAINTEXT become from the initiator."""


def a_key(
    number: int = 0,
    *,
    now: float = 0.0,
    secrets: TransportSecrets = AT_INITIATOR,
    cipher: Cipher = Cipher.AES_256_GCM,
) -> TransportKey:
    return TransportKey(secrets, cipher, local_id=number, remote_id=number + 1000, now=now)


def sealed(
    key: TransportKey, *, start: int = 0, plaintext: bytes = PLAINTEXT, nonce: bytes
) -> bytearray:
    """A buffer with a sealed datagram at `start` and zeros around it."""
    buffer = bytearray(start + len(plaintext) + OVERHEAD + 8)
    buffer[start : start + HEADER_SIZE] = HEADER
    buffer[start + HEADER_SIZE : start + HEADER_SIZE + len(plaintext)] = plaintext
    key.seal(memoryview(buffer), start, len(plaintext), nonce)
    return buffer


def a_datagram(cipher: Cipher = Cipher.AES_256_GCM) -> bytes:
    return bytes(sealed(a_key(cipher=cipher), nonce=NONCE_OF_HEADER)[:-8])


# --- one key pair


@pytest.mark.parametrize("cipher", Cipher)
def test_the_sealed_datagram_has_not_changed_since_it_was_first_released(cipher: Cipher) -> None:
    assert a_datagram(cipher).hex() == GOLDEN[cipher]


def test_a_datagram_is_a_clear_header_and_the_plaintext_sealed_together_with_it() -> None:
    ciphertext = AESGCM(AT_INITIATOR.send).encrypt(NONCE_OF_HEADER, PLAINTEXT, HEADER)

    assert a_datagram() == HEADER + ciphertext


@pytest.mark.parametrize("cipher", Cipher)
@pytest.mark.parametrize("plaintext", [b"", b"x", bytes(1400), bytes(9000)], ids=len)
def test_what_one_end_seals_the_other_opens(cipher: Cipher, plaintext: bytes) -> None:
    buffer = sealed(a_key(cipher=cipher), plaintext=plaintext, nonce=NONCE_OF_HEADER)
    datagram = memoryview(buffer)[: len(plaintext) + OVERHEAD]

    opened = a_key(secrets=AT_RESPONDER, cipher=cipher).open_untrusted(datagram, NONCE_OF_HEADER)

    assert opened == plaintext


def test_sealing_stays_within_its_place_in_the_buffer() -> None:
    buffer = sealed(a_key(), start=100, nonce=NONCE_OF_HEADER)

    assert buffer[:100] == bytes(100)
    assert buffer[100:-8] == a_datagram()
    assert buffer[-8:] == bytes(8)


def test_a_received_datagram_is_left_as_it_was() -> None:
    datagram = a_datagram()
    received = bytearray(datagram)

    a_key(secrets=AT_RESPONDER).open_untrusted(memoryview(received), NONCE_OF_HEADER)

    assert received == datagram


@pytest.mark.parametrize("cipher", Cipher)
@pytest.mark.parametrize("position", range(HEADER_SIZE + len(PLAINTEXT) + 16))
def test_a_datagram_with_any_byte_changed_is_forged(cipher: Cipher, position: int) -> None:
    datagram = bytearray(a_datagram(cipher))
    datagram[position] ^= 0x40
    key = a_key(secrets=AT_RESPONDER, cipher=cipher)

    with pytest.raises(DatagramError) as refused:
        key.open_untrusted(memoryview(datagram), NONCE_OF_HEADER)

    assert refused.value.reason is DropReason.FORGED


@pytest.mark.parametrize(
    ("secrets", "nonce"),
    [
        pytest.param(AT_RESPONDER, NONCE.pack(3, 8), id="another sequence"),
        pytest.param(AT_RESPONDER, NONCE.pack(4, 7), id="another path"),
        pytest.param(AT_INITIATOR, NONCE_OF_HEADER, id="our own, reflected"),
    ],
)
def test_a_datagram_opens_only_with_its_path_sequence_and_direction(
    secrets: TransportSecrets, nonce: bytes
) -> None:
    with pytest.raises(DatagramError) as refused:
        a_key(secrets=secrets).open_untrusted(memoryview(a_datagram()), nonce)

    assert refused.value.reason is DropReason.FORGED


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        (0, DropReason.TOO_SHORT),
        (HEADER_SIZE, DropReason.TOO_SHORT),
        (OVERHEAD - 1, DropReason.TOO_SHORT),
        (OVERHEAD, DropReason.FORGED),
    ],
)
def test_a_datagram_without_room_for_a_tag_is_too_short(size: int, reason: DropReason) -> None:
    with pytest.raises(DatagramError) as refused:
        a_key().open_untrusted(memoryview(a_datagram()[:size]), NONCE_OF_HEADER)

    assert refused.value.reason is reason


def test_a_key_pair_is_renewed_after_two_minutes_and_forgotten_after_three() -> None:
    key = a_key(now=50.0)

    assert key.rekey_at == 50.0 + REKEY_AFTER == 170.0
    assert key.reject_at == 50.0 + REJECT_AFTER == 230.0


# --- the key ring


def test_an_initiator_seals_with_new_keys_at_once_and_still_opens_with_the_last() -> None:
    ring, first, second = KeyRing(), a_key(1), a_key(2)

    ring.install(first)
    forgotten = ring.install(second)

    assert ring.current is second
    assert ring.previous is first
    assert forgotten == []
    assert ring.local_ids == [2, 1]


def test_keys_before_the_previous_ones_are_forgotten() -> None:
    ring, first = KeyRing(), a_key(1)
    ring.install(first)
    ring.install(a_key(2))

    forgotten = ring.install(a_key(3))

    assert forgotten == [first]
    assert ring.local_ids == [3, 2]


def test_a_responder_opens_with_new_keys_but_seals_with_the_old_until_they_are_confirmed() -> None:
    ring, old, new = KeyRing(), a_key(1), a_key(2)
    ring.install(old)

    ring.await_confirmation(new)

    assert ring.current is old
    assert ring.local_ids == [1, 2]
    assert ring.confirm(new) == []
    assert ring.current is new
    assert ring.previous is old


def test_a_responder_without_keys_cannot_seal_before_the_first_confirmation() -> None:
    ring, key = KeyRing(), a_key(1)

    ring.await_confirmation(key)

    assert ring.current is None
    ring.confirm(key)
    assert ring.current is key


def test_datagrams_under_known_keys_confirm_nothing() -> None:
    ring, first, second = KeyRing(), a_key(1), a_key(2)
    ring.install(first)
    ring.install(second)

    forgotten = ring.confirm(first) + ring.confirm(second)

    assert forgotten == []
    assert ring.current is second
    assert ring.previous is first


def test_a_replayed_initiation_does_not_displace_a_genuine_one() -> None:
    ring, genuine = KeyRing(), a_key(1)
    replays = [a_key(number) for number in range(2, 2 + MAX_UNCONFIRMED - 1)]
    ring.await_confirmation(genuine)

    for replay in replays:
        ring.await_confirmation(replay)
    ring.confirm(genuine)

    assert ring.current is genuine


def test_only_the_youngest_unconfirmed_keys_are_kept() -> None:
    ring = KeyRing()
    keys = [a_key(number) for number in range(MAX_UNCONFIRMED + 1)]

    forgotten = [key for waiting in keys for key in ring.await_confirmation(waiting)]

    assert forgotten == keys[:1]
    assert ring.local_ids == [1, 2, 3, 4]
    assert ring.confirm(keys[0]) == []
    assert ring.current is None


def test_confirmed_keys_end_the_wait_for_older_ones_but_not_for_younger() -> None:
    ring, older, confirmed, younger = KeyRing(), a_key(1), a_key(2), a_key(3)
    for key in (older, confirmed, younger):
        ring.await_confirmation(key)

    forgotten = ring.confirm(confirmed)

    assert forgotten == [older]
    assert ring.local_ids == [2, 3]
    ring.confirm(younger)
    assert (ring.current, ring.previous) == (younger, confirmed)


def test_keys_are_forgotten_when_their_time_is_over() -> None:
    ring, first, second, waiting = KeyRing(), a_key(1), a_key(2, now=100), a_key(3, now=110)
    ring.install(first)
    ring.install(second)
    ring.await_confirmation(waiting)

    assert ring.deadline() == REJECT_AFTER
    assert ring.expire(REJECT_AFTER - 0.001) == []
    assert ring.expire(REJECT_AFTER) == [first]
    assert ring.deadline() == 100 + REJECT_AFTER
    assert ring.expire(110 + REJECT_AFTER) == [second, waiting]
    assert ring.current is None
    assert ring.previous is None
    assert ring.local_ids == []
    assert ring.deadline() is None


def test_a_rekey_loses_no_datagram_in_flight() -> None:
    client, server = KeyRing(), KeyRing()
    client.install(a_key(1))
    server.install(a_key(1, secrets=AT_RESPONDER))
    fresh = TransportSecrets(send=b"\x03" * 32, receive=b"\x04" * 32)
    mirrored = TransportSecrets(send=fresh.receive, receive=fresh.send)
    assert client.current is not None
    assert server.current is not None

    late = sealed(client.current, nonce=NONCE.pack(3, 7))[:-8]
    server.await_confirmation(a_key(2, now=120, secrets=mirrored))
    from_server = sealed(server.current, nonce=NONCE.pack(3, 8))[:-8]
    client.install(a_key(2, now=120, secrets=fresh))
    first_under_new = sealed(client.current, nonce=NONCE.pack(3, 9))[:-8]

    server_keys = {key.local_id: key for key in server}
    client_keys = {key.local_id: key for key in client}
    assert client_keys[1].open_untrusted(memoryview(from_server), NONCE.pack(3, 8)) == PLAINTEXT
    assert server_keys[2].open_untrusted(memoryview(first_under_new), NONCE.pack(3, 9)) == PLAINTEXT
    server.confirm(server_keys[2])
    assert server_keys[1].open_untrusted(memoryview(late), NONCE.pack(3, 7)) == PLAINTEXT
    assert server.current is server_keys[2]
    assert server.previous is server_keys[1]
