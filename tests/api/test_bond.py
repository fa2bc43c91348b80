"""Bonds inside a program, over the loopback addresses of this machine or a network in memory.

Sockets are real, so time is, and limits are generous.
"""

from dataclasses import replace

import pytest
import trio

from multiwanbond.api import (
    Bond,
    BondClosed,
    BondOpened,
    ConfigFileError,
    MessageError,
    Mode,
    PathState,
    PlatformError,
    load_configuration,
    open_bond,
    parse_configuration,
)
from multiwanbond.config.notations import HostPort
from multiwanbond.core.datagram import Address
from multiwanbond.core.handshake import public_key_of
from multiwanbond.linux.fake import FakeNetwork
from tests.config.files import CLIENT
from tests.daemon.machine import FakeMachine
from tests.daemon.waiting import wait_until

from .ends import LINES, client, free_port, server

LIMIT = 30.0
"""Seconds for anything that should take a few tenths."""


def states(bond: Bond) -> list[PathState]:
    """The states of the paths of the only peer."""
    return [path.state for path in bond.statistics().endpoint.peers[0].paths]


async def test_messages_travel_both_ways_over_several_addresses() -> None:
    port = free_port()
    with trio.fail_after(LIMIT):
        async with open_bond(server(port)) as vps, open_bond(client(port)) as home:
            await wait_until(lambda: states(home) == [PathState.UP] * 3)

            await home.send(b"Hello, MultiWANBond!")
            question = await vps.receive()
            await vps.send(b"Hello, home!")
            answer = await home.receive()
            paths_of_server = states(vps)

    assert (question.data, question.peer) == (b"Hello, MultiWANBond!", "home1")
    assert question.source == Address("10.77.0.2", 9077)
    assert (answer.data, answer.peer) == (b"Hello, home!", "vps")
    assert paths_of_server == [PathState.UP] * 3


async def test_a_server_tells_its_clients_apart_and_answers_each() -> None:
    port = free_port()
    with trio.fail_after(LIMIT):
        async with (
            open_bond(server(port, clients=2)) as vps,
            open_bond(client(port, lines=LINES[:2])) as first,
            open_bond(client(port, index=1, lines=LINES[2:])) as second,
        ):
            await second.send(b"who am I?")
            message = await vps.receive()
            await vps.send(b"by address", to=message.source)
            await vps.send(b"by name", to="home2")
            await vps.send(b"to the first", to="home1")
            answers = [(await second.receive()).data for _ in range(2)]
            other = await first.receive()

    assert message.peer == "home2"
    assert sorted(answers) == [b"by address", b"by name"]
    assert other.data == b"to the first"


async def test_messages_may_go_from_one_ipv6_address_to_another() -> None:
    port = free_port()
    with trio.fail_after(LIMIT):
        async with open_bond(server(port)) as vps, open_bond(client(port)) as home:
            await home.send(b"six", to="fd77::1")
            message = await vps.receive()

    assert (message.data, message.source) == (b"six", Address("fd77::2", 9077))


async def test_a_message_sent_before_the_server_is_there_waits_for_it() -> None:
    port = free_port()
    with trio.fail_after(LIMIT):
        async with open_bond(client(port)) as home, trio.open_nursery() as nursery:
            with pytest.raises(trio.WouldBlock):
                home.send_nowait(b"too early")
            nursery.start_soon(home.send, b"patient")
            async with open_bond(server(port)) as vps:
                message = await vps.receive()

    assert message.data == b"patient"


async def test_messages_go_on_when_a_line_goes_black() -> None:
    network = FakeNetwork()
    vps_machine = FakeMachine(network.add_host({"eth0": ["127.0.0.1"]}))
    home_machine = FakeMachine(network.add_host({f"lo{line}": [line] for line in LINES[:2]}))
    configuration = client(9000, lines=LINES[:2])
    with trio.fail_after(LIMIT):
        async with (
            open_bond(server(9000), network=vps_machine) as vps,
            open_bond(configuration, network=home_machine) as home,
        ):
            await wait_until(lambda: states(home) == [PathState.UP] * 2)
            network.is_lost = lambda source, target: LINES[0] in (source.host, target.host)

            received = set[bytes]()
            for number in range(100):
                await home.send(b"%d" % number)
            while len(received) < 100:
                received.add((await vps.receive()).data)
            await wait_until(lambda: PathState.DOWN in states(home))

    assert received == {b"%d" % number for number in range(100)}


async def test_a_fast_sender_is_held_back_and_nothing_of_it_is_shed() -> None:
    port, count = free_port(), 3000
    with trio.fail_after(LIMIT):
        async with (
            open_bond(server(port), receive_queue=count) as vps,
            open_bond(client(port)) as home,
        ):
            await home.wait_connected()
            for number in range(count):
                await home.send(number.to_bytes(4, "big") * 300)
            received = {(await vps.receive()).data[:4] for _ in range(count)}
            peer = home.statistics().endpoint.peers[0]

    assert len(received) == count
    assert (peer.shed_packets, peer.unsendable_packets) == (0, 0)


async def test_a_sender_that_never_waits_for_anything_else_is_cancelled_all_the_same() -> None:
    port = free_port()
    with trio.fail_after(LIMIT):
        async with open_bond(server(port)), open_bond(client(port)) as home:
            await home.wait_connected()
            with trio.move_on_after(0.2) as limit:
                while True:
                    await home.send(b"again")

    assert limit.cancelled_caught


async def test_what_nobody_takes_is_dropped_and_counted_once_the_queue_is_full() -> None:
    port = free_port()
    with trio.fail_after(LIMIT):
        async with (
            open_bond(server(port), receive_queue=10) as vps,
            open_bond(client(port)) as home,
        ):
            for number in range(50):
                await home.send(b"%d" % number)
            await wait_until(lambda: vps.statistics().overflowed_messages == 40)
            kept = [vps.receive_nowait() for _ in range(10)]
            counted = vps.statistics()

    assert len(kept) == counted.received_messages == 10


async def test_a_receiver_that_gives_up_loses_no_message() -> None:
    port = free_port()
    with trio.fail_after(LIMIT):
        async with open_bond(server(port)) as vps, open_bond(client(port)) as home:
            with trio.move_on_after(0.01) as impatience:
                await vps.receive()
            await home.send(b"late")
            message = await vps.receive()

    assert impatience.cancelled_caught
    assert message.data == b"late"


async def test_what_was_sent_last_still_leaves_when_the_block_ends() -> None:
    port = free_port()
    with trio.fail_after(LIMIT):
        async with open_bond(server(port)) as vps:
            async with open_bond(client(port)) as home:
                await home.send(b"last words")
            message = await vps.receive()
            events = [await vps.events.take()]
            while not isinstance(events[-1], BondClosed):
                events.append(await vps.events.take())

    assert message.data == b"last words"
    assert any(isinstance(event, BondOpened) for event in events)


async def test_whoever_still_receives_hears_that_the_bond_was_closed() -> None:
    async with open_bond(server(free_port())) as vps:
        pass

    with pytest.raises(trio.ClosedResourceError):
        await vps.receive()
    with pytest.raises(trio.ClosedResourceError):
        await vps.send(b"too late")
    with pytest.raises(trio.ClosedResourceError):
        await vps.wait_connected()


async def test_a_message_that_does_not_fit_is_refused_with_the_size_that_does() -> None:
    port = free_port()
    with trio.fail_after(LIMIT):
        async with open_bond(server(port)) as vps, open_bond(client(port)) as home:
            await home.wait_connected()
            largest = home.largest_message()
            with pytest.raises(MessageError, match=rf"of {largest + 1} bytes.*{largest} fit"):
                await home.send(bytes(largest + 1))
            await home.send(bytes(largest))
            message = await vps.receive()

    assert largest == 1500 - 28 - 32 - 28  # UDP, ours, and UDP again
    assert len(message.data) == largest


@pytest.mark.parametrize(
    ("to", "complaint"),
    [
        (None, "There are several peers. .*home1, home2"),
        ("home3", "no peer 'home3', nor is that an address. The peers are: home1, home2"),
        ("192.0.2.1", "192.0.2.1 belongs to no peer. .*allowed_ips"),
        (Address("192.0.2.1", 80), "192.0.2.1 belongs to no peer"),
    ],
)
async def test_a_message_to_nobody_is_refused(to: str | Address | None, complaint: str) -> None:
    async with open_bond(server(free_port(), clients=2)) as vps:
        with pytest.raises(MessageError, match=complaint):
            await vps.send(b"?", to=to)


async def test_what_fails_in_the_block_comes_out_of_it_as_it_is() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with open_bond(server(free_port())):
            raise KeyError("mine")


async def test_an_address_in_use_is_said_as_the_daemon_says_it() -> None:
    port = free_port()
    async with open_bond(server(port)):
        with pytest.raises(PlatformError, match=f"127.0.0.1:{port} is in use"):
            async with open_bond(server(port)):
                pass


async def test_a_configuration_that_lacks_something_is_refused_with_place_and_remedy() -> None:
    configuration = parse_configuration("mode: client\nsession: {remote_endpoint: 'vps:9000'}\n")

    with pytest.raises(ConfigFileError) as caught:
        async with open_bond(configuration):
            pass

    problems = [error.problem for error in caught.value.errors]
    assert "tunnel.address: is missing: this end needs an address inside the tunnel." in problems


async def test_several_servers_are_refused() -> None:
    known = client(free_port())
    (peer,) = known.security.peers
    other = replace(
        peer,
        name="spare",
        public_key=public_key_of(bytes(range(7, 39))),
        endpoint=HostPort("127.0.0.1", free_port()),
    )
    several = replace(known, security=replace(known.security, peers=(peer, other)))

    with pytest.raises(PlatformError, match="names several servers"):
        async with open_bond(several):
            pass


def test_a_file_is_loaded_as_the_daemon_loads_it() -> None:
    with pytest.raises(ConfigFileError, match=r"nowhere\.yaml: does not exist"):
        load_configuration("nowhere.yaml")

    assert parse_configuration(CLIENT, mode=Mode.SERVER).mode is Mode.SERVER
