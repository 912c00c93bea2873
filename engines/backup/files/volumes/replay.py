"""A file system as its guest would find it after a start: the journal laid over the disk, in memory only."""

from __future__ import annotations

from bisect import bisect_left

from typing_extensions import override

from engines.backup.files.model import DiskBytes, Unsupported
from engines.backup.files.volumes.ext import superblock
from engines.backup.files.volumes.ext.inode import Inodes
from engines.backup.files.volumes.ext.journal import MAGIC, Journal, Logged
from engines.backup.files.volumes.window import Window


class Replayed(DiskBytes):
    """`window` with the journal's blocks in their places; a Source."""

    def __init__(self, window: Window, block: int, logged: dict[int, Logged]) -> None:
        self.size = window.size
        self.blocks = logged
        self._window = window
        self._block = block
        self._sorted = sorted(logged)

    @override
    def read(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size - offset))
        if not length:
            return b""
        raw = self._window.read(offset, length)
        first, last = offset // self._block, (offset + length - 1) // self._block
        at = bisect_left(self._sorted, first)
        if at == len(self._sorted) or self._sorted[at] > last:
            return raw
        whole = bytearray(raw)
        while at < len(self._sorted) and self._sorted[at] <= last:
            number = self._sorted[at]
            start = number * self._block - offset
            piece = self._piece(self.blocks[number])[max(0, -start) : length - start]
            whole[max(0, start) : max(0, start) + len(piece)] = piece
            at += 1
        return bytes(whole)

    def _piece(self, logged: Logged) -> bytes:
        raw = self._window.exactly(logged.place * self._block, self._block, "the journal")
        return MAGIC.to_bytes(4, "big") + raw[4:] if logged.escaped else raw


def replay(window: Window) -> Replayed:
    """The view; empty of changes where the journal has nothing to put in place. Raises Unsupported, BrowseError."""
    found = superblock.load(window)
    if not found.journal_inode:
        raise Unsupported(f"the journal of this {found.format} is on another disk")
    journal = Journal(window, Inodes(window, found), found.journal_inode)
    return Replayed(window, found.block, journal.replayed())
