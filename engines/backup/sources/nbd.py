"""Reads a qcow2 image through qemu's own NBD server."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
from typing_extensions import override

from engines.backup.nbd_wire import SIMPLE, Cmd, Opt
from engines.backup.sources import bitmap
from engines.backup.sources.bitmap import BitmapRecord
from engines.backup.sources.options import NoHint, PointRef
from engines.backup.sources.server import asked, serving
from engines.backup.sources.source import Source
from engines.backup.sources.stillness import Claims, Stillness
from engines.backup.sources.wire import command, exactly, fill, hello, option
from engines.host import device
from engines.host.device import Device
from engines.host.image import Layers, opened
from engines.job.errors import Failed


class Extent(msgspec.Struct):
    """One line of `qemu-img map`."""

    start: int
    length: int
    zero: bool = False
    data: bool = True


@contextmanager
def served(layers: Layers, record: BitmapRecord | None, keeps: str) -> Iterator[NbdSource]:
    """The image's disk, by a server of its own, alive within the `with`. Raises Refused, Failed.

    layers: its file and those below it.
    """
    where = layers[0][0]
    still = Stillness([path for path, _ in layers], locks=False)
    extents = msgspec.json.decode(asked(where, "map", "--output=json", opened(layers)), type=list[Extent])
    with tempfile.TemporaryDirectory(prefix="crashcart-nbd-") as folder:
        path = Path(folder) / "s"
        with serving(layers, path) as server, closing(NbdSource(where, path, extents, server, still)) as source:
            source.keeps, source.record = keeps, record
            yield source


class NbdSource(Claims, Source):
    """A disk behind an NBD server at a socket; every thread has a connection of its own. See Source."""

    export = b""

    def __init__(self, where: Path, path: Path, extents: list[Extent], server: int, still: Stillness) -> None:
        self._where = where
        self._still = still
        self.record: BitmapRecord | None = None
        self._path = path
        self._extents = [extent for extent in extents if not extent.zero]
        self._local = threading.local()
        self._opened: list[socket.socket] = []
        self.size = self._connection()[1]
        found = where.stat()
        self.words = f"qcow2 image {where}"
        self.identity = f"{found.st_dev} {found.st_ino} {self.size}"
        self.keeps = ""
        self.notes: tuple[str, ...] = ()
        self.reads_from: Device | str = device.of(where) or "its file system is no one device"
        self.reader = server

    def _connection(self) -> tuple[socket.socket, int]:
        if not hasattr(self._local, "peer"):
            self._local.peer = _connect(self._path, self.export)
            self._opened.append(self._local.peer[0])
        found: tuple[socket.socket, int] = self._local.peer
        return found

    def close(self) -> None:
        """Hang up."""
        for peer in self._opened:
            with contextlib.suppress(OSError):  # the server may be gone
                command(peer, Cmd.DISC)
            peer.close()

    @override
    def read_into(self, offset: int, buffer: memoryview) -> None:
        peer, _ = self._connection()
        try:
            command(peer, Cmd.READ, offset, len(buffer))
            magic, error, handle = struct.unpack(">IIQ", exactly(peer, 16))
            if magic == SIMPLE and handle == offset and not error:
                fill(peer, buffer)
                return
            why = os.strerror(error) if error else "an answer out of turn"
        except OSError as trouble:
            why = trouble.strerror or str(trouble)
        raise Failed(f"{self._where} cannot be read at byte {offset}: {why}", "no point was made; see qemu-img check")

    @override
    def extents(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        for extent in self._extents:
            low, high = max(start, extent.start), min(end, extent.start + extent.length)
            if low < high:
                yield low, high

    @override
    def changed(self, since: PointRef) -> Iterable[tuple[int, int]]:
        if self.record is None:
            raise NoHint("nobody keeps record of changes to it")
        return bitmap.dirty(self._where, since, self.size)

    @override
    def committed(self, made: PointRef) -> tuple[str, ...]:
        if self.record is not None:
            self.record.done = True
        return ()

    @property
    @override
    def left_behind(self) -> tuple[str, ...]:
        return tuple(self.record.trouble) if self.record else ()

    @override
    def ahead(self, offset: int) -> None:
        """The pages are qemu's."""

    @override
    def at_hand(self, offset: int) -> bool:
        return False

    @override
    def lend(self, offset: int, length: int) -> memoryview | None:
        return None

    @override
    def take_back(self, offset: int, length: int) -> bool:
        return True

    @override
    def behind(self, offset: int) -> None:
        """The pages are qemu's."""


def _connect(path: Path, export: bytes) -> tuple[socket.socket, int]:
    """A connection in transmission, and the size in bytes."""
    peer = hello(path)
    try:
        option(peer, Opt.EXPORT_NAME, export)
        size, _ = struct.unpack(">QH", exactly(peer, 10))
    except BaseException:
        peer.close()
        raise
    return peer, size
