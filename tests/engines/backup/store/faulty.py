"""A line to an S3 server that knows requests by what they are for, and breaks those of one kind."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from typing_extensions import override

PHASES = ("list", "get", "head", "put", "conditional", "copy", "delete", "begin", "part", "complete")
BREAKS = ("unsent", "unanswered", "torn")
RESET = struct.pack("ii", 1, 0)  # of SO_LINGER: the line is reset, not closed
BUSY = b"<Error><Code>InternalError</Code><Message>We encountered an internal error</Message></Error>"


def phase(verb: str, path: str, headers: Any) -> str:
    """One of PHASES."""
    if verb == "GET":
        return "list" if "list-type=2" in path else "get"
    if verb == "POST":
        return "complete" if "uploadId=" in path else "begin"
    if verb == "PUT" and "partNumber=" in path:
        return "part"
    if verb == "PUT" and (headers.get("If-None-Match") or headers.get("If-Match")):
        return "conditional"
    if verb == "PUT" and headers.get("x-amz-copy-source"):
        return "copy"
    return verb.lower()


class Faulty(ThreadingHTTPServer):
    """`seen`: requests by their phase since it was armed. `hits`: how many were broken."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.to = port
        self.port = self.server_address[1]
        self._lock = threading.Lock()
        self.arm("", "", 0)

    def arm(self, phase_: str, way: str, times: int) -> None:
        """Break the next `times` requests of a phase: one of BREAKS, or "refused" with a 500."""
        with self._lock:
            self._phase, self._way, self._times = phase_, way, times
            self.hits = 0
            self.seen: dict[str, int] = dict.fromkeys(PHASES, 0)

    def way(self, phase_: str) -> str:
        """How a request of that phase that came up now is broken; empty where it is not."""
        with self._lock:
            self.seen[phase_] += 1
            if phase_ != self._phase or self.hits >= self._times:
                return ""
            self.hits += 1
            return self._way

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A line that broke is what this is for."""

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self.server_close()


class _Passing(BaseHTTPRequestHandler):
    server: Faulty
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def carry(self) -> None:
        """One request to the server and its answer back, unless this one is to break."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        way = self.server.way(phase(self.command, self.path, self.headers))
        if way == "unsent":
            return self._reset()
        if way == "refused":
            return self._send(500, {}, BUSY)
        there = http.client.HTTPConnection("127.0.0.1", self.server.to, timeout=120)
        try:
            there.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                there.putheader(name, value)
            there.endheaders(body)
            answer = there.getresponse()
            content, headers = answer.read(), dict(answer.getheaders())
        finally:
            there.close()
        if way == "unanswered":
            return self._reset()
        return self._send(answer.status, headers, content, torn=way == "torn")

    def _send(self, status: int, headers: dict[str, str], content: bytes, *, torn: bool = False) -> None:
        self.send_response(status)
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        if torn and not content:
            return self._reset()  # what has no body is torn within its headers, which are not sent yet
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if torn else content)
        return self._reset() if torn else None

    def _reset(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.connection.close()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = carry

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""
