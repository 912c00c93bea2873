"""Files that are mapped where their file system can, and held in memory where it cannot, as some network ones."""

from __future__ import annotations

import errno
import mmap
import os

PIECE = 1 << 22  # bytes
UNABLE = (errno.ENODEV, errno.EINVAL, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS)


def _cut_by_nobody(descriptor: int) -> bool:
    """Whether only this user and root can write the file: one that is cut while it is mapped kills who reads it."""
    found = os.fstat(descriptor)
    return found.st_uid in (0, os.geteuid()) and not found.st_mode & 0o022


def readable(descriptor: int, size: int) -> mmap.mmap:
    """The first `size` bytes of an open file, to be read. Raises OSError."""
    for flags in (mmap.MAP_SHARED, mmap.MAP_PRIVATE) if _cut_by_nobody(descriptor) else ():
        try:
            return mmap.mmap(descriptor, size, flags=flags, prot=mmap.PROT_READ)
        except OSError as error:
            if error.errno not in UNABLE:
                raise
    held = mmap.mmap(-1, size)
    for at in range(0, size, PIECE):
        part = os.pread(descriptor, min(PIECE, size - at), at)
        held[at : at + len(part)] = part
    return held


class Writable:
    """The first `size` bytes of an open file, to be changed in place; `flush` has them in the file."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = -1
        try:
            if not _cut_by_nobody(descriptor):
                raise OSError(errno.EACCES, "another user can cut it")
            self.bytes = mmap.mmap(descriptor, size)
        except OSError as error:
            if error.errno not in UNABLE:
                raise
            self.bytes = mmap.mmap(-1, size)
            for at in range(0, size, PIECE):
                part = os.pread(descriptor, min(PIECE, size - at), at)
                self.bytes[at : at + len(part)] = part
            self._descriptor = os.dup(descriptor)

    def flush(self) -> None:
        """Raises OSError."""
        if self._descriptor < 0:
            self.bytes.flush()
            return
        for at in range(0, len(self.bytes), PIECE):
            part = self.bytes[at : at + PIECE]
            written = 0
            while written < len(part):
                written += os.pwrite(self._descriptor, part[written:], at + written)

    def close(self) -> None:
        """Let go."""
        self.bytes.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
