"""Where a source holds data, found as far as it is asked for and then remembered."""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from typing import Protocol


class ServedBytes(Protocol):
    """A disk as bytes, served; `read` may be called by any number of threads and gives less only at the end."""

    size: int

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`."""
        ...


class Sparse:
    """Ascending (start, end) pairs of an iterator, in bytes; thread-safe. Without an iterator all is data."""

    def __init__(self, size: int, extents: Iterator[tuple[int, int]] | None) -> None:
        self._size = size
        self._coming = iter([(0, size)]) if extents is None else extents
        self._starts, self._ends = array("Q"), array("Q")
        self._known = 0
        self._lock = threading.Lock()

    def pieces(self, start: int, end: int, most: int) -> list[tuple[int, bool]]:
        """[start, end) as at most `most` (length, whether it is data), neighbours differing."""
        with self._lock:
            self._learn(end)
            return self._pieces(start, end, most)

    def _learn(self, end: int) -> None:
        while self._known < end:
            found = next(self._coming, None)
            if found is None:
                self._known = self._size
                return
            self._starts.append(found[0])
            self._ends.append(found[1])
            self._known = found[1]

    def _pieces(self, start: int, end: int, most: int) -> list[tuple[int, bool]]:
        found: list[tuple[int, bool]] = []
        at, number = start, max(bisect_right(self._starts, start) - 1, 0)
        while at < end and len(found) < most:
            if number >= len(self._starts):
                found.append((end - at, False))
                break
            low, high = self._starts[number], self._ends[number]
            if at < low:
                found.append((min(low, end) - at, False))
                at = low
            elif at < high:
                found.append((min(high, end) - at, True))
                at = high
            number += at >= high
        return found
