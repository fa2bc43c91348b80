"""A program with a bond in it: sends numbered messages and prints how many came back.

python -m tests.netns.library_end CONFIG COUNT
"""

import sys

import trio

from multiwanbond.api import Bond, load_configuration, open_bond

from .inner import ECHO_PORT


async def send(bond: Bond, count: int) -> None:
    for number in range(count):
        await bond.send(number.to_bytes(4, "big") * 50)
        await trio.sleep(0.005)


async def main(config: str, count: int) -> None:
    """Talk to whoever answers at the server's address."""
    came_back = set[bytes]()
    async with open_bond(load_configuration(config), port=ECHO_PORT) as bond:
        await bond.wait_connected()
        with trio.move_on_after(count * 0.005 + 5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send, bond, count)
                while len(came_back) < count:
                    message = await bond.receive()
                    came_back.add(message.data[:4])
        (peer,) = bond.statistics().endpoint.peers
        states = ",".join(path.state.value for path in peer.paths)
        print(f"{len(came_back)} {states}")


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]))
