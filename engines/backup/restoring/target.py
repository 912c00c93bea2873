"""Where a point is restored to: a file that appears whole, a file changed in place, or a block device."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import msgspec

from engines.backup.pages import direct
from engines.backup.pages.write_behind import WriteBehind
from engines.backup.repository.record import is_zero
from engines.host.device import device_size
from engines.host.files import content_stamp, file_identity, open_file, sync_opened
from engines.job.errors import Failed, Refused

BLKDISCARD = 0x1277  # linux/fs.h
KEEP_SIZE, PUNCH_HOLE = 1, 2  # linux/falloc.h
_libc = ctypes.CDLL(None, use_errno=True)


class SeenTarget(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan saw: the folder and what lay there by `file_identity`, empty for nothing.

    stamp: of a file by `content_stamp`, for the number of its inode goes to the next one; empty for anything else.
    """

    folder: str
    identity: str = ""
    stamp: str = ""

    @classmethod
    def at(cls, path: Path) -> SeenTarget:
        """What is at a real path now. Raises OSError."""
        folder = file_identity(path.parent.stat())
        with contextlib.suppress(FileNotFoundError):
            return cls.of(folder, path.lstat())
        return cls(folder=folder)

    @classmethod
    def of(cls, folder: str, found: os.stat_result) -> SeenTarget:
        """What `found` tells."""
        stamp = content_stamp(found) if stat.S_ISREG(found.st_mode) else ""
        return cls(folder=folder, identity=file_identity(found), stamp=stamp)

    def is_another(self, found: SeenTarget, *, in_place: bool) -> bool:
        """Whether `found` is not what was seen; in_place: its bytes may be others, of a killed run."""
        if (self.folder, self.identity) != (found.folder, found.identity):
            return True
        return not in_place and bool(self.stamp) and self.stamp != found.stamp


class Target:
    """An open target of `size` bytes. `write` and `zero` come from several threads, each at its own place.

    blank: it reads as zeros where nothing was written, so that zeros need no writing.
    """

    def __init__(
        self, path: Path, size: int, *, in_place: bool, again: bool = False, seen: SeenTarget | None = None
    ) -> None:
        """again: what a killed run left of a new file is gone on with; `begun` tells whether there is such.

        seen: what must still lie there, for names in others' folders lead where they want. Raises OSError, Refused.
        """
        self.path = path
        self.size = size
        seen = seen or SeenTarget.at(path)
        self._folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._fd = -1
        try:
            self._before = self._same(seen, in_place=in_place)
            self.device = self._before is not None and stat.S_ISBLK(self._before.st_mode)
            self.blank = not (in_place and self._before is not None) and not self.device
            self._partial = beside(path).name
            self.begun = False
            self._fd = self._open(again, seen)
            self._direct = direct.reopened(self._fd, os.O_WRONLY)
        except BaseException:
            if self._fd >= 0:
                os.close(self._fd)
                if self.blank and not self.begun:
                    self._forget()
            os.close(self._folder)
            raise
        self.done = False
        self._highest = 0
        self._behind = WriteBehind()

    def _same(self, seen: SeenTarget, *, in_place: bool) -> os.stat_result | None:
        """What lies there, as it was seen; None for nothing."""
        found = self._there(self.path.name)
        if found is not None and not (stat.S_ISREG(found.st_mode) or stat.S_ISBLK(found.st_mode)):
            raise another(self.path)
        folder = file_identity(os.fstat(self._folder))
        now = SeenTarget.of(folder, found) if found else SeenTarget(folder=folder)
        if seen.is_another(now, in_place=in_place):
            raise another(self.path)
        return found

    def _there(self, name: str) -> os.stat_result | None:
        with contextlib.suppress(FileNotFoundError):
            return os.stat(name, dir_fd=self._folder, follow_symlinks=False)
        return None

    def _open(self, again: bool, seen: SeenTarget) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        if self.blank:
            left = self._there(self._partial)
            self.begun = again and left is not None and _ours(left)
            if not self.begun:
                self._forget()  # of an earlier run that was killed; the target's lock is ours
                flags |= os.O_CREAT | os.O_EXCL
        name = self._partial if self.blank else self.path.name
        descriptor = os.open(name, flags, 0o600, dir_fd=self._folder)
        try:
            if not self.blank and file_identity(os.fstat(descriptor)) != seen.identity:
                raise another(self.path)
            if not self.device:
                os.ftruncate(descriptor, self.size)
        except BaseException:
            os.close(descriptor)
            if self.blank and not self.begun:
                self._forget()
            raise
        os.set_blocking(descriptor, True)
        return descriptor

    def _has_its_name(self) -> bool:
        """Whether that is still the file that was opened: another user or host may restore to that name."""
        grown = self._there(self._partial)
        return grown is not None and file_identity(grown) == file_identity(os.fstat(self._fd))

    def _forget(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._partial, dir_fd=self._folder)

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

    def finish(self, whole: Callable[[os.stat_result], None] = lambda _: None) -> None:
        """Make it durable; a new file appears now, with the rights of the one that it replaces.

        whole: told of a new file before it gets its name.
        """
        if self.blank and self._before is not None:
            os.fchmod(self._fd, stat.S_IMODE(self._before.st_mode))
            with contextlib.suppress(PermissionError):  # only root may give a file away
                os.fchown(self._fd, self._before.st_uid, self._before.st_gid)
        os.fsync(self._fd)
        if self.blank:
            if not self._has_its_name():
                raise another(self.path.with_name(self._partial))
            whole(os.fstat(self._fd))
            os.rename(self._partial, self.path.name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            sync_opened(self._folder)
        self.done = True

    def cool(self) -> None:
        """Have the next read come from the disk."""
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        """Let go; a file that did not get finished is removed."""
        gone = self.blank and not self.done and self._fd >= 0 and self._has_its_name()
        for descriptor in {self._fd, self._direct} - {-1}:
            os.close(descriptor)
        self._fd = self._direct = -1
        if self._folder < 0:
            return
        if gone:
            self._forget()
        os.close(self._folder)
        self._folder = -1


def another(path: Path) -> Refused:
    """What is said where something else lies there than was seen."""
    return Refused(f"what lies at {path} is another by now", "see who put it there, and start again")


def may_be_done(path: Path, seen: SeenTarget, *, in_place: bool) -> bool:
    """Whether a killed run may have had its last rename: another has the name, and nothing half-written is left."""
    if in_place and seen.identity:
        return False
    try:
        now, found = SeenTarget.at(path), path.lstat()
    except OSError:
        return False
    renamed = now.folder == seen.folder and seen.is_another(now, in_place=False)
    return renamed and stat.S_ISREG(found.st_mode) and not os.path.lexists(beside(path))


def beside(path: Path) -> Path:
    """Where a new file grows until it is whole."""
    return path.with_name(f".{path.name}.restoring")


def _ours(left: os.stat_result) -> bool:
    """Whether nobody else made it, or has another name for it."""
    return stat.S_ISREG(left.st_mode) and left.st_uid == os.geteuid() and left.st_nlink == 1


def size_of(path: Path) -> int:
    """Bytes that it has room for now."""
    if not stat.S_ISBLK(path.stat().st_mode):
        return path.stat().st_size
    descriptor = open_file(path, devices=True)
    try:
        return device_size(descriptor)
    finally:
        os.close(descriptor)
