"""Reading that leaves the page cache as it was: what came in by us goes behind us, what was there before stays."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

CACHESTAT = 451  # asm-generic/unistd.h, Linux 6.5 and later; the same number on all architectures
CELL = 4 * 1024 * 1024  # bytes; what is judged as a whole
WINDOW = 64 * 1024 * 1024  # bytes looked at together, at least the farthest that readahead gets before us
DROP = 8 * 1024 * 1024  # bytes between drops
OVERLAP = 8 * 1024 * 1024  # bytes dropped again: a large folio that straddled the last drop survived it
PAGE = os.sysconf("SC_PAGE_SIZE")

_libc = ctypes.CDLL(None, use_errno=True)


class _Range(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _Stat(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("cache", "dirty", "writeback", "evicted", "recently_evicted"))


def resident(descriptor: int, offset: int, length: int) -> int:
    """Bytes of that range in the page cache; the whole length where the kernel does not tell.

    Pages count whose reading failed, and of a large folio those behind the end of the file.
    """
    wanted, found = _Range(offset, length), _Stat()
    if _libc.syscall(CACHESTAT, descriptor, ctypes.byref(wanted), ctypes.byref(found), 0) == 0:
        return int(found.cache) * PAGE
    return _mincore(descriptor, offset, length)


def _mincore(descriptor: int, offset: int, length: int) -> int:
    """The same on kernels before 6.5."""
    _libc.mmap.restype = ctypes.c_void_p
    shared, readable = 1, 1  # MAP_SHARED, PROT_READ
    at = _libc.mmap(None, ctypes.c_size_t(length), readable, shared, ctypes.c_int(descriptor), ctypes.c_long(offset))
    if at is None or at == ctypes.c_void_p(-1).value:
        return length
    try:
        vector = (ctypes.c_ubyte * (-(-length // PAGE)))()
        if _libc.mincore(ctypes.c_void_p(at), ctypes.c_size_t(length), vector) != 0:
            return length
        return bytes(vector).count(1) * PAGE
    finally:
        _libc.munmap(ctypes.c_void_p(at), ctypes.c_size_t(length))


class PageCache:
    """The care for one open file or device. Calls come from one thread at a time, but for `was_there`."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._fd = descriptor
        self._size = size
        self._window = max(WINDOW, 4 * _readahead(descriptor))
        self._probed = 0
        self._ours: set[int] = set()
        self._dropped = 0

    def ahead(self, offset: int) -> None:
        """Note what is there before readahead brings more. Who goes back begins a second pass, which looks anew."""
        if offset < self._dropped:
            self._probed = self._dropped = offset
        while self._probed < min(self._size, offset + self._window):
            self._probe(self._probed, min(self._probed + self._window, self._size))

    def _probe(self, start: int, end: int) -> None:
        there = resident(self._fd, start, end - start)
        for at in range(start, end, CELL):
            length = min(CELL, end - at)
            if there == 0 or (there < end - start and resident(self._fd, at, length) == 0):
                self._ours.add(at // CELL)
        self._probed = end

    def was_there(self, offset: int) -> bool:
        """Whether some of that cell was there before us; ask between `ahead` and `behind`, from any thread."""
        return offset // CELL not in self._ours

    def behind(self, offset: int) -> None:
        """Drop what we brought in below `offset`."""
        if offset - self._dropped < DROP and offset < self._size:
            return
        start = max(self._dropped - OVERLAP, 0) // CELL
        last = -(-offset // CELL) if offset >= self._size else offset // CELL
        run: list[int] = []
        for cell in sorted(cell for cell in self._ours if start <= cell < last):
            if run and cell != run[-1] + 1:
                self._drop(run[0], run[-1] + 1)
                run = []
            run.append(cell)
        if run:
            self._drop(run[0], run[-1] + 1)
        self._dropped = offset
        self._ours = {cell for cell in self._ours if cell >= last - OVERLAP // CELL}

    def _drop(self, first: int, last: int) -> None:
        os.posix_fadvise(self._fd, first * CELL, (last - first) * CELL, os.POSIX_FADV_DONTNEED)


def _readahead(descriptor: int) -> int:
    """Bytes that the kernel reads ahead at most on the device below."""
    found = os.fstat(descriptor)
    device = found.st_rdev or found.st_dev
    path = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    for folder in (path, path / ".."):
        try:
            return int((folder / "queue" / "read_ahead_kb").read_text()) * 1024
        except (OSError, ValueError):
            continue
    return 0
