"""One DNS question and its answer over UDP, or TCP where it is too long; what would take long to read is not read."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING

from engines.failover.asking.site import Server

if TYPE_CHECKING:
    import dns.message

RECORDS = 1024  # in one answer; names that point at long names make each of them slow to read
HEADER = 12  # bytes
GUESSES = 64  # datagrams that answer nothing; who sends more is heard no further
TRUNCATED = 0x02  # in the third byte


class TooMany(ValueError):
    """More records than any site has."""


async def exchange(server: Server, query: dns.message.Message, timeout: float) -> tuple[dns.message.Message, bool]:
    """The answer, and whether it came over TCP. Raises TimeoutError, OSError, EOFError, ValueError, DNSException."""
    async with asyncio.timeout(timeout):
        asked = query.to_wire()
        wire = await _udp(server, asked)
        over_tcp = bool(wire[2] & TRUNCATED)
        if over_tcp:
            wire = await _tcp(server, asked)
    return _read(wire, query), over_tcp


def bounded(wire: bytes) -> bytes:
    """The message as it is. Raises ValueError where reading it would take too long."""
    if len(wire) >= HEADER and sum(struct.unpack_from("!3H", wire, 6)) > RECORDS:
        raise TooMany(f"over {RECORDS} records")
    return wire


def _read(wire: bytes, query: dns.message.Message) -> dns.message.Message:
    import dns.message

    message = dns.message.from_wire(bounded(wire), ignore_trailing=True)
    if not query.is_response(message):
        raise ValueError("an answer to another question")
    return message


async def _udp(server: Server, asked: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in server.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as line:
        line.setblocking(False)
        line.connect((server.address, server.port))
        await loop.sock_sendall(line, asked)
        for _ in range(GUESSES):
            wire = await loop.sock_recv(line, 65535)  # which does not wait, nor look at the time, while there is more
            if len(wire) >= HEADER and wire[:2] == asked[:2]:  # anything else is somebody's guess
                return wire
        raise ValueError(f"{GUESSES} answers to other questions")


async def _tcp(server: Server, asked: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(server.address, server.port)
    try:
        writer.write(len(asked).to_bytes(2, "big") + asked)
        await writer.drain()
        wire = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    finally:
        writer.transport.abort()
    if len(wire) < HEADER or wire[:2] != asked[:2]:
        raise ValueError("an answer to another question")
    return wire
