"""The script for OpenWrt's procd, run with stand-ins for what /etc/rc.common brings."""

import subprocess
from pathlib import Path

from .conftest import PROJECT

SCRIPT = PROJECT / "deploy" / "openwrt" / "multiwanbond.init"
STAND_INS = "\n".join(
    f'{name}() {{ echo {name} "$@"; }}'
    for name in ("procd_open_instance", "procd_set_param", "procd_close_instance", "start", "mwb")
)


def said(function: str, etc: Path) -> list[str]:
    """Return what a function of the script calls, with this directory as /etc/multiwanbond."""
    text = SCRIPT.read_text().replace("/etc/multiwanbond", str(etc))
    text = text.replace("PROG=/usr/bin/mwb", "PROG=mwb")
    done = subprocess.run(
        ["sh", "-euc", f"{text}\n{STAND_INS}\n{function}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout.splitlines()


def test_there_is_an_instance_for_each_configuration(tmp_path: Path) -> None:
    for name in ("home", "office"):
        (tmp_path / f"{name}.yaml").touch()

    calls = said("start_service", tmp_path)

    assert [call for call in calls if "instance" in call or "command" in call] == [
        "procd_open_instance home",
        f"procd_set_param command mwb run -c {tmp_path}/home.yaml",
        "procd_close_instance",
        "procd_open_instance office",
        f"procd_set_param command mwb run -c {tmp_path}/office.yaml",
        "procd_close_instance",
    ]


def test_without_a_configuration_there_is_nothing_to_do(tmp_path: Path) -> None:
    for function in ("start_service", "service_stopped"):
        assert said(function, tmp_path) == []


def test_a_reload_and_an_end_reach_every_tunnel(tmp_path: Path) -> None:
    (tmp_path / "home.yaml").touch()

    assert said("reload_service", tmp_path) == ["start", f"mwb reload -c {tmp_path}/home.yaml"]
    assert said("service_stopped", tmp_path) == [f"mwb down -c {tmp_path}/home.yaml"]
