"""The HTTP/2 end of a web copy: each request is answered as the copy's manner of the moment says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Answer = Callable[[], Awaitable[tuple[list[tuple[str, str]], bytes] | None]]
"""Headers (":status" first) and body of one answer; None where the connection is to end."""


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer) -> int:
    """Serve one connection until the client ends it; how many requests it made."""
    import h2.config
    import h2.connection
    import h2.events
    import h2.exceptions

    config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
    connection = h2.connection.H2Connection(config)
    connection.initiate_connection()
    writer.write(connection.data_to_send())
    count = 0
    while wire := await reader.read(65536):
        try:
            events: list[Any] = connection.receive_data(wire)
        except h2.exceptions.ProtocolError:
            return count
        for event in events:
            if isinstance(event, h2.events.ConnectionTerminated):
                return count
            if isinstance(event, h2.events.RequestReceived) and event.stream_id is not None:
                count += 1
                writer.write(connection.data_to_send())
                said = await answer()
                if said is None:
                    return count
                connection.send_headers(event.stream_id, said[0])
                connection.send_data(event.stream_id, said[1], end_stream=True)
        writer.write(connection.data_to_send())
        await writer.drain()
    return count
