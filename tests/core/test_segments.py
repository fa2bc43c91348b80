"""Neighbouring segments of a run are sealed and opened by one call, compiled or not."""

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiwanbond.core import ip, segments
from multiwanbond.core.burst import Burst
from multiwanbond.core.handshake import Cipher, TransportSecrets
from multiwanbond.core.keys import TransportKey
from multiwanbond.core.segments import LAST_SEGMENT, SEGMENT, Segments
from multiwanbond.core.wire import HEADER_SIZE, NONCE, OVERHEAD, TRANSPORT_HEADER, pack_tail

from .inner_packets import ACK, PSH, TCP, UDP, Shape

THERE = TransportSecrets(send=b"\x01" * 32, receive=b"\x02" * 32)
HERE = TransportSecrets(send=THERE.receive, receive=THERE.send)
SESSION = 0x1234
PATH = 7
PAYLOAD = Random(3).randbytes(4321)
SIZE = 1000
KINDS = ("interpreted", "compiled")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "compiled" and segments.COMPILED is None:
        pytest.skip("the compiled part is not built here")
    return str(request.param)


@pytest.fixture(params=list(Cipher), ids=lambda cipher: cipher.name)
def cipher(request: pytest.FixtureRequest) -> Cipher:
    assert isinstance(request.param, Cipher)
    return request.param


def a_key(kind: str, secrets: TransportSecrets, cipher: Cipher) -> TransportKey:
    with pytest.MonkeyPatch.context() as patch:
        if kind == "interpreted":
            patch.setattr(segments, "COMPILED", None)
        return TransportKey(secrets, cipher, local_id=SESSION, remote_id=SESSION, now=0.0)


class Ends:
    """A key that seals and the one that opens."""

    def __init__(self, kind: str, cipher: Cipher = Cipher.AES_256_GCM) -> None:
        self.sealing = a_key(kind, THERE, cipher)
        self.opening = a_key(kind, HERE, cipher)

    def seal(
        self,
        run: Burst,
        *,
        first: int = 0,
        count: int | None = None,
        sequence: int = 10,
        number: int = 20,
        distance: int = 3,
        timestamp: int = 99,
    ) -> bytearray:
        """The datagrams of segments of a run, end to end."""
        offset = first * run.segment_size
        count = run.segment_count - first if count is None else count
        payload = min(len(run.packet) - run.header_length - offset, count * run.segment_size)
        view = bytearray(count * (OVERHEAD + run.header_length) + payload)
        self.sealing.seal_run(
            memoryview(view), 0, run, offset, count, PATH, sequence, number, distance, timestamp
        )
        return view

    def open(self, datagrams: bytes | bytearray, run: Burst) -> tuple[int, Segments | None]:
        size = min(OVERHEAD + run.header_length + run.segment_size, len(datagrams))
        return self.opening.open_run_untrusted(memoryview(datagrams), 0, size, 10)

    def open_singly(self, datagram: bytes | bytearray, sequence: int) -> bytearray:
        return self.opening.open_untrusted(memoryview(datagram), NONCE.pack(PATH, sequence))


def a_run(*, version: int = 4, protocol: int = TCP, payload: bytes = PAYLOAD) -> Burst:
    return Shape(version=version, protocol=protocol, flags=ACK | PSH).run(payload, SIZE)


def each(datagrams: bytes | bytearray, run: Burst) -> Iterator[bytes]:
    """The datagrams one by one."""
    size = OVERHEAD + run.header_length + run.segment_size
    for start in range(0, len(datagrams), size):
        yield bytes(datagrams[start : start + size])


# --- sealing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_each_segment_can_be_opened_by_itself(
    kind: str, cipher: Cipher, version: int, protocol: int
) -> None:
    ends, run = Ends(kind, cipher), a_run(version=version, protocol=protocol)
    position = ip.LENGTH_POSITION[version]

    datagrams = list(each(ends.seal(run), run))

    assert len(datagrams) == 5
    for index, datagram in enumerate(datagrams):
        plain = ends.open_singly(datagram, 10 + index)
        offset = index * SIZE
        header = bytearray(run.packet[: run.header_length])
        header[position : position + 2] = offset.to_bytes(2, "big")
        assert plain == header + PAYLOAD[offset : offset + SIZE]


def test_the_headers_number_the_segments(kind: str) -> None:
    ends, run = Ends(kind), a_run()

    datagrams = ends.seal(run, sequence=2**32 - 2, number=2**24 - 1, distance=70, timestamp=2**24)

    assert [TRANSPORT_HEADER.unpack_from(datagram) for datagram in each(datagrams, run)] == [
        (SEGMENT, PATH, SESSION, 2**32 - 2, pack_tail(0, 2**24 - 1, 70)),
        (SEGMENT, PATH, SESSION, 2**32 - 1, pack_tail(0, 0, 1)),
        (SEGMENT, PATH, SESSION, 0, pack_tail(0, 1, 1)),
        (SEGMENT, PATH, SESSION, 1, pack_tail(0, 2, 1)),
        (LAST_SEGMENT, PATH, SESSION, 2, pack_tail(0, 3, 1)),
    ]


def test_the_compiled_part_seals_the_same_bytes(cipher: Cipher) -> None:
    if segments.COMPILED is None:
        pytest.skip("the compiled part is not built here")
    run = a_run()
    options = {"first": 1, "count": 3, "sequence": 2**40, "number": 2**24 + 5, "distance": 9}

    first, second = (Ends(kind, cipher).seal(run, **options) for kind in KINDS)

    assert first == second


@pytest.mark.parametrize(
    ("offset", "count", "room"),
    [(0, 6, 9000), (5000, 1, 9000), (-1, 1, 9000), (0, 0, 9000), (0, 5, 4321), (0, 1, 0)],
)
def test_the_compiled_part_touches_nothing_beyond_its_buffers(
    offset: int, count: int, room: int
) -> None:
    if segments.COMPILED is None:
        pytest.skip("the compiled part is not built here")
    key, run = a_key("compiled", THERE, Cipher.AES_256_GCM), a_run()
    before = bytearray(room)

    with pytest.raises(ValueError, match="segments"):
        key.seal_run(memoryview(before), 0, run, offset, count, PATH, 1, 1, 0, 0)

    assert before == bytearray(room)


# --- opening -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize(("first", "count"), [(0, 5), (0, 2), (1, 3), (3, 2)])
def test_neighbours_come_as_one_header_and_all_payloads(
    kind: str, cipher: Cipher, version: int, protocol: int, first: int, count: int
) -> None:
    ends, run = Ends(kind, cipher), a_run(version=version, protocol=protocol)
    datagrams = ends.seal(run, first=first, count=count)

    found, opened = ends.open(datagrams, run)

    assert opened is not None
    assert (found, opened.segment_size) == (count, SIZE)
    assert opened.header_length == run.header_length
    position = ip.LENGTH_POSITION[version]
    offset = int.from_bytes(opened.packet[position : position + 2], "big")
    assert offset == first * SIZE
    payload = opened.packet[opened.header_length :]
    assert payload == PAYLOAD[offset : offset + count * SIZE]
    assert (
        opened.packet[position + 2 : run.header_length]
        == (run.packet[position + 2 : run.header_length])
    )


@given(
    payload=st.binary(min_size=2, max_size=600),
    size=st.integers(1, 90),
    shape=st.builds(Shape, version=st.sampled_from([4, 6]), protocol=st.sampled_from([TCP, UDP])),
)
@pytest.mark.parametrize("which", KINDS)
def test_segments_shorter_than_their_header_come_whole_too(
    which: str, payload: bytes, size: int, shape: Shape
) -> None:
    if which == "compiled" and segments.COMPILED is None:
        pytest.skip("the compiled part is not built here")
    ends, run = Ends(which), shape.run(payload, size)
    datagrams = ends.seal(run)

    found, opened = ends.open(datagrams, run)

    assert found == run.segment_count
    if found > 1:
        assert opened is not None
        assert opened.packet[opened.header_length :] == payload
        singly = [
            ends.open_singly(one, 10 + index) for index, one in enumerate(each(datagrams, run))
        ]
        assert opened.split() == singly


@pytest.mark.parametrize(
    "change",
    [{"sequence": 13}, {"number": 23}, {"timestamp": 98}],
    ids=lambda change: str(next(iter(change))),
)
def test_only_neighbours_are_taken_together(kind: str, change: dict[str, int]) -> None:
    ends, run = Ends(kind), a_run()
    begin = ends.seal(run, count=2)
    follows = {"first": 2, "sequence": 12, "number": 22, "distance": 1} | change

    found, opened = ends.open(begin + ends.seal(run, **follows), run)

    assert found == 2
    assert opened is not None


def test_nothing_follows_the_last_segment_of_a_run(kind: str) -> None:
    ends = Ends(kind)
    run = a_run(payload=PAYLOAD[: 2 * SIZE])
    datagrams = ends.seal(run) + ends.seal(run, sequence=12, number=22, distance=1)

    found, _ = ends.open(datagrams, run)

    assert found == 2


@pytest.mark.parametrize("place", [0, 1, 4])
@pytest.mark.parametrize("byte", [HEADER_SIZE, HEADER_SIZE + 200, -1])
def test_one_forged_segment_leaves_all_to_be_looked_at_one_by_one(
    kind: str, cipher: Cipher, place: int, byte: int
) -> None:
    ends, run = Ends(kind, cipher), a_run()
    datagrams = [bytearray(one) for one in each(ends.seal(run), run)]
    datagrams[place][byte] ^= 4

    assert ends.open(b"".join(datagrams), run) == (5, None)


def test_segments_of_several_runs_are_no_neighbours_whatever_their_numbers_say(kind: str) -> None:
    ends = Ends(kind)
    run, other = a_run(), Shape(sequence=77).run(PAYLOAD, SIZE)
    datagrams = ends.seal(run, count=2) + ends.seal(
        other, first=2, sequence=12, number=22, distance=1
    )

    assert ends.open(datagrams, run) == (5, None)


@given(
    junk=st.binary(min_size=16, max_size=400),
    size=st.integers(16, 120),
    header=st.booleans(),
)
@pytest.mark.parametrize("which", KINDS)
def test_any_bytes_are_refused(which: str, junk: bytes, size: int, *, header: bool) -> None:
    if which == "compiled" and segments.COMPILED is None:
        pytest.skip("the compiled part is not built here")
    datagrams = bytearray(junk)
    if header:
        for index, start in enumerate(range(0, len(datagrams) - HEADER_SIZE, size)):
            tail = pack_tail(5, 20 + index, 1 if index else 0)
            TRANSPORT_HEADER.pack_into(datagrams, start, SEGMENT, PATH, SESSION, 10 + index, tail)
    key = a_key(which, HERE, Cipher.AES_256_GCM)

    count, opened = key.open_run_untrusted(memoryview(datagrams), 0, min(size, len(datagrams)), 10)

    assert count >= 1
    assert opened is None
