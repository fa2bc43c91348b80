"""Datagrams are laid out as runs that one system call can send."""

from hypothesis import given
from hypothesis import strategies as st

from multiwanbond.core.datagram import Address
from multiwanbond.core.outbox import RUN_BYTES, RUN_DATAGRAMS, Outbox

SERVER = Address("192.0.2.1", 9000)


def lay_out(sizes: list[int]) -> list[tuple[int, int]]:
    """Return (bytes, segment size) of every run made of datagrams of these sizes."""
    box = Outbox()
    for number, size in enumerate(sizes):
        start = box.reserve(size)
        box.view[start : start + size] = bytes([number % 256]) * size
    runs = list(box.drain(SERVER, 1, None))

    assert b"".join(bytes(run.data) for run in runs) == b"".join(
        bytes([number % 256]) * size for number, size in enumerate(sizes)
    )
    return [(len(run.data), run.segment_size) for run in runs]


def test_equal_datagrams_are_one_run() -> None:
    assert lay_out([1400] * 10) == [(14000, 1400)]


def test_a_single_datagram_is_no_run() -> None:
    assert lay_out([1400]) == [(1400, 0)]


def test_a_shorter_datagram_ends_its_run() -> None:
    assert lay_out([1400, 1400, 60, 1400]) == [(2860, 1400), (1400, 0)]


def test_a_longer_datagram_starts_a_new_run() -> None:
    assert lay_out([60, 1400, 1400]) == [(60, 0), (2800, 1400)]


def test_a_run_keeps_the_kernels_limits() -> None:
    runs = lay_out([100] * (RUN_DATAGRAMS + 1)) + lay_out([1500] * 50)

    assert all(size <= RUN_BYTES and size <= RUN_DATAGRAMS * segment for size, segment in runs[:1])
    assert runs == [(6400, 100), (100, 0), (43 * 1500, 1500), (7 * 1500, 1500)]


@given(
    runs=st.lists(st.tuples(st.integers(40, 1500), st.integers(1, 70), st.floats(0, 1)), max_size=6)
)
def test_room_for_many_is_the_room_they_would_get_one_by_one(
    runs: list[tuple[int, int, float]],
) -> None:
    singly, together = Outbox(), Outbox()
    for size, count, share in runs:
        last = max(int(size * share), 33)
        for one in [size] * (count - 1) + [last]:
            singly.reserve(one)
        while count:
            _, taken = together.reserve_run(size, count, last)
            assert 1 <= taken <= count
            count -= taken

    first, second = (
        [(len(run.data), run.segment_size) for run in box.drain(SERVER, 1, None)]
        for box in (singly, together)
    )
    assert first == second


def test_buffers_are_used_again() -> None:
    box = Outbox()
    box.reserve(1000)
    first = box.buffer
    list(box.drain(SERVER, 1, None))
    box.reserve(1000)
    list(box.drain(SERVER, 1, None))

    box.reserve(1000)

    assert box.buffer is first
