"""Memory that suits large reads and writes: it stays with the process, in pages as large as can be had."""

from __future__ import annotations

import contextlib
import ctypes
import mmap

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEEP = 16 * 1024 * 1024  # bytes that each thread's arena may hold on to
LARGE = 4 * 1024 * 1024  # bytes; above, memory is mapped and unmapped each time


def room(size: int) -> memoryview:
    """`size` bytes of zeros, in whole pages, of 2 MiB where the kernel has some.

    A request to a disk has room for a few hundred pages: 4 MiB written past the page cache in small ones go out as
    several requests instead of one.
    """
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel built without them
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory)


def keep_buffers() -> None:
    """Have freed memory stay with the process: to fault each MiB in anew costs more than to hash it.

    A C library without mallopt does as it always does.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEEP)
        mallopt(M_MMAP_THRESHOLD, LARGE)
