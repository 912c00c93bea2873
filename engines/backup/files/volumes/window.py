"""Part of a disk as a source of its own: nothing outside it can be read, small reads come from a cache."""

from __future__ import annotations

import threading
from collections import OrderedDict

from engines.backup.files.model import BrowseError, DiskBytes

PIECE = 64 * 1024  # bytes
PIECES = 512  # kept


class Window:
    """`size` bytes of `source` from `offset`; read by any number of threads."""

    def __init__(self, source: DiskBytes, offset: int, size: int) -> None:
        self.size = max(0, min(size, source.size - offset))
        self._source = source
        self._offset = offset
        self._lock = threading.Lock()
        self._pieces: OrderedDict[int, bytes] = OrderedDict()

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`, less only at the end."""
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        number, start = divmod(offset, PIECE)
        if start + length <= PIECE:
            return self._piece(number)[start : start + length]
        return self._source.read(self._offset + offset, length)

    def exactly(self, offset: int, length: int, what: str) -> bytes:
        """`length` bytes from `offset`. Raises BrowseError, naming `what`, where they are not all there."""
        if offset < 0 or offset + length > self.size:
            raise BrowseError(f"{what} lies outside the file system, at byte {offset} of {self.size}")
        found = self.read(offset, length)
        if len(found) != length:
            raise BrowseError(f"{what} ends early, at byte {offset + len(found)}")
        return found

    def _piece(self, number: int) -> bytes:
        with self._lock:
            found = self._pieces.get(number)
            if found is not None:
                self._pieces.move_to_end(number)
                return found
        start = number * PIECE
        found = self._source.read(self._offset + start, min(PIECE, self.size - start))
        with self._lock:
            self._pieces[number] = found
            while len(self._pieces) > PIECES:
                self._pieces.popitem(last=False)
        return found
