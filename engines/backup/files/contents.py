"""A file's bytes onto a descriptor: only where it holds data, so that a hole takes neither time nor room."""

from __future__ import annotations

import os
from collections.abc import Iterator

from engines.backup.files.model import BrowseError, Node, Unsupported, Volume
from engines.job.contract import Cancel

LARGEST = (1 << 63) - 1  # bytes; off_t
CHUNK = 1024 * 1024  # bytes of one read: a block of the backup


SMALL = 64 * 1024  # bytes; a file so small that its holes, if any, do not matter


class Cut(BrowseError):
    """The file system ends before the file does."""


def weight(node: Node) -> int:
    """Bytes that a file will take to carry, as far as its node tells."""
    if not node.is_file:
        return 0
    return node.size if node.allocated is None else min(node.size, node.allocated)


def data(volume: Volume, path: bytes, size: int, *, allocated: int | None = None) -> list[tuple[int, int]]:
    """Where it holds data, ascending, within its size."""
    if size == 0:
        return []
    if volume.driver == "libguestfs" and (size <= SMALL or size <= (allocated or 0)):
        return [(0, size)]  # each question costs that driver milliseconds
    try:
        found = [(start, min(end, size)) for start, end in volume.extents(path)]
    except Unsupported:
        found = [(0, size)]
    return [(start, end) for start, end in found if start < end]


def pieces(volume: Volume, path: bytes, spans: list[tuple[int, int]], cancel: Cancel) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes, in order. Raises Cut, BrowseError, Damaged, Missing, Stopped."""
    for start, end in spans:
        at = start
        while at < end:
            cancel.check()
            try:
                found = volume.read(path, at, min(CHUNK - at % CHUNK, end - at))
            except OSError as error:  # of the repository's disk, not of the one that is written to
                raise BrowseError(f"the backup does not give byte {at}: {error.strerror}") from None
            if not found:
                raise Cut(f"it ends at byte {at} of {end}")
            yield at, found
            at += len(found)


def write(descriptor: int, volume: Volume, path: bytes, node: Node, cancel: Cancel) -> Iterator[int]:
    """The whole file; gives how many bytes each piece had. Raises OSError too."""
    if node.size > LARGEST:
        raise Cut(f"it has a size of {node.size} bytes, which no file has")
    os.ftruncate(descriptor, node.size)
    spans, placed = data(volume, path, node.size, allocated=node.allocated), 0
    for at, found in pieces(volume, path, spans, cancel):
        view = memoryview(found)
        while view:
            count = os.pwrite(descriptor, view, at)
            view, at, placed = view[count:], at + count, placed + count
        yield len(found)
    wanted, there = sum(end - start for start, end in spans), os.fstat(descriptor).st_size
    if (there, placed) != (node.size, wanted):
        raise Cut(f"{there} bytes with {placed} of data are here, {node.size} with {wanted} in the point")
