"""The pure parts of `mwb bench --fetches`, and its ends over this machine's loopback."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from multiwanbond.cli import main
from multiwanbond.lab import bench_fetches, bench_fetches_report, fetch_end
from multiwanbond.lab.bench_fetches import (
    DEFAULT_SCENARIOS,
    FetchPlan,
    KernelFetches,
    Said,
    Way,
    said_of,
)
from multiwanbond.lab.fetch_end import ENDLESS, Asked
from multiwanbond.sim import fetches_report
from multiwanbond.sim.fetches import LONGEST, SIZES


def way(small: float, large: float, *, ping: float = 0.010) -> Way:
    """Return what a way gave where 10 kB take `small` and 1 MB and a page take `large` seconds."""
    times = dict(zip(SIZES, (small, 0.05, large), strict=True))
    return Way(
        ping=ping,
        fetches={size: Said(times=((seconds,),) * 3) for size, seconds in times.items()},
        page=Said(times=((0.01, large),)),
    )


def figures(*, beside: float | None = 0.12, scale: float = 1.0) -> KernelFetches:
    """Return the figures of two lines, one near and one wide, and their bond."""
    return KernelFetches(
        name="example",
        scale=scale,
        lines=(way(0.02, 2.0, ping=0.011), way(0.05, 0.8, ping=0.024)),
        bond=way(0.03, 0.4, ping=0.012),
        undisturbed=Said(times=((0.06,) * 50,)),
        beside=Said(times=((beside,) * 50,)),
    )


def test_every_kind_is_compared_with_the_line_that_is_best_at_it() -> None:
    measured = figures()

    assert measured.fetches[10_000].line == 1
    assert measured.fetches[10_000].ratio == pytest.approx(1.5)
    assert measured.fetches[1_000_000].line == 2
    assert measured.page.ratio == pytest.approx(0.5)
    assert measured.ping.best_line == 0.011
    assert measured.disturbance == pytest.approx(2.0)


def test_a_group_takes_as_long_as_its_last_and_the_median_group_counts() -> None:
    said = said_of({"times": [[0.1, 0.4], [0.2, 0.1], [0.3, 0.1]], "received": 600_000})

    assert said.median == 0.3
    assert said.p95 == 0.4
    assert said.received == 600_000


def test_what_was_given_up_took_the_longest_and_is_told() -> None:
    measured = figures(beside=None)

    assert measured.given_up == 50
    assert measured.beside.p95 == LONGEST
    assert bench_fetches_report.row(measured).endswith("  given up: 50")


def test_rows_have_the_columns_of_the_simulator_and_pings() -> None:
    row = bench_fetches_report.row(figures())
    table = [row, *bench_fetches_report.HEADER.splitlines()]

    assert " ".join(row.split()) == "example 30 1.50 50 1.00 400 0.50 400 0.50 2.00 12.0 11.0"
    assert {len(line) for line in table} == {91}
    assert bench_fetches_report.HEADER.startswith(fetches_report.HEADER.splitlines()[0])
    assert max(map(len, bench_fetches_report.LEGEND)) <= 100


def test_a_row_says_that_rates_were_scaled_down() -> None:
    assert bench_fetches_report.row(figures(scale=0.5)).endswith("  rates x 0.50")


def test_the_document_is_json_with_all_that_was_measured() -> None:
    made = bench_fetches_report.document([(FetchPlan(congestion="bbr"), figures())])

    (run,) = json.loads(json.dumps(made))["fetches"]
    assert run["congestion"] == "bbr"
    assert run["fetches"]["10000"] == {
        "bond": 0.03,
        "best_line": 0.02,
        "line": 1,
        "ratio": pytest.approx(1.5),
    }
    assert run["beside"] == 0.12
    assert len(run["measured"]["lines"]) == 2


def test_by_default_the_first_four_mixes_are_measured() -> None:
    assert DEFAULT_SCENARIOS == ("mix4", "fibre_and_vdsl", "no_anchor", "two_lte")


def test_the_verb_prints_a_table_and_writes_the_figures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("multiwanbond.lab.namespaces.demand_lab", lambda _: None)
    monkeypatch.setattr(bench_fetches, "measure", lambda *_: figures())
    written = tmp_path / "figures.json"

    code = main(["bench", "--fetches", "--scenario", "geo", "--json", str(written)])

    assert code == 0
    assert bench_fetches_report.row(figures()) in capsys.readouterr().out.splitlines()
    assert json.loads(written.read_text())["fetches"][0]["congestion"] == "cubic"


@pytest.mark.parametrize(
    "option",
    [
        ["--traffic", "quic"],
        ["--up"],
        ["--flows", "2"],
        ["--only", "bond"],
        ["--runs", "5"],
        ["--seconds", "2"],
        ["--svg", "chart.svg"],
    ],
)
def test_what_has_no_effect_on_fetches_is_refused(
    option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["bench", "--fetches", *option])

    assert code == 64
    assert f"{option[0]} does not go with --fetches" in capsys.readouterr().err


# --- the ends ------------------------------------------------------------------------------------


@pytest.fixture
def port() -> Iterator[int]:
    """Return a port of the loopback where requests are answered."""
    server = fetch_end.listen(0, "reno")

    def serve() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return  # the test is over
            threading.Thread(target=fetch_end.answer, args=(peer,), daemon=True).start()

    thread = threading.Thread(target=serve)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    thread.join()
    server.close()


def test_what_connects_to_the_serving_end_has_its_congestion_control() -> None:
    with fetch_end.listen(0, "reno") as server, socket.socket() as client:
        client.connect(("127.0.0.1", server.getsockname()[1]))
        peer, _ = server.accept()

        with peer:
            name = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)

    assert name.rstrip(b"\0") == b"reno"


def test_fetches_that_begin_together_are_all_answered_in_full(port: int) -> None:
    asked = [Asked(at=0.0, size=size) for size in (1, 10_000, 3_000_000) for _ in range(5)]

    begun = fetch_end.fetch("127.0.0.1", port, asked, patience=30.0)

    assert [one.received for one in begun] == [one.size for one in asked]
    assert all(one.seconds is not None for one in begun)


def test_a_download_without_end_lasts_as_long_as_the_others(port: int) -> None:
    asked = [Asked(at=0.05, size=1000), Asked(at=0.0, size=ENDLESS), Asked(at=0.1, size=1000)]

    bulk, *short = fetch_end.fetch("127.0.0.1", port, asked, patience=30.0)

    assert bulk.size == ENDLESS
    assert bulk.received > 0
    assert [one.received for one in short] == [1000, 1000]


def test_a_fetch_that_is_not_answered_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        asked = [Asked(at=0.0, size=1000)]

        (one,) = fetch_end.fetch("127.0.0.1", silent.getsockname()[1], asked, patience=0.1)

    assert one.seconds is None
    assert one.received == 0


def test_a_fetch_that_is_refused_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]

    what = ["--size=1", "--fetches=1", "--interval=0.1", "--patience=1"]
    code = fetch_end.main(["stream", "127.0.0.1", str(closed), *what])

    assert code == 1
    assert "Connection refused" in capsys.readouterr().err
