"""Where a point is restored to: a file that appears whole, a file changed in place, or a block device."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import stat
import struct
from pathlib import Path

from engines.backup.pages import direct
from engines.backup.pages.write_behind import WriteBehind
from engines.backup.repository.record import is_zero
from engines.host.device import device_size
from engines.host.files import sync_folder
from engines.job.errors import Failed

BLKDISCARD = 0x1277  # linux/fs.h
KEEP_SIZE, PUNCH_HOLE = 1, 2  # linux/falloc.h
_libc = ctypes.CDLL(None, use_errno=True)


class Target:
    """An open target of `size` bytes. `write` and `zero` come from several threads, each at its own place.

    blank: it reads as zeros where nothing was written, so that zeros need no writing.
    """

    def __init__(self, path: Path, size: int, *, in_place: bool, again: bool = False) -> None:
        """again: what a killed run left of a new file is gone on with; `begun` tells whether there is such."""
        self.path = path
        self.size = size
        self._before: os.stat_result | None = None
        with contextlib.suppress(FileNotFoundError):
            self._before = path.stat()
        self.device = self._before is not None and stat.S_ISBLK(self._before.st_mode)
        self.blank = not (in_place and self._before is not None) and not self.device
        self._partial = path.with_name(f".{path.name}.restoring") if self.blank else path
        self.begun = False
        self._fd = self._open(again)
        self._direct = direct.reopened(self._fd, os.O_WRONLY)
        self.done = False
        self._highest = 0
        self._behind = WriteBehind()

    def _open(self, again: bool) -> int:
        if not self.blank:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            if self.device:
                return descriptor
        else:
            self.begun = again and self._partial.is_file() and not self._partial.is_symlink()
            if not self.begun:
                self._partial.unlink(missing_ok=True)  # of an earlier run that was killed; the target's lock is ours
            new = 0 if self.begun else os.O_CREAT | os.O_EXCL
            descriptor = os.open(self._partial, os.O_RDWR | new | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        os.ftruncate(descriptor, self.size)
        return descriptor

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from `offset`. Raises Failed."""
        done = 0
        while done < len(buffer):
            count = os.preadv(self._fd, [buffer[done:]], offset + done)
            if count == 0:
                raise Failed(f"{self.path} ends at byte {offset + done} of {self.size}", "give a larger target")
            done += count

    def write(self, offset: int, view: memoryview) -> None:
        """Write all of `view`, past the page cache what can be. Raises OSError."""
        done = direct.write(self._direct, offset, view)
        while done < len(view):
            done += os.pwrite(self._fd, view[done:], offset + done)
        self._highest = max(self._highest, offset)

    def push(self) -> None:
        """Begin to make durable what was written; for the thread that waits for the others."""
        self._behind.push(self._fd, self._highest)

    def zero(self, offset: int, length: int) -> None:
        """Have it read as zeros there, freeing the room where that can be done. Raises OSError."""
        if self.blank:
            return
        if self.device:
            self._discard(offset, length)
            return
        mode = ctypes.c_int(PUNCH_HOLE | KEEP_SIZE)
        if _libc.fallocate(self._fd, mode, ctypes.c_long(offset), ctypes.c_long(length)) != 0:
            self._zeros(offset, length)

    def _discard(self, offset: int, length: int) -> None:
        """A discarded range reads as zeros on thin volumes and loop devices, not everywhere: it is read back."""
        with contextlib.suppress(OSError):  # a device without discard is written instead
            fcntl.ioctl(self._fd, BLKDISCARD, struct.pack("QQ", offset, length))
        self._zeros(offset, length)

    def _zeros(self, offset: int, length: int) -> None:
        """Write zeros where there are none."""
        buffer = memoryview(bytearray(min(length, 1 << 20)))
        for at in range(offset, offset + length, len(buffer)):
            view = buffer[: min(len(buffer), offset + length - at)]
            self.read_into(at, view)
            if not is_zero(view):
                self.write(at, memoryview(bytes(len(view))))

    def finish(self) -> None:
        """Make it durable; a new file appears now, with the rights of the one that it replaces."""
        if self.blank and self._before is not None:
            os.fchmod(self._fd, stat.S_IMODE(self._before.st_mode))
            with contextlib.suppress(PermissionError):  # only root may give a file away
                os.fchown(self._fd, self._before.st_uid, self._before.st_gid)
        os.fsync(self._fd)
        if self.blank:
            self._partial.replace(self.path)
            sync_folder(self.path.parent)
        self.done = True

    def cool(self) -> None:
        """Have the next read come from the disk."""
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        """Let go; a file that did not get finished is removed."""
        for descriptor in {self._fd, self._direct} - {-1}:
            os.close(descriptor)
        self._fd = self._direct = -1
        if self.blank:
            self._partial.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Bytes that it has room for now."""
    if not stat.S_ISBLK(path.stat().st_mode):
        return path.stat().st_size
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return device_size(descriptor)
    finally:
        os.close(descriptor)
