from pathlib import Path

import pytest

from multiwanbond.errors import PlatformError, PrivilegeError
from multiwanbond.linux.privileges import check_privileges

ALL = "Name:\tmwb\nCapEff:\t000001ffffffffff\n"
ONLY_NET_ADMIN = "Name:\tmwb\nCapEff:\t0000000000001000\n"
NONE = "Name:\tmwb\nCapEff:\t0000000000000000\n"


def written(tmp_path: Path, status: str) -> Path:
    path = tmp_path / "status"
    path.write_text(status)
    return path


@pytest.mark.parametrize("status", [ALL, ONLY_NET_ADMIN])
def test_network_administration_is_enough(tmp_path: Path, status: str) -> None:
    check_privileges(written(tmp_path, status), tun=tmp_path)


def test_a_plain_user_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PrivilegeError, match="Run as root"):
        check_privileges(written(tmp_path, NONE), tun=tmp_path)


def test_a_missing_driver_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match=r"no .*/net/tun.*modprobe tun"):
        check_privileges(written(tmp_path, ALL), tun=tmp_path / "net" / "tun")
