"""A connection to one address, and whether this machine has a way there at all."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

from engines.failover.asking.http1 import HEAD

UNIQUE_LOCAL = ipaddress.ip_network("fc00::/7")


class Line:
    """One connection, closed without ceremony."""

    def __init__(self, address: str, port: int) -> None:
        self._place = (address, port)
        self._connection: socket.socket | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            self._connection = connection = socket.socket(_family(self._place[0]), socket.SOCK_STREAM)
            connection.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connection, self._place)
            reader, self._writer = await asyncio.open_connection(sock=connection, limit=HEAD)
        except BaseException:
            self._close()
            raise
        return reader, self._writer

    async def __aexit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        if self._connection is not None:
            self._connection.close()


def _family(address: str) -> int:
    return socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET


def lacking(address: str) -> str:
    """What this machine lacks to reach `address`, as far as that can be said."""
    return "it has no IPv6 of its own" if _family(address) == socket.AF_INET6 else ""


def way_out(address: str) -> bool:
    """Whether packets to `address` can leave this machine with a source that the far end can answer."""
    try:
        with socket.socket(_family(address), socket.SOCK_DGRAM) as trial:
            trial.connect((address, 9))  # sends nothing
            source = ipaddress.ip_address(trial.getsockname()[0].partition("%")[0])
    except OSError:
        return False
    if source.version == 4:
        return True
    return not _inner(source) or _inner(ipaddress.ip_address(address))


def _inner(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """IPv6 that no network outside answers: unique local (RFC 4193), link-local, loopback."""
    return address.is_link_local or address.is_loopback or address in UNIQUE_LOCAL
