"""Two ends agree on keys; nobody else can make them, or keep them from it."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2s

import pytest
from hypothesis import given, seed
from hypothesis import strategies as st

from multiwanbond.core.handshake import (
    Answer,
    Cipher,
    Initiator,
    Offer,
    Responder,
    TransportSecrets,
    choose_cipher,
    decode_answer_untrusted,
    decode_offer_untrusted,
    is_public_key,
    public_key_of,
)
from multiwanbond.core.settings import CipherCosts
from multiwanbond.errors import DatagramError, DropReason

CLIENT = b"\x11" * 32
SERVER = b"\x22" * 32
STRANGER = b"\x33" * 32
PSK = b"\x44" * 32

OFFER = Offer(
    bond_id=b"bond-id!", inner_mtu=1440, features=0x80000001, aes_gcm_ns=1300, chacha20_ns=2000
)
ANSWER = Answer(
    bond_id=b"bond-id!", is_resumed=True, inner_mtu=1380, features=1, cipher=Cipher.AES_256_GCM
)

GOLDEN_INITIATION = (
    "d494d6657f6d7e91ba9cd92e4eee97d81c11e6065699ab7cf9bb1e0aedc44134a9a684a07e61cabd"
    "a0d27043d59cacf42ebce2fe3308a584805719f8f18aa897ef0b40bbe1501d81f51b532568a17897"
    "3e1168aa02fe8cc15633d22f81d6eb041816d6e12a93da36bdef2cebf34702a50052f7f2006ea9"
)
GOLDEN_RESPONSE = (
    "153efa8f234d1430f8d24c45efb52132488542775bb2c279a871d94f1c66fa73f91e9bbc4b9234d3"
    "11b1aa6a652d52db56007d7b0f4b84b9765630e1b552c0a556"
)


def fixed_entropy(name: str) -> Callable[[int], bytes]:
    """A source that gives the same bytes in every run."""
    count = 0

    def draw(size: int) -> bytes:
        nonlocal count
        count += 1
        return blake2s(f"{name} {count}".encode()).digest()[:size]

    return draw


def an_initiator(
    *, private_key: bytes = CLIENT, peer: bytes = SERVER, psk: bytes = PSK, name: str = "initiator"
) -> Initiator:
    return Initiator(
        private_key=private_key,
        peer_public_key=public_key_of(peer),
        preshared_key=psk,
        entropy=fixed_entropy(name),
    )


def a_responder() -> Responder:
    return Responder(private_key=SERVER, entropy=fixed_entropy("responder"))


def answered(initiation: bytes, answer: Answer = ANSWER) -> tuple[bytes, TransportSecrets]:
    responder = a_responder()
    responder.read_untrusted(initiation)
    return responder.write(answer, PSK)


def test_both_ends_learn_what_the_other_says_and_share_keys() -> None:
    initiator, responder = an_initiator(), a_responder()

    peer, offer = responder.read_untrusted(initiator.write(OFFER))
    response, at_responder = responder.write(ANSWER, PSK)
    answer, at_initiator = initiator.read_untrusted(response)

    assert (peer, offer, answer) == (public_key_of(CLIENT), OFFER, ANSWER)
    assert at_initiator.send == at_responder.receive
    assert at_initiator.receive == at_responder.send
    assert at_initiator.send != at_initiator.receive


def test_the_messages_have_not_changed_since_they_were_first_released() -> None:
    initiation = an_initiator().write(OFFER)
    response, _ = answered(initiation)

    assert initiation.hex() == GOLDEN_INITIATION
    assert response.hex() == GOLDEN_RESPONSE


def test_the_golden_messages_can_still_be_read() -> None:
    initiator = an_initiator()
    initiator.write(OFFER)

    peer, offer = a_responder().read_untrusted(bytes.fromhex(GOLDEN_INITIATION))
    answer, _ = initiator.read_untrusted(bytes.fromhex(GOLDEN_RESPONSE))

    assert (peer, offer, answer) == (public_key_of(CLIENT), OFFER, ANSWER)


def test_every_handshake_yields_other_keys() -> None:
    first, second = an_initiator(name="first"), an_initiator(name="second")

    _, keys_of_first = answered(first.write(OFFER))
    _, keys_of_second = answered(second.write(OFFER))

    assert not set(keys_of_first) & set(keys_of_second)


def test_another_preshared_key_is_a_bad_handshake() -> None:
    initiator = an_initiator(psk=bytes(32))
    response, _ = answered(initiator.write(OFFER))

    with pytest.raises(DatagramError) as refused:
        initiator.read_untrusted(response)

    assert refused.value.reason is DropReason.BAD_HANDSHAKE


def test_an_initiation_for_somebody_else_is_a_bad_handshake() -> None:
    initiation = an_initiator(peer=STRANGER).write(OFFER)

    with pytest.raises(DatagramError) as refused:
        a_responder().read_untrusted(initiation)

    assert refused.value.reason is DropReason.BAD_HANDSHAKE


def test_a_response_by_somebody_else_is_a_bad_handshake() -> None:
    honest, eavesdropper = an_initiator(), an_initiator(peer=STRANGER)
    honest.write(OFFER)
    impostor = Responder(private_key=STRANGER, entropy=fixed_entropy("impostor"))
    impostor.read_untrusted(eavesdropper.write(OFFER))
    response, _ = impostor.write(ANSWER, PSK)

    with pytest.raises(DatagramError) as refused:
        honest.read_untrusted(response)

    assert refused.value.reason is DropReason.BAD_HANDSHAKE


def test_an_initiator_survives_forged_responses() -> None:
    initiator = an_initiator()
    response, expected = answered(initiator.write(OFFER))

    for forged in (b"", bytes(len(response)), response[:-1], response[:-1] + b"?", response * 2):
        with pytest.raises(DatagramError):
            initiator.read_untrusted(forged)
    answer, secrets = initiator.read_untrusted(response)

    assert answer == ANSWER
    assert secrets.send == expected.receive


def test_a_second_copy_of_the_response_yields_the_same_keys() -> None:
    initiator = an_initiator()
    response, _ = answered(initiator.write(OFFER))

    assert initiator.read_untrusted(response) == initiator.read_untrusted(response)


@seed(1)
@given(st.data())
def test_a_changed_or_truncated_initiation_is_a_bad_handshake(data: st.DataObject) -> None:
    initiation = bytes.fromhex(GOLDEN_INITIATION)
    changed = data.draw(damaged(initiation))

    with pytest.raises(DatagramError) as refused:
        a_responder().read_untrusted(changed)

    assert refused.value.reason is DropReason.BAD_HANDSHAKE


@seed(1)
@given(st.data())
def test_a_changed_or_truncated_response_is_a_bad_handshake(data: st.DataObject) -> None:
    initiator = an_initiator()
    initiator.write(OFFER)
    changed = data.draw(damaged(bytes.fromhex(GOLDEN_RESPONSE)))

    with pytest.raises(DatagramError) as refused:
        initiator.read_untrusted(changed)

    assert refused.value.reason is DropReason.BAD_HANDSHAKE
    assert initiator.read_untrusted(bytes.fromhex(GOLDEN_RESPONSE))[0] == ANSWER


def damaged(message: bytes) -> st.SearchStrategy[bytes]:
    """The message with one bit turned, or without its end, or with bytes after it."""
    turned = st.integers(0, 8 * len(message) - 1).map(lambda bit: with_bit_turned(message, bit))
    cut = st.integers(0, len(message) - 1).map(lambda size: message[:size])
    longer = st.binary(min_size=1, max_size=100).map(lambda tail: message + tail)
    return turned | cut | longer


def with_bit_turned(message: bytes, bit: int) -> bytes:
    number = int.from_bytes(message, "big") ^ (1 << bit)
    return number.to_bytes(len(message), "big")


# --- payloads


def test_what_a_later_release_appends_is_ignored() -> None:
    offer = decode_offer_untrusted(b"\x02" + OFFER.encode()[1:] + b"something new")
    answer = decode_answer_untrusted(b"\x02" + ANSWER.encode()[1:] + b"something new")

    assert (offer, answer) == (OFFER, ANSWER)


@pytest.mark.parametrize("size", range(len(OFFER.encode())))
def test_a_short_offer_is_a_bad_handshake(size: int) -> None:
    with pytest.raises(DatagramError) as refused:
        decode_offer_untrusted(OFFER.encode()[:size])

    assert refused.value.reason is DropReason.BAD_HANDSHAKE


@pytest.mark.parametrize("size", range(len(ANSWER.encode())))
def test_a_short_answer_is_a_bad_handshake(size: int) -> None:
    with pytest.raises(DatagramError) as refused:
        decode_answer_untrusted(ANSWER.encode()[:size])

    assert refused.value.reason is DropReason.BAD_HANDSHAKE


@pytest.mark.parametrize(
    "decode", [decode_offer_untrusted, decode_answer_untrusted], ids=["offer", "answer"]
)
def test_a_payload_version_that_never_was_is_a_bad_handshake(
    decode: Callable[[bytes], object],
) -> None:
    with pytest.raises(DatagramError):
        decode(bytes(16) + b"\x01" + bytes(16))


def test_a_cipher_we_do_not_have_is_a_bad_handshake() -> None:
    with pytest.raises(DatagramError):
        decode_answer_untrusted(ANSWER.encode()[:-1] + b"\x03")


def test_a_cost_beyond_four_bytes_is_sent_as_the_greatest() -> None:
    offer = decode_offer_untrusted(replace(OFFER, aes_gcm_ns=10**12).encode())

    assert offer.aes_gcm_ns == 0xFFFFFFFF


@pytest.mark.parametrize(
    ("aes_gcm_ns", "chacha20_ns", "expected"),
    [
        (1300, 2000, Cipher.AES_256_GCM),
        (9000, 6000, Cipher.CHACHA20_POLY1305),  # a Pi 4: its need outweighs the fast server's
        (2000, 1300, Cipher.CHACHA20_POLY1305),  # a tie with ours
    ],
)
def test_the_cipher_is_the_one_that_costs_both_ends_together_least(
    aes_gcm_ns: int, chacha20_ns: int, expected: Cipher
) -> None:
    offer = replace(OFFER, aes_gcm_ns=aes_gcm_ns, chacha20_ns=chacha20_ns)

    assert choose_cipher(offer, CipherCosts(aes_gcm_ns=1300, chacha20_ns=2000)) is expected


# --- keys


def test_public_keys_are_those_of_rfc_7748_section_6_1() -> None:
    private = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"

    assert public_key_of(bytes.fromhex(private)).hex() == (
        "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    )


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(32), bytes([1]) + bytes(31), bytes(33)])
def test_a_key_nobody_can_have_is_no_public_key(key: bytes) -> None:
    assert not is_public_key(key)


def test_a_key_somebody_has_is_a_public_key() -> None:
    assert is_public_key(public_key_of(CLIENT))
