"""Web copies of one site that are alike but for the letter in their text, and can be told to misbehave."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct

from engines.failover.lab import second

PAGE = """<!doctype html><html><head><title>{title}</title><link rel="icon" href="data:,"></head>
<body><p>this is copy {letter}</p></body></html>
"""
PARTING = 10.0  # s, for the client to close its end too
SLOW = 5.0  # s, what the mode "slow" waits before it answers


class Copy:
    """One web copy. `mode` is well, close, reset, hang, tls-hang, 503 or slow, and may change while it serves.

    With a `context` it speaks https, HTTP/2 to who asks for it (`second` counts such requests).

    title, status and location are what it answers when it is well: copies that were not kept alike.
    """

    def __init__(self, letter: str, context: ssl.SSLContext | None = None) -> None:
        self.letter = letter
        self.context = context
        self.second = 0
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
            if self.context and not await self._secured(writer, self.context):
                return
            while await _request(reader):
                if not await self._answer(writer):
                    return
        except (OSError, TimeoutError, EOFError, asyncio.LimitOverrunError):
            return
        finally:
            writer.close()

    async def _secured(self, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> bool:
        """Greet by TLS; False where all is done then, as HTTP/2 is served here."""
        while self.mode == "tls-hang":
            await asyncio.sleep(0.1)
        transport = await asyncio.get_running_loop().start_tls(
            writer.transport, writer.transport.get_protocol(), context, server_side=True
        )
        if transport is None:
            return False
        protocol = transport.get_protocol()
        reader = protocol._stream_reader  # type: ignore[attr-defined]
        reader._transport = transport  # 3.11 leaves the old one in place
        writer._transport = transport  # type: ignore[attr-defined]
        if transport.get_extra_info("ssl_object").selected_alpn_protocol() == "h2":
            self.second += await second.serve(reader, writer, self._said)
            return False
        return True

    async def _said(self) -> tuple[list[tuple[str, str]], bytes] | None:
        """The answer to one request over HTTP/2."""
        if not await self._manners():
            return None
        status, headers, body = self._page()
        head = [(":status", status[:3]), *((name.lower(), value) for name, value in headers)]
        return head, body

    async def _answer(self, writer: asyncio.StreamWriter) -> bool:
        """Answer one request as the mode of this moment says; False where the connection is to end."""
        if not await self._manners():
            return False
        status, headers, body = self._page()
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        writer.write(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body)
        await writer.drain()
        return True

    async def _manners(self) -> bool:
        """Wait as the mode of this moment has it; False where the connection is to end."""
        while self.mode in ("hang", "tls-hang"):
            await asyncio.sleep(0.1)
        if self.mode == "slow":
            await asyncio.sleep(SLOW)
        return self.mode not in ("close", "reset")

    def _page(self) -> tuple[str, list[tuple[str, str]], bytes]:
        """Status, headers and body."""
        body = PAGE.format(letter=self.letter, title=self.title).encode()
        headers = [("Server", f"copy-{self.letter}"), ("Content-Type", "text/html"), ("Cache-Control", "no-store")]
        headers += [("Location", self.location)] if self.location else []
        headers.append(("Content-Length", str(len(body))))
        return "503 Service Unavailable" if self.mode == "503" else self.status, headers, body


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
