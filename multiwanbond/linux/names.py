"""Asks the resolver of the system for addresses."""

import socket

import trio

from multiwanbond.core.datagram import Address


async def resolve(host: str, port: int) -> list[Address]:
    """Return the addresses of a name, in the order the resolver prefers them; maybe none."""
    try:
        answers = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (socket.gaierror, UnicodeError):
        return []
    return list(dict.fromkeys(Address(str(answer[4][0]), port) for answer in answers))
