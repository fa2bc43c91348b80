"""Who listens, replays, forges or merely knocks changes nothing and learns nothing."""

from collections.abc import Iterable
from random import Random

from multiwanbond.core.datagram import Address
from multiwanbond.errors import DropReason
from multiwanbond.sim.wires import Altered, Recorder
from tests.scenarios.bonded import SERVER, Bonded

SEED = 34
STRANGER = Address("192.0.2.66", 666)


def test_replayed_datagrams_from_anywhere_change_nothing() -> None:
    bonded = Bonded(SEED)
    client, world = bonded.client, bonded.world
    recorder = Recorder()
    client.uplinks[0].tamper_up = recorder
    bonded.connect()
    stream = client.stream(20.0)
    world.run_for(2.0)
    remotes = [path.remote for path in bonded.server_statistics.peers[0].paths]
    connected_since = bonded.server_statistics.peers[0].connected_since

    recorded = recorder.datagrams * 3
    world.run_for(0.1)  # until the last of them has arrived and is nothing new any more
    for datagram in recorded:
        bonded.network.inject(STRANGER, SERVER, datagram)
    world.run_for(20.0)

    peer = bonded.server_statistics.peers[0]
    assert [path.remote for path in peer.paths] == remotes
    assert peer.connected_since == connected_since
    assert bonded.server_statistics.dropped[DropReason.REPLAYED] > 0
    assert stream.lost == 0
    assert stream.duplicates == 0


def test_who_overtakes_a_datagram_diverts_its_path_for_a_moment_only() -> None:
    bonded = Bonded(SEED)
    client, world = bonded.client, bonded.world
    bonded.connect()
    stream = client.stream(10.0)
    world.run_for(2.0)
    recorder = Recorder()
    client.uplinks[0].tamper_up = recorder
    world.run_until(lambda: len(recorder.datagrams) > 0, within=2.0)

    bonded.network.inject(STRANGER, SERVER, recorder.datagrams[0])
    world.run_for(10.0)

    # It is authentic and new, so the server follows it; so does WireGuard's. The next one tells.
    remotes = [path.remote for path in bonded.server_statistics.peers[0].paths]
    assert STRANGER not in remotes
    assert stream.lost <= 0.3 / 0.01


def test_forged_datagrams_change_nothing() -> None:
    bonded = Bonded(SEED)
    client, world = bonded.client, bonded.world
    bonded.connect()
    stream = client.stream(10.0)
    for uplink in client.uplinks:
        uplink.tamper_down = Forger(world.rng(f"forger {uplink.wan_id}"))

    world.run_for(12.0)

    dropped = client.statistics.dropped
    assert dropped[DropReason.FORGED] > 800
    assert client.is_connected
    assert stream.lost == 0
    assert stream.duplicates == 0
    assert stream.out_of_order == 0


class Forger:
    """Sends ahead of every datagram one that differs from it by a bit."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def __call__(self, data: bytes) -> Iterable[Altered]:
        forged = bytearray(data)
        forged[self._rng.randrange(len(forged))] ^= 1 << self._rng.randrange(8)
        return Altered(bytes(forged)), Altered(data)


def test_a_stranger_gets_no_answer() -> None:
    bonded = Bonded(SEED)
    bonded.connect()
    rng = bonded.world.rng("stranger")
    answers = bonded.network.lost["stale address"]

    for _ in range(2000):
        bonded.network.inject(STRANGER, SERVER, rng.randbytes(rng.randrange(200)))
    bonded.world.run_for(5.0)

    assert bonded.network.lost["stale address"] == answers
    assert sum(bonded.server_statistics.dropped.values()) == 2000
