"""A client and a server in one program, bonded over three addresses: no root, no TUN device.

    .venv/bin/python examples/library.py

With real lines the two ends are two programs on two machines, and a WAN is an interface, or an
address of one. See docs/library.md.
"""

import trio

from multiwanbond.api import Bond, generate_keys, open_bond, parse_configuration

SERVER, CLIENT = generate_keys(), generate_keys()

SERVER_CONFIGURATION = f"""
mode: server
session: {{local_endpoint: "127.0.0.1:9000"}}
tunnel: {{address: [10.77.0.1/24]}}
security:
  private_key: {SERVER.private}
  peers: [{{name: home, public_key: {CLIENT.public}, allowed_ips: [10.77.0.2/32]}}]
"""

CLIENT_CONFIGURATION = f"""
mode: client
session: {{remote_endpoint: "127.0.0.1:9000"}}
tunnel: {{address: [10.77.0.2/24]}}
wans:
  - {{id: 1, name: Fibre, local_addr: 127.0.0.2}}
  - {{id: 2, name: Starlink, local_addr: 127.0.0.3}}
  - {{id: 3, name: LTE, local_addr: 127.0.0.4}}
security:
  private_key: {CLIENT.private}
  peers: [{{name: vps, public_key: {SERVER.public}, allowed_ips: [10.77.0.0/24]}}]
"""


async def answer(bond: Bond) -> None:
    """Send every message back to whoever sent it, in capitals."""
    async for message in bond:
        await bond.send(message.data.upper(), to=message.source)


async def main() -> None:
    """Let the client ask, and print what the server answers."""
    async with (
        open_bond(parse_configuration(SERVER_CONFIGURATION)) as server,
        open_bond(parse_configuration(CLIENT_CONFIGURATION)) as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(answer, server)
        await client.wait_connected()
        for text in ("hello", "multiwanbond"):
            await client.send(text.encode())
            message = await client.receive()
            print(f"{message.peer} answers {message.data.decode()}")
        (peer,) = client.statistics().endpoint.peers
        print(f"over {len(peer.paths)} paths")
        nursery.cancel_scope.cancel()


trio.run(main)
