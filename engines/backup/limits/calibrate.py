"""The speed of a device, measured by a short read past the page cache."""

from __future__ import annotations

import errno
import os
import time

from engines.backup.pages.memory import room
from engines.job.errors import Refused

SECONDS = 2.0
READ = 4 * 1024 * 1024  # bytes
MOST = 512 * 1024 * 1024  # bytes


def speed(path: str, size: int) -> tuple[float, str]:
    """(bytes/s, where that is from) of what lies at `path`; spread over its length. Raises Refused."""
    try:
        descriptor = _open(path)
    except OSError as error:
        raise Refused(
            f"the speed of {path} cannot be measured ({error.strerror})", "give bytes a second: --limit 100M"
        ) from None
    try:
        done, took = _read(descriptor, size)
    finally:
        os.close(descriptor)
    return done / took, f"measured by reading {done >> 20} MiB"


def _open(path: str) -> int:
    """Past the page cache; through it where the file system knows no other way (tmpfs)."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


def _read(descriptor: int, size: int) -> tuple[int, float]:
    buffer = room(READ)
    pieces = max(1, min(size, MOST) // READ)
    stride = max(size // pieces // READ, 1) * READ
    began = time.monotonic()
    done = 0
    for piece in range(pieces):
        done += os.preadv(descriptor, [buffer], piece * stride)
        if time.monotonic() - began > SECONDS:
            break
    return max(done, 1), max(time.monotonic() - began, 1e-6)
