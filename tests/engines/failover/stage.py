"""Real servers for the tests, on loopback addresses, run by an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from engines.failover.lab.copies import Copy
from engines.failover.lab.nameserver import Nameserver
from tests.ports import free_port

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Reply = Callable[[bytes], bytes | None]


class Stage:
    """Starts servers; all end with the stage. Ports are free ones."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def names(
        self, name: str, addresses: Sequence[str], ttl: int = 60, host: str = "127.0.0.1", port: int = 0
    ) -> tuple[Nameserver, str]:
        """A well-behaved nameserver, and its IP:PORT."""
        server = Nameserver(name, addresses, ttl)
        at = port or free_port()

        async def serve() -> None:
            await asyncio.start_server(server.stream, host, at)
            await self._loop.create_datagram_endpoint(lambda: server, local_addr=(host, at))

        self.do(serve())
        return server, f"{host}:{at}"

    def odd_names(self, reply: Reply) -> str:
        """A nameserver that answers a datagram with whatever `reply` makes of it, or nothing."""

        class Odd(asyncio.DatagramProtocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, addr: Any) -> None:
                if (said := reply(data)) is not None:
                    self.transport.sendto(said, addr)

        async def serve() -> int:
            transport, _ = await self._loop.create_datagram_endpoint(Odd, local_addr=("127.0.0.1", 0))
            return int(transport.get_extra_info("sockname")[1])

        return f"127.0.0.1:{self.do(serve())}"

    def copies(self, addresses: Sequence[str], port: int = 0) -> tuple[list[Copy], int]:
        """Web copies A, B, … on one port of several addresses."""
        copies = [Copy(chr(ord("A") + at % 26)) for at in range(len(addresses))]
        port = port or free_port()
        for copy, address in zip(copies, addresses, strict=True):
            self.do(copy.serve(address, port))
        return copies, port

    def web(self, handler: Handler, address: str, port: int = 0, context: ssl.SSLContext | None = None) -> int:
        """A server that treats every connection by `handler`."""

        async def serve() -> int:
            server = await asyncio.start_server(handler, address, port, ssl=context)
            return int(server.sockets[0].getsockname()[1])

        return int(self.do(serve()))


@contextmanager
def open_stage() -> Iterator[Stage]:
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _loop, _context: None)  # a client that breaks off is what is tested
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield Stage(loop)
    finally:
        asyncio.run_coroutine_threadsafe(_end(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _end() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
