"""Any packet at all from a peer that is authentic and mad: a message, or malformed."""

from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st

from multiwanbond.api.messages import decode_untrusted, encode, header
from multiwanbond.core.burst import Burst
from multiwanbond.errors import DatagramError, DropReason

from .test_fuzz_ip import damaged, packets

V4 = header(ip_address("10.77.0.2"), 9077, ip_address("10.77.0.1"), 9077)
V6 = header(ip_address("fd77::2"), 9077, ip_address("fd77::1"), 9077)
messages = st.builds(encode, st.sampled_from([V4, V6]), st.binary(max_size=64)).map(
    lambda burst: bytes(burst.packet)
)
almost_messages = st.builds(
    damaged,
    messages,
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=6),
    st.integers(0, 130),
)


@settings(max_examples=1000)
@given(packet=st.one_of(packets, messages, almost_messages), is_partial=st.booleans())
def test_a_packet_is_a_message_or_malformed(packet: bytes, is_partial: bool) -> None:
    reason = None
    try:
        data, _, _ = decode_untrusted(Burst(packet, is_checksum_partial=is_partial))
        assert len(data) <= len(packet)
    except DatagramError as error:
        reason = error.reason

    assert reason in {None, DropReason.MALFORMED}
