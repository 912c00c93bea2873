"""Reads and writes past the page cache, in whole pages of the disk, where a file's system has such a way."""

from __future__ import annotations

import errno
import os
import threading

from engines.backup.pages.memory import room

ALIGNED = 4096  # bytes; what O_DIRECT asks of offset, length and buffer on all usual disks
SCRATCH = 1024 * 1024 + 4 * ALIGNED  # bytes; the longest record, its header, and the rest of its first and last page

_scratch = threading.local()


def reopened(descriptor: int, access: int) -> int:
    """The same file once more with O_DIRECT, or -1; `access` is os.O_RDONLY or os.O_WRONLY.

    It costs next to no processor time, and nothing that others have cached is evicted.
    """
    try:
        return os.open(f"/proc/self/fd/{descriptor}", access | os.O_CLOEXEC | os.O_DIRECT)
    except OSError:
        return -1


def write(descriptor: int, offset: int, view: memoryview) -> int:
    """How many bytes of `view` went to the disk: whole pages of it, or none where that cannot be done."""
    done, whole = 0, len(view) - len(view) % ALIGNED
    if descriptor < 0 or offset % ALIGNED:
        return 0
    try:
        while done < whole and done % ALIGNED == 0:
            done += os.pwrite(descriptor, view[done:whole], offset + done)
    except OSError as error:
        if error.errno != errno.EINVAL:  # the buffer, or the device's sectors, are not as they must be
            raise
    return done


def read(descriptor: int, offset: int, length: int) -> memoryview | None:
    """`length` bytes from `offset`, valid until this thread reads again; None where that cannot be done."""
    start = offset - offset % ALIGNED
    wanted = -(-(offset + length - start) // ALIGNED) * ALIGNED
    if descriptor < 0 or wanted > SCRATCH:
        return None
    view = _view()[:wanted]
    try:
        found = os.preadv(descriptor, [view], start)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return None
    return view[offset - start : offset - start + length] if found >= offset - start + length else None


def _view() -> memoryview:
    """This thread's own buffer."""
    if not hasattr(_scratch, "view"):
        _scratch.view = room(SCRATCH)
    view: memoryview = _scratch.view
    return view
