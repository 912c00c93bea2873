"""A DNS server that gives addresses in exactly the order it was told, or turns the order by one with every question."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from typing import cast

A, AAAA, NOERROR, FORMERR, NXDOMAIN = 1, 28, 0, 1, 3
RESPONSE, AUTHORITATIVE, RECURSION_WANTED = 0x8000, 0x0400, 0x0100
TRUNCATED = 0x02  # in the third byte
UDP = 1232  # bytes, what fits into one packet anywhere
HERE = b"\xc0\x0c"  # RFC 1035 4.1.4: the name at offset 12, the one that was asked


def question(query: bytes) -> tuple[str, int, bytes]:
    """Name in lower case without its last dot, type, and the question as sent. Raises ValueError."""
    if len(query) < 17 or struct.unpack_from("!H", query, 4)[0] != 1:
        raise ValueError("no single question")
    labels, at = [], 12
    while query[at]:
        length = query[at]
        if length > 63 or at + length + 6 > len(query):
            raise ValueError("name is cut short")
        labels.append(query[at + 1 : at + 1 + length].decode("ascii", "replace").lower())
        at += length + 1
    kind: int = struct.unpack_from("!H", query, at + 1)[0]
    return ".".join(labels), kind, query[12 : at + 5]


def answer(query: bytes, name: str, addresses: Sequence[str], ttl: int) -> bytes:
    """The answer to one query; names other than `name` do not exist."""
    flags = RESPONSE | AUTHORITATIVE | (struct.unpack_from("!H", query, 2)[0] & RECURSION_WANTED)
    try:
        asked, kind, text = question(query)
    except (ValueError, IndexError):
        return query[:2] + struct.pack("!HHHHH", flags | FORMERR, 0, 0, 0, 0)
    given = [_packed(one) for one in addresses] if asked == name else []
    given = [one for one in given if len(one) == {A: 4, AAAA: 16}.get(kind)]
    code = NOERROR if asked == name else NXDOMAIN
    records = b"".join(HERE + struct.pack("!HHIH", kind, 1, ttl, len(one)) + one for one in given)
    return query[:2] + struct.pack("!HHHHH", flags | code, 1, len(given), 0, 0) + text + records


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


class Nameserver(asyncio.DatagramProtocol):
    """Serves one name over UDP, and over TCP by `stream`; `asked` counts the A questions for it.

    Manners: turning (the order moves on with each question), single (one address an answer, in turn),
    old (knows no EDNS and says FORMERR to it), mute (says nothing to EDNS).
    """

    def __init__(self, name: str, addresses: Sequence[str], ttl: int) -> None:
        self.name = name
        self.addresses = list(addresses)
        self.ttl = ttl
        self.turning = self.single = self.old = self.mute = False
        self.asked = 0

    def reply(self, query: bytes) -> bytes:
        """Answer and, where the order turns, turn it."""
        if self.old and query[11:12] != b"\x00":  # the count of additional records, where EDNS stands
            flags = RESPONSE | (struct.unpack_from("!H", query, 2)[0] & RECURSION_WANTED) | FORMERR
            return query[:2] + struct.pack("!HHHHH", flags, 0, 0, 0, 0)
        said = answer(query, self.name, self.addresses[:1] if self.single else self.addresses, self.ttl)
        if struct.unpack_from("!H", said, 6)[0]:
            self.asked += 1
            if self.turning or self.single:
                self.addresses.append(self.addresses.pop(0))
        return said

    def short(self, query: bytes) -> bytes:
        """The same for UDP: an answer that is too long for it is cut, so that the client asks again by TCP."""
        said = self.reply(query)
        if len(said) <= UDP:
            return said
        return said[:2] + bytes([said[2] | TRUNCATED]) + said[3:4] + b"\x00\x01" + bytes(6) + question(query)[2]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.DatagramTransport, transport)  # 3.11's own class does not derive from it

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Called by asyncio."""
        if len(data) >= 12 and not (self.mute and data[11]):
            self._transport.sendto(self.short(data), addr)

    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One TCP connection."""
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(2), "big")
                said = self.reply(await reader.readexactly(length))
                writer.write(len(said).to_bytes(2, "big") + said)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError, struct.error):
            writer.close()
