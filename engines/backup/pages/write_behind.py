"""Sends written pages to the disk, and out of the page cache, behind those who write them."""

from __future__ import annotations

import ctypes
import os

SYNC_FILE_RANGE_WRITE = 2  # linux/fs.h; begins writing and waits for nothing
STEP = 16 * 1024 * 1024  # bytes; less is not worth a call
_libc = ctypes.CDLL(None, use_errno=True)


class WriteBehind:
    """The state for one file that is written more or less in order. Calls come from one thread."""

    def __init__(self) -> None:
        self._begun = 0
        self._dropped = 0

    def push(self, descriptor: int, written: int) -> None:
        """Begin to write what lies below `written`; drop what the calls before began, by now mostly clean."""
        if written - self._begun < STEP:
            return
        start, self._begun = self._begun, written
        length = ctypes.c_long(written - start)
        _libc.sync_file_range(descriptor, ctypes.c_long(start), length, SYNC_FILE_RANGE_WRITE)
        if start - self._dropped >= STEP:
            low = max(self._dropped - STEP, 0)
            os.posix_fadvise(descriptor, low, start - low, os.POSIX_FADV_DONTNEED)
            self._dropped = start
