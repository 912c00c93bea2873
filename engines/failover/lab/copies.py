"""Web copies of one site that are alike but for the letter in their text, and can be told to misbehave."""

from __future__ import annotations

import asyncio
import socket
import struct

PAGE = """<!doctype html><html><head><title>{title}</title><link rel="icon" href="data:,"></head>
<body><p>this is copy {letter}</p></body></html>
"""
PARTING = 10.0  # s, for the client to close its end too
SLOW = 5.0  # s, what the mode "slow" waits before it answers


class Copy:
    """One web copy. `mode` is well, close, reset, hang, 503 or slow, and may change while it serves.

    title, status and location are what it answers when it is well: copies that were not kept alike.
    """

    def __init__(self, letter: str) -> None:
        self.letter = letter
        self.mode = "well"
        self.title = "a shop"
        self.status = "200 OK"
        self.location = ""
        self._open: set[asyncio.Task[None]] = set()

    async def serve(self, address: str, port: int) -> asyncio.Server:
        """Listen; connections stay open until the client closes them."""
        return await asyncio.start_server(self._accept, address, port, backlog=512)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.mode == "close":
                writer.write_eof()  # closing with the request unread would send RST, which is another fault
                async with asyncio.timeout(PARTING):
                    while await reader.read(65536):
                        continue
                return
            if self.mode == "reset":
                _reset(writer)
                return
            while await _request(reader):
                if not await self._answer(writer):
                    return
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter) -> bool:
        """Answer one request as the mode of this moment says; False where the connection is to end."""
        while self.mode == "hang":
            await asyncio.sleep(0.1)
        if self.mode == "slow":
            await asyncio.sleep(SLOW)
        if self.mode in ("close", "reset"):
            return False
        status = "503 Service Unavailable" if self.mode == "503" else self.status
        body = PAGE.format(letter=self.letter, title=self.title).encode()
        location = f"Location: {self.location}\r\n" if self.location else ""
        head = (
            f"HTTP/1.1 {status}\r\nServer: copy-{self.letter}\r\nContent-Type: text/html\r\n{location}"
            f"Cache-Control: no-store\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()
        return True


async def _request(reader: asyncio.StreamReader) -> bool:
    """Read one request's head; False where the client is done."""
    first = True
    while line := await reader.readline():
        if line in (b"\r\n", b"\n"):
            return not first
        first = False
    return False


def _reset(writer: asyncio.StreamWriter) -> None:
    """Have close() send RST (SO_LINGER with no time)."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
