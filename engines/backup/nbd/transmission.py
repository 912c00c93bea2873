"""One client's requests, answered in turn: bytes, holes, and an error where the bytes cannot be vouched for."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator

from engines.backup import nbd_wire as wire
from engines.backup.nbd.handshake import Agreed, take
from engines.backup.nbd.sparse import ServedBytes, Sparse
from engines.backup.nbd_wire import Cmd, Request
from engines.job.errors import CrashcartError

MOST_PIECES = 4096  # extents in one answer; the client asks on
MIB = 1 << 20
ZEROS = bytes(MIB)
Faulty = Callable[[int, int, Exception], None]


class Unproven(Exception):
    """The source does not give these bytes; `error` says why."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class Transmission:
    """Serves a peer until it takes its leave.

    served: called with every count of bytes sent. faulty: called with (offset, length, error) of what is not read.
    """

    def __init__(
        self,
        peer: socket.socket,
        source: ServedBytes,
        sparse: Sparse,
        agreed: Agreed,
        served: Callable[[int], None],
        faulty: Faulty,
    ) -> None:
        self._peer, self._source, self._sparse, self._agreed = peer, source, sparse, agreed
        self._served, self._faulty = served, faulty

    def run(self) -> None:
        """Until the client leaves. Raises Hostile, OSError."""
        while True:
            request = wire.request(take(self._peer, wire.REQUEST_FORM.size))
            match request.kind:
                case Cmd.DISC:
                    return
                case Cmd.READ:
                    self._read(request)
                case Cmd.BLOCK_STATUS:
                    self._status(request)
                case Cmd.WRITE:
                    self._swallow(request)
                    self._refuse(request, errno.EPERM, "this export is read-only")
                case Cmd.TRIM | Cmd.WRITE_ZEROES:
                    self._refuse(request, errno.EPERM, "this export is read-only")
                case _:
                    self._refuse(request, errno.EINVAL, "that command is not served")

    def _swallow(self, request: Request) -> None:
        """A write's data follows it; what is too long to be read past ends the talk."""
        if request.length > wire.LONGEST_READ:
            raise wire.Hostile(f"a write of {request.length} bytes")
        left = request.length
        while left:
            left -= len(take(self._peer, min(left, MIB)))

    def _fits(self, request: Request) -> bool:
        return request.offset <= self._source.size and request.length <= self._source.size - request.offset

    def _read(self, request: Request) -> None:
        if request.length > wire.LONGEST_READ or not self._fits(request):
            self._refuse(request, errno.EINVAL, f"no {request.length} bytes at {request.offset}")
            return
        try:
            if self._agreed.structured and not request.flags & wire.UNBROKEN and request.length:
                self._in_chunks(request)
            else:
                self._at_once(request)
        except Unproven as unproven:
            self._faulty(request.offset, request.length, unproven.error)
            self._refuse(request, errno.EIO, str(unproven))
        else:
            self._served(request.length)

    def _in_chunks(self, request: Request) -> None:
        end = request.offset + request.length
        for at, piece in self._pieces(request):
            last = at + len(piece) == end
            if piece == ZEROS[: len(piece)]:
                self._send(wire.hole_chunk(request.cookie, at, len(piece), last=last))
            else:
                self._send(wire.data_chunk(request.cookie, at, len(piece), last=last), piece)

    def _at_once(self, request: Request) -> None:
        pieces = [piece for _, piece in self._pieces(request)]
        if self._agreed.structured:
            self._send(wire.data_chunk(request.cookie, request.offset, request.length, last=True), *pieces)
        else:
            self._send(wire.simple(request.cookie), *pieces)

    def _pieces(self, request: Request) -> Iterator[tuple[int, bytes]]:
        """Of at most 1 MiB, with their places. Raises Unproven."""
        at, end = request.offset, request.offset + request.length
        while at < end:
            try:
                piece = self._source.read(at, min(MIB - at % MIB, end - at))
            except (CrashcartError, OSError) as error:
                raise Unproven(error) from None
            if not piece:
                raise Unproven(OSError(errno.EIO, "the source ends early"))
            yield at, piece
            at += len(piece)

    def _status(self, request: Request) -> None:
        if not self._agreed.context or not request.length or not self._fits(request):
            self._refuse(request, errno.EINVAL, f"no block status of {request.length} bytes at {request.offset}")
            return
        most = 1 if request.flags & wire.ONE_EXTENT else MOST_PIECES
        try:
            pieces = self._sparse.pieces(request.offset, request.offset + request.length, most)
        except (CrashcartError, OSError) as error:
            self._faulty(request.offset, request.length, error)
            self._refuse(request, errno.EIO, str(error))
            return
        self._send(wire.status_chunk(request.cookie, pieces))

    def _refuse(self, request: Request, error: int, why: str) -> None:
        if self._agreed.structured and request.kind in (Cmd.READ, Cmd.BLOCK_STATUS):
            self._send(wire.error_chunk(request.cookie, error, why))
        else:
            self._send(wire.simple(request.cookie, error))

    def _send(self, *parts: bytes) -> None:
        for part in parts:
            self._peer.sendall(part)
