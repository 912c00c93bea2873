"""One GET over HTTP/2, for servers that speak nothing else: bounded in bytes, wrong turns named as over HTTP/1.1."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from engines.failover.asking.http1 import HEAD, Head, Reply, Wrong, headed, quoted, unpacked
from engines.failover.asking.packed import BODY

MOST = BODY + 4 * HEAD  # bytes of frames that are read for one answer
FRAME, GOAWAY, LONGEST = 9, 7, 16384  # RFC 9113 4.1: bytes of a frame's head; 6.8: a type; 4.2: bytes in a frame
HOP = ("host", "connection", "keep-alive", "transfer-encoding", "upgrade", "proxy-connection", "te")


class NotHere(Wrong):
    """The server gives this page over HTTP/1.1 only (RFC 9113 7), and browsers ask again so."""


async def exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    host: str,
    path: str,
    agent: str,
    headers: Sequence[tuple[str, str]],
    begun: Callable[[], None],
) -> Reply:
    """Ask and read; `begun` is called at the first byte of the answer's head. Raises Wrong, OSError."""
    import h2.config
    import h2.connection
    import h2.errors
    import h2.events
    import h2.exceptions

    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    connection.local_settings.max_header_list_size = HEAD
    connection.initiate_connection()
    connection.increment_flow_control_window(BODY)
    given = {name.lower(): value for name, value in headers}
    asked = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", given.get("host", host)),
        (":path", quoted(path) or "/"),
        ("user-agent", given.get("user-agent", agent)),
        ("accept", "*/*"),
    ]
    asked += [(name, value) for name, value in given.items() if name not in ("user-agent", *HOP)]
    connection.send_headers(1, asked, end_stream=True)
    writer.write(connection.data_to_send())
    await writer.drain()
    head: Head | None = None
    frames = _Frames()
    body, spent = bytearray(), 0
    try:
        while spent < MOST:
            wire = await reader.read(16384)
            if not wire:
                raise Wrong("closed", "closed without a whole answer" if head else "closed without an answer")
            spent += len(wire)
            for event in connection.receive_data(frames.without_farewells(wire)):
                match event:
                    case h2.events.ResponseReceived(stream_id=1):
                        begun()
                        head = _head(event.headers or [])
                    case h2.events.DataReceived(stream_id=int(stream), flow_controlled_length=int(length)):
                        body += (event.data or b"") if stream == 1 else b""
                        connection.acknowledge_received_data(length, stream)
                    case h2.events.StreamEnded(stream_id=1):
                        return _reply(head, body)
                    case h2.events.StreamReset(stream_id=1) | h2.events.ConnectionTerminated() if (
                        event.error_code == h2.errors.ErrorCodes.HTTP_1_1_REQUIRED
                    ):
                        raise NotHere("reset", "wants HTTP/1.1 for this page")
                    case h2.events.StreamReset(stream_id=1) | h2.events.ConnectionTerminated():
                        raise Wrong("reset", f"HTTP/2 error {_code(event.error_code)}")
            if head and len(body) >= BODY:
                return _reply(head, body)
            writer.write(connection.data_to_send())
    except h2.exceptions.ProtocolError as error:
        raise Wrong("malformed", f"no HTTP/2: {type(error).__name__}") from None
    raise Wrong("malformed", f"over {MOST // 1024} KiB of frames without an answer")


class _Frames:
    """What came, frame by frame: h2 takes every GOAWAY for the end, also one that lets answers be finished."""

    def __init__(self) -> None:
        self._left = b""

    def without_farewells(self, wire: bytes) -> bytes:
        """Whole frames; GOAWAY without an error (RFC 9113 6.8) is left out where our stream may still be answered."""
        data, at, kept = self._left + wire, 0, []
        while len(data) >= at + FRAME and (end := at + FRAME + int.from_bytes(data[at : at + 3], "big")) <= len(data):
            last, code = int.from_bytes(data[at + 9 : at + 13], "big") & 0x7FFFFFFF, data[at + 13 : at + 17]
            if data[at + 3] != GOAWAY or code != bytes(4) or last < 1:
                kept.append(data[at:end])
            at = end
        self._left = data[at:]
        if len(self._left) >= FRAME and int.from_bytes(self._left[:3], "big") > LONGEST:
            kept.append(self._left)  # h2 says what is wrong with it
            self._left = b""
        return b"".join(kept)


def _head(headers: Sequence[tuple[bytes, bytes]]) -> Head:
    pairs = [(bytes(name), bytes(value)) for name, value in headers]
    status = next((value for name, value in pairs if name == b":status"), b"").decode("latin-1")
    if not (status.isascii() and status.isdecimal()):
        raise Wrong("malformed", "an answer without a status")
    return headed(int(status[:3]), [(name, value) for name, value in pairs if not name.startswith(b":")])


def _reply(head: Head | None, body: bytearray) -> Reply:
    if head is None:
        raise Wrong("malformed", "an answer without a head")
    return Reply(head, unpacked(bytes(body[:BODY]), head), "2")


def _code(code: object) -> str:
    return str(getattr(code, "name", code))
