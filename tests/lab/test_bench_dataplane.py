"""What `mwb bench --dataplane` shows, and what it refuses."""

import json
import shutil
import socket
from collections.abc import Sequence

import pytest

from multiwanbond.cli import main
from multiwanbond.lab import bench_dataplane_report, load_end
from multiwanbond.lab.bench_dataplane import (
    LOADS,
    Carried,
    Datagrams,
    DataplanePlan,
    Streams,
    WayFigures,
    WayRun,
    ways,
)


def carried(gbit: float, *, is_tcp: bool) -> Carried:
    rate = gbit * 1e9 / 8
    return Carried(
        rate=rate,
        packets=None if is_tcp else rate / 200,
        loss=None if is_tcp else 0.0125,
        cpu_per_gb=5.5,
        ping_p95=0.0042 if is_tcp else None,
    )


def figures(gbits: Sequence[float], *, memory: int | None = 70_000_000) -> WayFigures:
    runs = [
        WayRun(
            loads={
                name: carried(gbit, is_tcp=isinstance(load, Streams))
                for name, load in LOADS.items()
            },
            memory=memory,
        )
        for gbit in gbits
    ]
    return WayFigures(name="bond, 2 paths", runs=runs)


def test_a_row_shows_medians() -> None:
    row = bench_dataplane_report.row(figures([2.0, 9.0, 2.5]))

    assert row.split() == [
        *("bond,", "2", "paths", "2.50", "5.5", "4.2", "2.50", "5.5"),
        *("2.50", "1.25", "2.50", "1.25", "1562.5", "1.25", "70"),
    ]
    assert len(row) == len(bench_dataplane_report.HEADER.splitlines()[-1])


def test_what_is_no_daemon_of_ours_has_no_memory() -> None:
    assert bench_dataplane_report.row(figures([1.0], memory=None)).endswith("     -")


def test_the_document_holds_every_run() -> None:
    plan = DataplanePlan(runs=2)

    document = json.loads(json.dumps(bench_dataplane_report.document(plan, [figures([1.0, 2.0])])))

    (way,) = document["ways"]
    rates = [run["loads"]["one TCP flow"]["rate"] for run in way["runs"]]
    assert rates == [125e6, 250e6]


def test_with_only_the_bond_there_is_nothing_to_compare_with() -> None:
    names = set(ways(DataplanePlan(is_bond_only=True)))

    assert "bond, 2 paths" in names
    assert not names & {"veth alone", "wireguard-go", "OpenVPN"}


def test_a_rival_that_is_not_installed_is_left_out_and_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)

    title = bench_dataplane_report.title(DataplanePlan())

    assert not {"wireguard-go", "OpenVPN"} & ways(DataplanePlan()).keys()
    assert "wireguard-go is left out: there is no wireguard-go and no wg" in title
    assert "OpenVPN is left out: there is no openvpn" in title


@pytest.mark.parametrize("option", ["--up", "--idle", "--scenario=mix4", "--svg=x.svg"])
def test_options_without_effect_are_refused(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--dataplane", option]) == 64
    assert "does not go with --dataplane" in capsys.readouterr().err


def test_datagrams_are_offered_at_the_rate_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    load = Datagrams(size=200, rate=2000.0, in_runs=True)
    options = [f"--size={load.size}", f"--rate={load.rate}", "--seconds=0.5", "--in-runs"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))

        code = load_end.main(["send", "127.0.0.1", str(sink.getsockname()[1]), *options])

    said = json.loads(capsys.readouterr().out)
    assert code == 0
    assert 500 <= said["sent"] <= 1000 + 64
