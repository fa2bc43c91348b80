"""The line that pairs a client with a server."""

from ipaddress import ip_address, ip_interface

import pytest

from multiwanbond.config.invitation import Invitation, read_invitation_untrusted
from multiwanbond.config.notations import HostPort
from multiwanbond.units import NotationError

INVITATION = Invitation(
    name="home",
    server=HostPort("198.51.100.1", 9000),
    server_key=bytes(range(32)),
    addresses=(ip_interface("10.77.0.2/24"), ip_interface("fd77::2/64")),
    dns=(ip_address("9.9.9.9"),),
    secret=bytes(range(100, 132)),
)


def test_a_line_says_all_that_a_client_must_know() -> None:
    line = INVITATION.line()

    assert read_invitation_untrusted(line) == INVITATION
    assert len(line) < 450
    assert line.isascii()


def test_blanks_and_line_breaks_of_a_mail_program_do_not_matter() -> None:
    line = INVITATION.line()

    assert read_invitation_untrusted(f"  {line[:70]}\n {line[70:]}\n") == INVITATION


def test_a_line_that_lost_its_end_is_refused() -> None:
    line = INVITATION.line()

    for length in range(len(line)):
        with pytest.raises(NotationError) as caught:
            read_invitation_untrusted(line[:length])
        assert "Copy the whole line" in caught.value.remedy


@pytest.mark.parametrize("text", ["", "mwb1:", "mwb2:abcd", "hello", "mwb1:" + "A" * 3000])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(NotationError):
        read_invitation_untrusted(text)


def test_the_keys_of_a_client_differ_and_follow_from_the_secret() -> None:
    keys = {INVITATION.private_key, INVITATION.preshared_key, INVITATION.secret}

    assert len(keys) == 3
    assert {len(key) for key in keys} == {32}
    assert read_invitation_untrusted(INVITATION.line()).private_key == INVITATION.private_key
