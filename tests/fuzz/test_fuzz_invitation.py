"""No text whatever does more to the reader of invitations than to be refused."""

import base64
import json
from contextlib import suppress
from hashlib import blake2s

from hypothesis import given
from hypothesis import strategies as st

from multiwanbond.config.invitation import PREFIX, read_invitation_untrusted
from multiwanbond.units import NotationError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(list("neksad")), inner),
)


@given(st.text())
def test_any_text(text: str) -> None:
    with suppress(NotationError):
        read_invitation_untrusted(PREFIX + text)


@given(JSON)
def test_any_document_with_a_right_checksum(document: object) -> None:
    data = json.dumps(document).encode()
    whole = data + blake2s(data, digest_size=4).digest()

    with suppress(NotationError):
        read_invitation_untrusted(PREFIX + base64.urlsafe_b64encode(whole).decode())
