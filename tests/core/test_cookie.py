"""Strangers get nothing; under load, friends prove their address first."""

from collections.abc import Callable
from hashlib import blake2s

import pytest

from multiwanbond.core.cookie import (
    COOKIE_LIFETIME,
    INITIATIONS_AT_ONCE,
    INITIATIONS_PER_SECOND,
    CookieGuard,
    MacStamper,
)
from multiwanbond.core.datagram import Address
from multiwanbond.core.wire import (
    CookieReply,
    Initiation,
    Macs,
    encode_cookie_reply,
    encode_initiation,
    split_macs_untrusted,
)
from multiwanbond.errors import DatagramError, DropReason

OURS = b"\x01" * 32
OTHERS = b"\x02" * 32
HOME = Address("192.0.2.1", 40000)
MESSAGE = encode_initiation(Initiation(0x1234, bytes(119)))

GOLDEN_MAC1 = "ae841c7ed7f1ee07267455e4e0297e54"
GOLDEN_REPLY = (
    "3001123474b3bf140d21afd039616f178c53ed2b842e18bce31cb917a4d7d97a5fa44cc1e9ec41eb"
    "5e008478315c9549e97a72fd17637c696f39b2f6"
)


def fixed_entropy() -> Callable[[int], bytes]:
    count = 0

    def draw(size: int) -> bytes:
        nonlocal count
        count += 1
        return blake2s(f"guard {count}".encode()).digest()[:size]

    return draw


def a_guard(now: float = 0.0) -> CookieGuard:
    return CookieGuard(OURS, entropy=fixed_entropy(), now=now)


def stamped(stamper: MacStamper | None = None, *, message: bytes = MESSAGE, now: float = 0) -> Macs:
    return split_macs_untrusted((stamper or MacStamper(OURS)).stamp(message, now))


def outcome(guard: CookieGuard, macs: Macs, source: Address, now: float = 0) -> DropReason | None:
    """Why the guard refuses; None if it lets the initiation through."""
    try:
        guard.check_initiation_untrusted(macs, source, now)
    except DatagramError as refused:
        return refused.reason
    return None


def bring_under_load(guard: CookieGuard, now: float = 0) -> None:
    """Spend the budget with initiations that prove no address."""
    macs = stamped()
    while outcome(guard, macs, HOME, now) is None:
        pass


def a_stamper_with_cookie(guard: CookieGuard, source: Address, now: float = 0) -> MacStamper:
    """One that was asked for proof and got its cookie."""
    stamper = MacStamper(OURS)
    macs = stamped(stamper, now=now)
    stamper.on_cookie_untrusted(guard.reply(macs, 0x1234, source, now), now)
    return stamper


# --- MAC 1


def test_the_macs_have_not_changed_since_they_were_first_released() -> None:
    macs = stamped()
    reply = a_guard().reply(macs, 0x1234, HOME, 0)

    assert macs.mac1.hex() == GOLDEN_MAC1
    assert macs.mac2 == bytes(16)
    assert encode_cookie_reply(reply).hex() == GOLDEN_REPLY


def test_who_knows_our_public_key_is_let_through() -> None:
    assert outcome(a_guard(), stamped(), HOME) is None


def test_who_does_not_know_our_public_key_is_refused() -> None:
    assert outcome(a_guard(), stamped(MacStamper(OTHERS)), HOME) is DropReason.BAD_MAC


@pytest.mark.parametrize("position", [0, 2, len(MESSAGE) - 1, len(MESSAGE), len(MESSAGE) + 15])
def test_a_message_changed_after_stamping_is_refused(position: int) -> None:
    message = bytearray(MacStamper(OURS).stamp(MESSAGE, 0))
    message[position] ^= 1

    assert outcome(a_guard(), split_macs_untrusted(message), HOME) is DropReason.BAD_MAC


def test_a_stranger_gets_no_answer_under_load_either() -> None:
    guard = a_guard()
    bring_under_load(guard)

    assert outcome(guard, stamped(MacStamper(OTHERS)), HOME) is DropReason.BAD_MAC


def test_strangers_do_not_bring_us_under_load() -> None:
    guard, strange = a_guard(), stamped(MacStamper(OTHERS))

    for _ in range(10 * int(INITIATIONS_AT_ONCE)):
        outcome(guard, strange, HOME)

    assert outcome(guard, stamped(), HOME) is None


def test_a_response_needs_only_mac_1() -> None:
    guard = a_guard()
    bring_under_load(guard)

    guard.check_mac1_untrusted(stamped())
    with pytest.raises(DatagramError) as refused:
        guard.check_mac1_untrusted(stamped(MacStamper(OTHERS)))

    assert refused.value.reason is DropReason.BAD_MAC


# --- load


def test_as_many_as_the_budget_allows_are_let_through_without_proof() -> None:
    guard, macs = a_guard(), stamped()

    outcomes = [outcome(guard, macs, HOME) for _ in range(int(INITIATIONS_AT_ONCE) + 5)]

    assert outcomes.count(None) == INITIATIONS_AT_ONCE
    assert outcomes.count(DropReason.COOKIE_REQUIRED) == 5


def test_the_budget_comes_back_with_time() -> None:
    guard, macs = a_guard(), stamped()
    bring_under_load(guard)

    outcomes = [outcome(guard, macs, HOME, now=1.0) for _ in range(int(INITIATIONS_AT_ONCE))]

    assert outcomes.count(None) == INITIATIONS_PER_SECOND


def test_a_quiet_hour_does_not_raise_the_budget_above_its_size() -> None:
    guard, macs = a_guard(), stamped()

    outcomes = [outcome(guard, macs, HOME, now=3600) for _ in range(2 * int(INITIATIONS_AT_ONCE))]

    assert outcomes.count(None) == INITIATIONS_AT_ONCE


# --- the cookie


def test_a_cookie_lets_its_holder_through_under_load() -> None:
    guard = a_guard()
    bring_under_load(guard)
    stamper = a_stamper_with_cookie(guard, HOME)

    assert outcome(guard, stamped(stamper), HOME) is None


@pytest.mark.parametrize(
    "source",
    [Address("192.0.2.2", 40000), Address("192.0.2.1", 40001), Address("2001:db8::1", 40000)],
    ids=str,
)
def test_a_cookie_proves_its_own_address_only(source: Address) -> None:
    guard = a_guard()
    bring_under_load(guard)
    stamper = a_stamper_with_cookie(guard, HOME)

    assert outcome(guard, stamped(stamper), source) is DropReason.COOKIE_REQUIRED


def test_a_cookie_is_good_for_any_later_message_from_its_address() -> None:
    guard = a_guard()
    bring_under_load(guard)
    stamper = a_stamper_with_cookie(guard, HOME)

    later = stamped(stamper, message=MESSAGE + b"another")

    assert outcome(guard, later, HOME) is None


def test_a_cookie_survives_one_change_of_the_secret_but_not_two() -> None:
    guard = a_guard()
    bring_under_load(guard)
    macs = stamped(a_stamper_with_cookie(guard, HOME))

    for now in (COOKIE_LIFETIME, 2 * COOKIE_LIFETIME - 0.001):
        bring_under_load(guard, now)
        assert outcome(guard, macs, HOME, now) is None
    bring_under_load(guard, 2 * COOKIE_LIFETIME)

    assert outcome(guard, macs, HOME, 2 * COOKIE_LIFETIME) is DropReason.COOKIE_REQUIRED


def test_a_cookie_from_before_a_long_silence_is_worth_nothing() -> None:
    guard = a_guard()
    macs = stamped(a_stamper_with_cookie(guard, HOME))

    bring_under_load(guard, now=3600)

    assert outcome(guard, macs, HOME, now=3600) is DropReason.COOKIE_REQUIRED


def test_an_initiator_stops_using_a_cookie_when_its_time_is_over() -> None:
    stamper = a_stamper_with_cookie(a_guard(), HOME)

    assert stamped(stamper, now=COOKIE_LIFETIME - 0.001).mac2 != bytes(16)
    assert stamped(stamper, now=COOKIE_LIFETIME).mac2 == bytes(16)


def test_a_reply_is_for_the_message_stamped_last() -> None:
    stamper = MacStamper(OURS)
    reply = a_guard().reply(stamped(stamper), 0x1234, HOME, 0)
    stamper.stamp(MESSAGE + b"another", 0)

    with pytest.raises(DatagramError) as refused:
        stamper.on_cookie_untrusted(reply, 0)

    assert refused.value.reason is DropReason.FORGED


def test_a_reply_sealed_without_our_public_key_is_forged() -> None:
    stamper = MacStamper(OURS)
    impostor = CookieGuard(OTHERS, entropy=fixed_entropy(), now=0)
    reply = impostor.reply(stamped(stamper), 0x1234, HOME, 0)

    with pytest.raises(DatagramError):
        stamper.on_cookie_untrusted(reply, 0)


@pytest.mark.parametrize("position", range(32))
def test_a_changed_reply_is_forged_and_leaves_the_cookie_we_have(position: int) -> None:
    guard = a_guard()
    bring_under_load(guard)
    stamper = a_stamper_with_cookie(guard, HOME)
    reply = guard.reply(stamped(stamper), 0x1234, HOME, 0)
    changed = bytearray(reply.sealed)
    changed[position] ^= 0x80

    with pytest.raises(DatagramError):
        stamper.on_cookie_untrusted(CookieReply(0x1234, reply.nonce, bytes(changed)), 0)

    assert outcome(guard, stamped(stamper), HOME) is None


def test_a_reply_is_smaller_than_what_it_answers() -> None:
    initiation = MacStamper(OURS).stamp(MESSAGE, 0)
    reply = a_guard().reply(split_macs_untrusted(initiation), 0x1234, HOME, 0)

    assert len(encode_cookie_reply(reply)) < len(initiation)
