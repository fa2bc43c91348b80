"""Bonds open over bad networks, follow their client, renew keys, and survive restarts."""

import pytest

from multiwanbond.core.datagram import Address
from multiwanbond.sim.wires import Scrambler
from tests.scenarios.bonded import Bonded

SEED = 33


@pytest.mark.parametrize("seed", range(SEED, SEED + 10))
def test_a_bond_opens_over_a_terrible_network(seed: int) -> None:
    bonded = Bonded(seed)
    client, world = bonded.client, bonded.world
    for uplink in client.uplinks:
        uplink.tamper_up = uplink.tamper_down = Scrambler(
            world.rng(f"scrambler {uplink.wan_id}"),
            loss=0.4,
            duplication=0.3,
            corruption=0.2,
            delay=0.3,
        )
    client.connect()

    world.run_until(lambda: client.is_connected, within=60.0)
    for uplink in client.uplinks:
        uplink.tamper_up = uplink.tamper_down = None
    world.run_for(5.0)
    questions = client.questions(50)
    world.run_for(5.0)

    assert questions.unanswered == 0


def test_a_stream_over_a_terrible_network_arrives_undamaged_and_once() -> None:
    bonded = Bonded(SEED)
    bonded.connect()
    for uplink in bonded.client.uplinks:
        uplink.tamper_down = Scrambler(
            bonded.world.rng(f"scrambler {uplink.wan_id}"),
            duplication=0.3,
            corruption=0.1,
            delay=0.05,
        )

    stream = bonded.client.stream(10.0)
    bonded.world.run_for(15.0)

    # Corruption costs one in ten; what arrives, arrives once and as it was sent.
    assert stream.lost < 0.2 * stream.sent
    assert stream.duplicates == 0


@pytest.mark.parametrize("wan_ids", [(1,), (1, 2, 3)], ids=["one wan", "all wans"])
def test_a_transfer_follows_a_client_whose_address_changes(wan_ids: tuple[int, ...]) -> None:
    bonded = Bonded(SEED)
    bonded.connect()
    transfer = bonded.client.transfer(20_000_000)
    bonded.world.run_for(0.5)

    for wan_id in wan_ids:
        bonded.client.uplinks[wan_id - 1].rebind(Address(f"192.0.2.{wan_id}", 5555))
    bonded.world.run_until(lambda: transfer.is_done, within=30.0)

    paths = bonded.server_statistics.peers[0].paths
    moved = {path.path_id for path in paths if path.remote and path.remote.port == 5555}
    assert moved == set(wan_ids)
    assert bonded.server_statistics.peers[0].handshakes == 1


@pytest.mark.parametrize("end", ["client", "server"])
def test_a_transfer_survives_the_restart_of_an_end(end: str) -> None:
    bonded = Bonded(SEED)
    bonded.connect()
    transfer = bonded.client.transfer(20_000_000)
    bonded.world.run_for(0.5)

    if end == "client":
        bonded.client.restart()
    else:
        bonded.server.start(bonded.new_server_endpoint())
    took = bonded.world.run_until(lambda: transfer.is_done, within=60.0)

    assert took < 30.0


def test_a_server_that_is_away_for_a_minute_is_found_again() -> None:
    bonded = Bonded(SEED)
    bonded.connect()

    bonded.server.stop()
    bonded.world.run_for(60.0)
    bonded.server.start(bonded.new_server_endpoint())

    bonded.world.run_until(lambda: bonded.client.is_connected, within=10.0)


def test_keys_change_under_traffic_without_losing_a_packet() -> None:
    bonded = Bonded(SEED)
    bonded.connect()

    stream = bonded.client.stream(300.0)
    bonded.world.run_for(301.0)

    assert bonded.server_statistics.peers[0].handshakes >= 3
    assert stream.lost == 0
    assert stream.duplicates == 0
    assert stream.out_of_order == 0


def test_several_clients_share_a_server_and_none_gets_the_others_packets() -> None:
    bonded = Bonded(SEED, clients=3)
    bonded.connect()

    transfers = [client.transfer(2_000_000, is_ipv6=True) for client in bonded.clients]
    uploads = [client.transfer(1_000_000, is_upload=True) for client in bonded.clients]
    questions = [client.questions(20) for client in bonded.clients]
    everything = [*transfers, *uploads]
    bonded.world.run_until(lambda: all(transfer.is_done for transfer in everything), within=60.0)
    bonded.world.run_for(2.0)

    assert [asked.unanswered for asked in questions] == [0, 0, 0]
    assert not any(client.host.strays for client in bonded.clients)
    assert not bonded.server.strays


def test_the_same_seed_makes_the_same_bond() -> None:
    histories = []

    for _ in range(2):
        bonded = Bonded(SEED)
        bonded.connect()
        transfer = bonded.client.transfer(1_000_000)
        bonded.world.run_for(3.0)
        histories.append((transfer.progress, bonded.client.statistics))

    assert histories[0] == histories[1]
