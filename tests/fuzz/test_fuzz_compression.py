"""Any bytes at all as a compressed packet: restored within the limit, or malformed."""

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from multiwanbond.core.compression import _COMPRESS, Decompressor
from multiwanbond.errors import DatagramError, DropReason

from .test_fuzz_ip import damaged

LARGEST = 1500
compress = zstandard.ZstdCompressor(compression_params=_COMPRESS).compress
frames = st.binary(max_size=400).map(lambda text: compress(text * 3))
almost_frames = st.builds(
    damaged, frames, st.lists(st.tuples(st.integers(0, 40), st.integers(0, 255)), max_size=4),
    st.integers(1, 500),
)  # fmt: skip


def restored(small: bytes) -> bytes | None:
    """The packet; None if the frame was refused as it must be."""
    reason = None
    try:
        return Decompressor(LARGEST).restore_untrusted(small)
    except DatagramError as error:
        reason = error.reason
    assert reason is DropReason.MALFORMED
    return None


@settings(max_examples=1000)
@given(small=st.one_of(st.binary(max_size=200), frames, almost_frames))
def test_bytes_are_a_packet_within_the_limit_or_malformed(small: bytes) -> None:
    packet = restored(small)

    assert packet is None or len(packet) <= LARGEST


@pytest.mark.parametrize("size", [LARGEST + 1, 10_000_000])
def test_a_frame_that_would_be_longer_is_refused(size: int) -> None:
    assert restored(compress(bytes(size))) is None


@pytest.mark.parametrize("claim", [1 << 24, 1 << 40, (1 << 64) - 1])
def test_a_frame_that_claims_a_size_of_its_own_is_refused(claim: int) -> None:
    whole_in_one_segment, block = b"\xe0", b"\x01\x00\x00"

    assert restored(whole_in_one_segment + claim.to_bytes(8, "little") + block) is None


def test_a_frame_that_wants_a_large_window_is_refused() -> None:
    modest = compress(b"a" * 1000)
    window_of_128_mib = bytes([27 - 10 << 3])  # RFC 8878, section 3.1.1.1.2

    assert restored(modest) == b"a" * 1000
    assert restored(modest[:1] + window_of_128_mib + modest[2:]) is None
