"""Which clusters a file has: its chain in the table, as runs that lie on the disk in one piece."""

from __future__ import annotations

import threading
from collections import OrderedDict

from engines.backup.files.model import BrowseError
from engines.backup.files.volumes.fat.geometry import Geometry
from engines.backup.files.volumes.window import Window

PIECE = 64 * 1024 * 3  # bytes of the table held at once: whole entries of any width
CHAINS = 64  # remembered
Run = tuple[int, int]  # place and length in bytes
Chain = tuple[list[Run], BrowseError | None]


class Chains:
    """Used by any number of threads."""

    def __init__(self, window: Window, geometry: Geometry) -> None:
        self._window = window
        self._geometry = geometry
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[int, int], Chain] = OrderedDict()
        self._pieces: dict[int, bytes] = {}

    def runs(self, first: int, most: int, *, chained: bool = True) -> Chain:
        """Of the chain from cluster `first`, `most` bytes at most: its runs, and why it breaks off, if so.

        chained: not so for a file of exFAT that lies in one piece, and whose table says nothing.
        """
        geometry = self._geometry
        count = min(-(-most // geometry.cluster), geometry.clusters)
        if first == 0 or not count:
            return [], None
        if not chained:
            try:
                geometry.place(first + count - 1)
                return [(geometry.place(first), count * geometry.cluster)], None
            except BrowseError as error:
                return [], error
        with self._lock:
            if (known := self._known.get((first, count))) is not None:
                return known
            found = self._followed(first, count)
            self._known[(first, count)] = found
            if len(self._known) > CHAINS:
                self._known.popitem(last=False)
            return found

    def _followed(self, first: int, count: int) -> Chain:
        """Not more than `count` clusters: a circle in a damaged table ends there."""
        size = self._geometry.cluster
        runs: list[Run] = []
        number = first
        try:
            for _ in range(count):
                place = self._geometry.place(number)
                if runs and sum(runs[-1]) == place:
                    runs[-1] = (runs[-1][0], runs[-1][1] + size)
                else:
                    runs.append((place, size))
                number = self._next(number)
                if not number:
                    break
        except BrowseError as error:
            return runs, error
        return runs, None

    def _next(self, number: int) -> int:
        """The cluster that follows, 0 at the end of the chain."""
        bits = self._geometry.bits
        if bits == 12:
            pair = int.from_bytes(self._bytes(number * 3 // 2, 2), "little")
            found, end = (pair >> 4 if number & 1 else pair & 0xFFF), 0xFF8
        elif bits == 16:
            found, end = int.from_bytes(self._bytes(number * 2, 2), "little"), 0xFFF8
        else:
            mask = 0xFFFFFFFF if self._geometry.exfat else 0x0FFFFFFF
            found, end = int.from_bytes(self._bytes(number * 4, 4), "little") & mask, 0xFFFFFFF8 & mask
        if found >= end:
            return 0
        if found < 2:
            raise BrowseError(f"the chain breaks off at cluster {number}: the table calls its next one {found}")
        return found

    def _bytes(self, at: int, length: int) -> bytes:
        number, within = divmod(at, PIECE)
        piece = self._pieces.get(number)
        if piece is None:
            start = self._geometry.table + number * PIECE
            piece = self._window.read(start, min(PIECE + 2, self._geometry.table_size - number * PIECE))
            self._pieces = {number: piece}
        found = piece[within : within + length]
        if len(found) < length:
            raise BrowseError(f"the table ends before byte {at + length}")
        return found
